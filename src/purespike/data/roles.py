"""Images of a defender, and of an attacker who has none of the defender's training images."""

from typing import Any

from torch import Tensor

from purespike.data.image_set import Data, ImageSet, validate
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

    The attacker trains on the training images beyond ``train_limit``, and is tested on the defender's test
    images. If the defender trains on the full training split, the attacker trains on those images of the
    *test* split that an evaluation of the defender does not attack, and is tested on the attacked ones.

    Args:
        data: all images of the source.
        train_limit: number of training images of the defender, ``None`` for all.
        test_limit: number of test images of the defender, ``None`` for all.
        attacked: number of test images that an evaluation of the defender attacks, ``None`` for all.
        limit: largest number of images of the attacker, a stratified subset; ``None`` for all available.
        seed: seed of the defender's recipe.

    Raises:
        InputError: no images are left for an attacker, or not of every class; the message says how to fix it.
    """
    defender = defender_data(data, train_limit=train_limit, test_limit=test_limit, seed=seed)
    split, taken, test = data.train, data.train.drawn(train_limit, seed=seed), defender.test
    if len(taken) == len(split):
        # the same two draws as the defender's evaluation makes
        rows = data.test.drawn(test_limit, seed=seed)
        split, taken, test = (
            data.test,
            rows[defender.test.drawn(attacked, seed=seed)],
            defender.test.take(attacked, seed=seed),
        )
    remedy = "reduce the defender's data.train_limit or evaluation.images"
    if len(taken) == len(split):
        raise InputError(
            f"{data.source}: no images are left for an attacker: the defender trains on all "
            f"{len(data.train)} training images, and all {len(data.test)} test images are attacked; {remedy}"
        )
    rest = split.without(taken, name=f"{split.name} left to the attacker")
    own = rest.take(limit, seed=seed)
    if missing := sorted(set(range(own.num_classes)) - set(own.labels.tolist())):
        remedy += ", or raise data.attacker_limit" if limit is not None else ""
        raise InputError(
            f"{own.name}: no image of class {own.class_names[missing[0]]!r} among {len(own)}; {remedy}"
        )
    return validate(Data(source=data.source, train=own, test=test))


def validation_data(data: Data, *, share: float, seed: int) -> Data:
    """The images on which settings are chosen: a stratified share of the training split in place of the test.

    Args:
        data: the images of a defender.
        share: share of the training images, in (0, 1), which are then not trained on.
        seed: seed of the choice.

    Raises:
        InputError: no image is left on one of the sides.
    """
    count = round(share * len(data.train))
    if not 0 < count < len(data.train):
        raise InputError(f"{data.train.name}: a share {share:g} of {len(data.train)} images leaves none")
    held, name = data.train.drawn(count, seed=seed), data.train.name
    return Data(
        source=data.source,
        train=data.train.without(held, name=f"{name} but for the held-out"),
        test=data.train.select(held, name=f"{name} held out"),
    )


def overlap(images: Tensor, others: Tensor) -> int:
    """Number of ``images`` that equal one of ``others`` in every pixel; both uint8 ``[N, C, H, W]``."""
    known = {image.numpy().tobytes() for image in others.cpu()}
    return sum(image.numpy().tobytes() in known for image in images.cpu())


def labelled_for(model: Any, images: ImageSet) -> ImageSet:
    """The images with their labels in the order of the model's own ``class_names``, where it has all of them.

    A model without names, or with other names, takes the labels as they are.
    """
    while hasattr(model, "classifier") and not hasattr(model, "class_names"):
        model = model.classifier
    names = getattr(model, "class_names", None)
    if not isinstance(names, tuple | list) or tuple(names) == images.class_names:
        return images
    return images.with_classes(names) if set(images.class_names) <= set(names) else images
