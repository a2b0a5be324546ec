"""Who trains on which images: a defender, and an attacker who has none of the defender's."""

import torch
from torch import Tensor

from purespike.data.image_set import Data, validate
from purespike.errors import InputError


def defender_data(data: Data, *, train_limit: int | None, test_limit: int | None, seed: int) -> Data:
    """The images a defender trains and is tested on: stratified subsets of both splits.

    Raises:
        InputError: a limit below 1.
    """
    return Data(
        source=data.source,
        train=data.train.take(train_limit, seed=seed),
        test=data.test.take(test_limit, seed=seed),
    )


def attacker_data(
    data: Data,
    *,
    train_limit: int | None,
    test_limit: int | None,
    attacked: int | None,
    limit: int | None,
    seed: int,
) -> Data:
    """The images an attacker trains its own model on; the defender trains on none of them.

    Where ``train_limit`` leaves a rest of the training split, that is the attacker's, who is tested on the
    defender's test images. Where the defender trains on all of it, the attacker trains on those images
    of the *test* split that an evaluation of the defender does not attack, and is tested on those it does.

    Args:
        data: all images of the source.
        train_limit: the defender's, of the training split.
        test_limit: the defender's, of the test split.
        attacked: test images that an evaluation of the defender attacks, ``None`` for all.
        limit: the attacker takes at most so many, a stratified subset; ``None`` for all it can have.
        seed: the defender's.

    Raises:
        InputError: nothing is left for an attacker, or not every class; the message says how to fix it.
    """
    mine = defender_data(data, train_limit=train_limit, test_limit=test_limit, seed=seed)
    whole, taken, test = data.train, data.train.drawn(train_limit, seed=seed), mine.test
    if len(taken) == len(whole):
        # the same two draws as the defender's evaluation makes
        rows = data.test.drawn(test_limit, seed=seed)
        whole, taken, test = (
            data.test,
            rows[mine.test.drawn(attacked, seed=seed)],
            mine.test.take(attacked, seed=seed),
        )
    free = torch.ones(len(whole), dtype=torch.bool)
    free[taken] = False
    remedy = "let the defender's data.train_limit or evaluation.images leave more"
    if not free.any():
        raise InputError(
            f"{data.source}: no images are left for an attacker: the defender trains on all "
            f"{len(data.train)} training images, and all {len(data.test)} test images are attacked; {remedy}"
        )
    rest = whole.select(free.nonzero().squeeze(1), name=f"{whole.name} left to the attacker")
    own = rest.take(limit, seed=seed)
    if missing := sorted(set(range(own.num_classes)) - set(own.labels.tolist())):
        remedy += ", or raise data.attacker_limit" if limit is not None else ""
        raise InputError(
            f"{own.name}: no image of class {own.class_names[missing[0]]!r} among {len(own)}; {remedy}"
        )
    return validate(Data(source=data.source, train=own, test=test))


def overlap(images: Tensor, others: Tensor) -> int:
    """How many of ``images`` are, pixel for pixel, among ``others``; both uint8 ``[N, C, H, W]``."""
    known = {image.numpy().tobytes() for image in others.cpu()}
    return sum(image.numpy().tobytes() in known for image in images.cpu())
