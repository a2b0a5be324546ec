"""The embedded data sets: scikit-learn's 1,797 scanned digits, enlarged; nothing is downloaded."""

import torch
import torch.nn.functional as F

from purespike.data.image_set import Data, ImageSet
from purespike.data.sampling import stratified_indices

_TEST_COUNT = 360
_SPLIT_SEED = 0


def load_digits(source: str, *, side: int, channels: int) -> Data:
    """1,437 train and 360 test images, ten classes; the same on every machine.

    Args:
        source: name of the set.
        side: height and width of the images, 16 or 32.
        channels: their channels, all alike.
    """
    from sklearn.datasets import load_digits as load_scans

    scans = load_scans()
    small = torch.as_tensor(scans.images, dtype=torch.float32).unsqueeze(1)
    labels = torch.as_tensor(scans.target, dtype=torch.int64)
    # Levels 0..16 and weights in sixty-fourths are exact in float32, so the bytes are the same on every CPU.
    large = F.interpolate(small, size=(side, side), mode="bilinear", align_corners=False)
    images = (large * 255 / 16).round().to(torch.uint8).repeat(1, channels, 1, 1)

    names = tuple(str(name) for name in scans.target_names)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[stratified_indices(labels, _TEST_COUNT, seed=_SPLIT_SEED)] = True
    return Data(
        source=source,
        train=ImageSet(images[~is_test], labels[~is_test], names, f"{source}/train"),
        test=ImageSet(images[is_test], labels[is_test], names, f"{source}/test"),
    )
