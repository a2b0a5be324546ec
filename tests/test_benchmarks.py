import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import defences
from benchmarks.measure import Settings, kept_for_backward, quartiles, times
from benchmarks.networks import ReluNetwork, batch, multiplications, senet
from benchmarks.peers import plain_loop
from benchmarks.report import Result, Row, markdown, publish, timed
from purespike.errors import InputError
from purespike.neurons import multi_level_firing

SETTINGS = Settings(device="cpu", threads=1, batch=1, repeats=3)


def test_quartiles_are_of_the_ratios_round_by_round():
    # the second round was slow for both
    assert quartiles([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == (2, 2, 2)
    assert quartiles([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) == (1.5, 2, 2.5)
    assert quartiles([3.0], [2.0]) == (1.5, 1.5, 1.5)


def test_sides_take_turns():
    calls = []
    found = times({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, SETTINGS)
    assert "".join(calls) == "aabb" + "ba" + "ab" + "ba"
    assert [len(seconds) for seconds in found.values()] == [3, 3]
    assert all(second >= 0 for seconds in found.values() for second in seconds)


def test_kept_counts_every_storage_once_and_no_parameter():
    layer = nn.Linear(8, 8)
    x = torch.randn(4, 8)
    kept = kept_for_backward(lambda: layer(x.requires_grad_()).exp() * 2, layer.parameters())
    # the input of the layer, and the result of exp
    assert sorted(kept.values()) == [4 * 8 * 4] * 2


def test_multiplications_of_a_network_counted_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, stride=2),
        nn.ConvTranspose2d(4, 5, 2, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 7),
    )
    by_hand = 4 * 4 * 4 * 3 * 9 + 4 * 4 * 4 * 5 * 4 + 5 * 7
    assert multiplications(model, torch.zeros(1, 3, 8, 8)) == by_hand
    assert multiplications(model, torch.zeros(3, 3, 8, 8)) == 3 * by_hand


def test_the_ann_is_the_same_network():
    spiking = senet("cpu", width=1 / 8)
    relu = ReluNetwork(spiking)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (spiking, relu)]
    assert sizes[0] == sizes[1]
    images, _ = batch(2, "cpu")
    assert relu(images).shape == spiking(images).shape == (2, 10)
    assert not any("Firing" in type(module).__name__ for module in relu.modules())
    # per image and time step: only the stem, which sees one image for all steps, is cheaper
    stem = 8 * 32 * 32 * 27
    assert multiplications(relu, images) * 4 - multiplications(spiking, images) == 2 * 3 * (stem + 64 * 10)


def test_the_plain_loop_is_our_neuron():
    current = torch.randn(4, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain_loop(current), multi_level_firing(current))


def test_a_verdict_compares_with_what_was_asked():
    row = timed("a ÷ b", {"a": [1.0, 2.0], "b": [1.0, 1.0]}, "a", "b", bound=1.5)
    assert (row.low, row.ratio, row.high, row.verdict) == (1.25, 1.5, 1.75, "≤ 1.5 met")
    assert Row("a", 1.6, 1, 2, bound=1.5).verdict == "≤ 1.5 MISSED"
    assert Row("a", 1.6, 1, 2).verdict == ""


def test_what_is_published_is_what_is_documented(tmp_path, capsys):
    result = Result("One thing", rows=[Row("a ÷ b", 0.5, 0.4, 0.6, 1.0, "no difference", "why")])
    result.skipped.append("peer is not installed")
    content = publish("one", result, SETTINGS)
    (tmp_path / "one.json").write_text(json.dumps(content))
    shown = capsys.readouterr().out
    assert "0.4 to 0.6" in shown and "≤ 1 met" in shown and "skipped: peer" in shown
    page = markdown(tmp_path, ["one", "other"])
    assert page.splitlines()[0] == "### One thing"
    assert "| a ÷ b | 0.5 (0.4 to 0.6) | **≤ 1 met** | no difference |" in page and "- a ÷ b: why" in page
    with pytest.raises(InputError, match="no results"):
        markdown(tmp_path, ["other"])


def test_every_defence_that_trains_its_classifier_otherwise_has_a_row():
    """One step each, of the network made smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defences.NETWORK, "width", 1 / 16)
        patch.setattr(defences, "SIDE", 8)
        patch.setattr(defences, "batch", lambda count, device: batch(2, device, size=8))
        patch.setattr(defences, "times", partial(times, warm=0))
        patch.chdir(Path(__file__).parents[1])
        result = defences.run(replace(SETTINGS, repeats=1))
        names = [path.stem for path in defences.RECIPES.glob("*.yaml")]
    rows = {row.what.partition(" ")[0]: row for row in result.rows}
    assert sorted([*rows, "joint-detection"]) == sorted(names) and not result.skipped
    assert {name: rows[name].bound / defences.SLACK for name in ("hire", "conversion")} == {
        "hire": pytest.approx(1),
        "conversion": pytest.approx(4),
    }
