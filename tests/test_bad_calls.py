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


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: purespike.load(None), "load: a path is needed, got NoneType"),
        (lambda: purespike.save(create("resnet14_snn", width=0.05), 5), "save: a path is needed, got int"),
        (lambda: purespike.from_pretrained(None), "from_pretrained: a path is needed"),
        (lambda: purespike.zoo.load(5), "model of the zoo: name one of .*; got int"),
        (lambda: purespike.zoo.card(None), "model of the zoo: name one of"),
        (lambda: purespike.data.load_data(None), "data set: name a source, .*; got NoneType"),
    ],
)
def test_what_is_no_path_or_name_is_one_line(call, says):
    with pytest.raises(InputError, match=says):
        call()


@pytest.mark.parametrize("place", ["folder", "save"])
def test_a_place_is_text_or_a_path(classifier, place):
    with pytest.raises(InputError, match=f"{place}: a path is needed, got int"):
        purespike.evaluate(classifier, (images(), LABELS), attacks=["fgsm"], **{place: 5})


def test_a_folder_as_text_serves_every_measurement(classifier, tmp_path):
    found = purespike.evaluate(
        classifier,
        (images(), LABELS),
        attacks=["fgsm"],
        folder=str(tmp_path),
        diagnose=0,
        surrogates="rectangle",
    )
    assert any(tmp_path.rglob("*.json")) and found.cells


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((None,), "images .* are needed"),
        (("digits",), "images .* are needed"),
        ((images(), 0.9, 0), "batch_size"),
    ],
)
def test_calibrating_needs_images(classifier, given, says):
    model = purespike.Rejecting(classifier, "firing_rate")
    with pytest.raises(InputError, match=says):
        model.calibrate(*given[:2], **({"batch_size": given[2]} if len(given) > 2 else {}))
