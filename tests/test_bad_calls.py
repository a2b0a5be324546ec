"""What a caller of ``purespike.evaluate`` can get wrong: one clear error, before anything is attacked."""

import pytest
import torch
from torch import nn

import purespike
from purespike import InputError
from purespike.models import Defended, create


def images(count=3):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 1, 2])

PAIRS = {
    "above 1": ((images() * 255, LABELS), r"images: values lie in .*outside \[0, 1\]"),
    "below 0": ((images() - 0.5, LABELS), r"images: values lie in .*outside \[0, 1\]"),
    "NaN": ((images().index_fill(0, torch.tensor([1]), torch.nan), LABELS), r"images: contain NaN"),
    "infinite": ((images().index_fill(0, torch.tensor([1]), torch.inf), LABELS), r"images: values lie in"),
    "integers": (((images() * 255).byte(), LABELS), r"images: expected floats in \[0, 1\], got torch.uint8"),
    "one image": ((images()[0], LABELS[:1]), r"images: expected shape \[N, C, H, W\], got \[3, 8, 8\]"),
    "texts": (("abc", LABELS), r"images: expected"),
    "channels": ((images()[:, :1], LABELS), r"the model takes .*3.*got .*1"),
    "label too high": ((images(), LABELS + 8), r"labels: must be at least 0 and at most 9, found 8 to 10"),
    "label below 0": ((images(), LABELS - 1), r"labels: must be at least 0.*found -1 to 1"),
    "float labels": ((images(), LABELS.float()), r"labels: expected a tensor of integer class indices"),
    "one-hot labels": ((images(), torch.eye(10).long()[:3]), r"labels: expected shape \[3\].*got \[3, 10\]"),
    "too few labels": ((images(), LABELS[:2]), r"labels: expected shape \[3\], one per image, got \[2\]"),
    "nothing": ((images()[:0], LABELS[:0]), r"no images"),
}


@pytest.fixture(scope="module")
def classifier():
    return create("resnet14_snn", width=0.05, time_steps=1).eval()


@pytest.mark.parametrize("defend", [False, True], ids=["alone", "defended"])
@pytest.mark.parametrize(("pair", "says"), PAIRS.values(), ids=PAIRS.keys())
def test_evaluate_refuses_what_is_no_image_or_label(classifier, pair, says, defend):
    model = Defended(nn.Identity(), classifier) if defend else classifier
    with pytest.raises(InputError, match=says):
        purespike.evaluate(model, pair, attacks=["fgsm"], threat="adaptive")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"attacks": ["fgms"]}, "did you mean 'fgsm'"),
        ({"attacks": [{"steps": 3}]}, "each needs a name"),
        ({"threat": "oblivius"}, "did you mean 'oblivious'"),
        ({"threat": ["oblivious"]}, "the model has no purifier"),
        ({"eps": []}, "at least one budget"),
        ({"eps": float("nan")}, "eps: must lie in"),
        ({"surrogates": ["atn"]}, "did you mean 'atan'"),
        ({"surrogates": []}, "at least one surrogate"),
        ({"losses": ["mse"]}, "attack loss 'mse'"),
        ({"images": 0}, "images: .*greater than or equal to 1, got 0"),
    ],
)
def test_evaluate_refuses_settings_that_mean_nothing(classifier, settings, says):
    with pytest.raises(InputError, match=says):
        purespike.evaluate(classifier, (images(), LABELS), **{"attacks": ["fgsm"], **settings})
