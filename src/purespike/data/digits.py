"""The embedded data set: scikit-learn's 1,797 scanned digits, enlarged; nothing is downloaded."""

import torch
import torch.nn.functional as F

from purespike.data.image_set import Data, ImageSet
from purespike.data.sampling import stratified_indices

_SIDE = 32
_TEST_COUNT = 360
_SPLIT_SEED = 0


def load_digits() -> Data:
    """1,437 train and 360 test images, ``[3, 32, 32]``, ten classes; the same on every machine."""
    from sklearn.datasets import load_digits as load_scans

    scans = load_scans()
    small = torch.as_tensor(scans.images, dtype=torch.float32).unsqueeze(1)
    labels = torch.as_tensor(scans.target, dtype=torch.int64)
    # Levels 0..16 and weights in sixty-fourths are exact in float32, so the bytes are the same on every CPU.
    large = F.interpolate(small, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
    images = (large * 255 / 16).round().to(torch.uint8).repeat(1, 3, 1, 1)

    names = tuple(str(name) for name in scans.target_names)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[stratified_indices(labels, _TEST_COUNT, seed=_SPLIT_SEED)] = True
    return Data(
        source="digits",
        train=ImageSet(images[~is_test], labels[~is_test], names, "digits/train"),
        test=ImageSet(images[is_test], labels[is_test], names, "digits/test"),
    )
