"""The page of the peers: a section for every recipe, recipes that are valid, and the committed table."""

import re
from pathlib import Path

import pytest
import yaml

from purespike.recipe import Recipe
from purespike.reporting.markers import held
from purespike.reproduction import load_scale
from purespike.reproduction.output import shown

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "peers.md"
TEXT = PAGE.read_text(encoding="utf-8")
RECIPES = sorted((ROOT / "recipes" / "peers").glob("*.yaml"))
SECTIONS = {
    "carenet": "CARENet",
    "conversion": "Robust conversion",
    "dct": "DCT coding",
    "distillation": "Defensive distillation",
    "feel": "FEEL",
    "hire": "HIRE-SNN",
    "hosnn": "HoSNN",
    "input-gradient": "Input-gradient regularisation",
    "joint-detection": "Joint detection",
    "mpd-sgr": "MPD-SGR",
    "mppd": "MPPD and DLIF",
    "poisson": "Poisson and signed Poisson coding",
    "rat": "SNN-RAT",
    "signed-poisson": "Poisson and signed Poisson coding",
    "sr": "Sparse gradients (SR)",
    "stog": "StoG",
    "tgo": "TGO",
}
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)


def test_every_recipe_has_a_section_with_more_than_a_promise():
    assert [path.stem for path in RECIPES] == sorted(SECTIONS)
    parts = dict(re.findall(r"## ([^\n]+)\n\n(.*?)(?=\n## |\Z)", TEXT, flags=re.DOTALL))
    for title in SECTIONS.values():
        assert len(parts[title].split()) > 60, title


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:40])
def test_what_the_page_writes_is_a_recipe(block):
    values = yaml.safe_load(block)
    sections = values if values.keys() <= {"classifier", "purifier"} else {"classifier": values}
    Recipe.model_validate(sections)


def test_every_mechanism_has_a_row_alone_and_trained_against_the_table_s_attack():
    rows = load_scale("cpu").peers.rows
    for name in ("HoSNN", "Poisson", "DCT", "SR", "FEEL", "StoG", "TGO", "MPD-SGR", "input gradient"):
        alone, trained = rows[name], rows[f"{name} + AT"]
        assert not alone.adversarial and trained.adversarial
        assert alone.classifier == trained.classifier and alone.cost == trained.cost


@pytest.mark.parametrize("table", ["peers", "peers-sweep"])
def test_the_table_is_the_committed_one(table):
    assert held(TEXT, table) == shown(ROOT / "results" / "reproduction", table, PAGE).strip()


@pytest.mark.parametrize(
    ("row", "recipe"),
    [("StoG", "stog"), ("StoG + AT", "stog"), ("MPPD", "mppd"), ("MPPD-TV", "mppd")],
)
@pytest.mark.parametrize("scale", ["cpu", "gpu", "paper"])
def test_rows_spare_the_parameters_that_recipes_spare(scale, row, recipe):
    """Gates and gains decay in neither."""
    path = ROOT / "recipes" / "peers" / f"{recipe}.yaml"
    own = yaml.safe_load(path.read_text(encoding="utf-8"))["classifier"]["optimiser"]["groups"]
    assert load_scale(scale).peers.changes(row)["classifier"]["optimiser"]["groups"] == own


@pytest.mark.parametrize("scale", ["cpu", "gpu"])
def test_the_conversion_takes_no_more_passes_than_the_others(scale):
    """Of an ANN 1/T: 8 of an image and epoch in TRADES of five steps; four in fine-tuning."""
    table = load_scale(scale).peers
    steps = table.network["classifier"]["time_steps"]
    row = table.changes("conversion")["classifier"]
    ann = row["objective"][1]["ann"]
    assert ann["objective"]["steps"] == 5
    assert 8 * ann["epochs"] / steps + 4 * row["epochs"] <= table.passes
    alone = table.changes("conversion without AT")["classifier"]
    ann = alone["objective"][1]["ann"]
    assert ann["objective"]["name"] == "none"
    assert 0.9 * table.passes < ann["epochs"] / steps + alone["epochs"] <= table.passes
