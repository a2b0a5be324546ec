"""Coefficients are compared on training images that were not trained on, never on test images."""

import json

import pytest
import torch
import yaml

from purespike.errors import InputError
from purespike.reproduction import load_scale, reproduce
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.experiments.peers_sweep import COLUMNS, HELD_OUT, NAME
from purespike.reproduction.peer_models import on_one_network
from purespike.training.engine import accelerator
from reproduction.tiny import TINY


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY, sort_keys=False))
    return ExperimentContext(load_scale(str(path)), folder / "out", accelerator(device="cpu"))


@pytest.fixture(scope="module")
def made(context):
    return reproduce(NAME, context, origin={"name": "tiny"})


def test_every_value_is_a_row_and_one_that_fails_says_so(made, context):
    rows = json.loads((made / "result.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["group"], row["method"], row["origin"]) for row in rows] == [
        ("Poisson", "as in the table", "measured"),
        ("Poisson", "signed", "measured"),
        ("Poisson", "diverging", "failed"),
    ]
    for row in rows[:2]:
        assert set(row["cells"]) == {column.key for column in COLUMNS}
        white, own = (row["cells"][column.key]["mean"] for column in (COLUMNS[2], COLUMNS[1]))
        assert white <= own
    places = (
        context.folder / NAME / "models" / "mnist" / "Poisson-signed" / "seed0" / "recipe.yaml"
    ).read_text()
    assert yaml.safe_load(places)["classifier"]["coding"] == "signedpoisson"


def test_no_test_image_takes_part(context):
    table = context.scale.peers.swept()
    held = on_one_network(context, table, NAME, held_out=HELD_OUT).data("mnist")
    usual = on_one_network(context, table).data("mnist")
    trained, compared = held.train.images, held.test.images
    assert len(trained) + len(compared) == len(usual.train) and len(compared) == round(
        HELD_OUT * len(usual.train)
    )
    both = torch.cat((trained, compared)).flatten(1)
    assert both.sum(1).sort().values.equal(usual.train.images.flatten(1).sum(1).sort().values)
    assert "held out" in held.test.name and held.test.name != usual.test.name


def test_the_table_tells_how_many_images_were_compared(made):
    # a fifth of 64, fewer than the 8 of the table would be said as well
    text = (made / "table.md").read_text(encoding="utf-8")
    assert "8 images held out from training attacked" in text and "test images" not in text


def test_rows_choose_sweeps_too(context, tmp_path):
    chosen = ExperimentContext(context.scale, tmp_path, context.accelerator, rows=["plain"])
    with pytest.raises(InputError, match="none of them has a sweep; those that have: Poisson"):
        reproduce(NAME, chosen, origin={})


def test_a_share_that_leaves_nothing_is_refused(context, tmp_path):
    other = ExperimentContext(context.scale, tmp_path, context.accelerator, held_out=0.001)
    with pytest.raises(InputError, match="leaves none"):
        other.data("mnist")
