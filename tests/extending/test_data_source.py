"""A data source from outside the package: registered, named in a recipe, trained and evaluated on."""

import pytest
import torch
from training.tiny import recipe

from purespike.data import Data, ImageSet, data_source, load_data, sources
from purespike.errors import InputError
from purespike.experiment import Run
from purespike.training import accelerator


def stripes(rest, cache_dir):
    """Two classes: upright and lying stripes of a period given after the colon, with noise."""
    period, split = int(rest), {}
    for name, count in (("train", 24), ("test", 8)):
        labels = torch.arange(count) % 2
        wave = ((torch.arange(8) // period) % 2 * 120).expand(8, 8)
        noise = torch.randint(100, (count, 1, 8, 8), generator=torch.Generator().manual_seed(count))
        images = torch.stack([wave if label else wave.T for label in labels])[:, None] + noise
        split[name] = ImageSet(images.to(torch.uint8), labels, ("lying", "upright"), f"stripes:{rest}/{name}")
    return Data(f"stripes:{rest}", split["train"], split["test"])


@pytest.fixture(autouse=True)
def registered():
    data_source("stripes", form="stripes:PERIOD")(stripes)
    yield
    del sources._SOURCES["stripes"]


def test_it_is_named_in_a_recipe_and_in_the_report(tmp_path):
    small = {"attacks": ["fgsm"], "diagnose": 0, "threats": ["adaptive"]}
    short = {"classifier": {"epochs": 1}, "purifier": {"epochs": 1}, "evaluation": small}
    chosen = recipe(data={"source": "stripes:2", "train_limit": None, "test_limit": None}, **short)
    evaluation, report = Run(chosen, tmp_path, accelerator(device="cpu"))()
    assert (evaluation.data.source, evaluation.data.n) == ("stripes:2", 8)
    assert "8 stripes:2 test images" in report.read_text(encoding="utf-8")


def test_what_it_is_called_is_said_where_it_is_missing():
    assert load_data("stripes:4").train.num_classes == 2
    with pytest.raises(InputError, match="did you mean 'stripes:PERIOD'"):
        load_data("stripes")
    with pytest.raises(InputError, match="registered twice"):
        data_source("stripes")(stripes)


def test_one_that_fails_is_one_line():
    with pytest.raises(InputError, match=r"data source 'stripes': failed \(invalid literal for int.*'abc'\)"):
        load_data("stripes:abc")
