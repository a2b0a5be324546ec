"""The threshold of a score, chosen on clean images for a coverage."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from purespike.checks import as_float, check_images
from purespike.errors import InputError, kind_of
from purespike.modes import mode, outside_inference_mode
from purespike.rejection.registry import Score
from purespike.rejection.seen import Seen
from purespike.scalars import check_whole, parse_number


def choose_threshold(scores: Sequence[float], coverage: float) -> float:
    """The threshold that at least a share ``coverage`` of the images passes, and less than one image more.

    It lies halfway between the last score that passes and the next one, so that rounding decides nothing.

    Args:
        scores: score of each clean image; an image passes if its score is at most the threshold.
        coverage: share of images, in (0, 1].

    Raises:
        InputError: no scores, scores that are not finite, a coverage outside (0, 1], or ties at the threshold
            that leave the coverage out of reach; the message then names those within reach.
    """
    coverage = parse_number(coverage, name="coverage", example="0.95")
    if not 0 < coverage <= 1:
        raise InputError(f"coverage: a share of clean images in (0, 1], e.g. 0.95, got {coverage:g}")
    ordered, count = sorted(scores), len(scores)
    if not count:
        raise InputError("calibrate: no images")
    if not all(map(math.isfinite, ordered)):
        broken = sum(not math.isfinite(each) for each in ordered)
        raise InputError(f"calibrate: the score is not finite on {broken} of {count} clean images")
    if count > 1 and ordered[0] == ordered[-1]:
        raise InputError(
            f"calibrate: all {count} images have the same score {ordered[0]:.4g}, which tells nothing apart; "
            "train the purifier (a new one changes no image), or choose another score"
        )
    # 0.95 of 20 images are 19, though 0.95 * 20 is a little more
    wanted = max(math.ceil(round(coverage * count, 9)), 1)
    last = ordered[wanted - 1]
    if wanted == count:
        return last
    if ordered[wanted] == last:
        below, up_to = (sum(test) for test in ([s < last for s in ordered], [s <= last for s in ordered]))
        reachable = " or ".join(f"{share / count:.4g}" for share in (below, up_to) if share)
        raise InputError(
            f"calibrate: coverage {coverage:g} is out of reach: {up_to - below} of {count} images have the "
            f"same score {last:.4g}, where the threshold would be; ask for {reachable}, or another score"
        )
    return last + (ordered[wanted] - last) / 2


@outside_inference_mode()
def calibrated(
    model: nn.Module, score: Score, images: Tensor, coverage: float, batch_size: int
) -> tuple[float, tuple[float, ...] | None]:
    """Threshold and reference of ``score`` for ``model`` on clean images.

    Args:
        model: images to logits, called in evaluation mode.
        score: score of the images.
        images: clean images, ``[N, C, H, W]``, uint8 or floats in [0, 1], that the attacker does not choose.
        coverage: share of them that is to pass.
        batch_size: images per forward.

    Raises:
        InputError: as :func:`choose_threshold`, or images of another form.
    """
    score.check(model)
    if not isinstance(images, Tensor):
        raise InputError(f"calibrate: images [N, C, H, W] are needed, got {kind_of(images)}")
    check_whole(batch_size, name="calibrate: batch_size", least=1)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with mode(model, training=False), torch.no_grad():

        def batches() -> list[Tensor]:
            return [as_float(part) for part in images.split(batch_size)] if len(images) else []

        for part in batches():
            check_images(part)
        reference = score.learn([Seen(model, part.to(device)) for part in batches()]) if len(images) else None
        scores = [
            value
            for part in batches()
            for value in score(Seen(model, part.to(device)), reference).double().tolist()
        ]
    return choose_threshold(scores, coverage), reference
