"""What the page shows are the numbers, and nothing that a name could smuggle in."""

import re
from dataclasses import replace

import pytest
import torch

from purespike.demo import Attacker, Moment, View
from purespike.demo.lineup import BARE
from purespike.demo.markup import certificate_numbers, certificates, chooser, stage
from purespike.demo.pictures import fit, read_data_url
from purespike.neurons import LayerFiring

from .conftest import HOLDING, PAPER, TITLES

BAD = "<script>alert(1)</script>"


def view(**more):
    image = torch.full((1, 4, 4), 0.25)
    layers = {
        "purifier.a": LayerFiring(spikes=(3.0, 1.0), rates=(0.25, 0.0)),
        "classifier.b": LayerFiring(spikes=(2.0,), rates=(1.0,)),
    }
    shares = (0.7, 0.2, *[0.1 / 98] * 98)
    given = {"image": image, "clean": image, "purified": image, "probabilities": shares, "layers": layers}
    return View(**{**given, **more})


def test_moments_are_shown_in_numbers(session, lineup, image):
    moments = session.look(image, score="noise_mean")
    page = stage(lineup, moments)
    assert re.findall(r'data-model="([^"]*)"', page) == list(TITLES)
    for title, part in zip(TITLES, page.split("<article")[1:], strict=True):
        seen = moments[title].view
        shares = re.findall(r"<td>([\d.]+)</td>", part)
        assert shares == [f"{100 * share:.1f}" for share in seen.probabilities]
        pictures = re.findall(r'src="([^"]*)"', part)
        assert len(pictures) == (2 if title == BARE else 3)
        assert torch.equal(fit(read_data_url(pictures[0]), lineup.shape), image)
        assert f"Spikes: {seen.spikes:,.0f}" in part
        cells = len(re.findall(r'<i style="opacity', part))
        assert cells == sum(len(layer.rates) for layer in seen.layers.values())
        assert ("accepted" in part or "rejected" in part) == (title != BARE)


def test_names_of_models_and_classes_are_escaped(lineup):
    odd = replace(lineup, models={BAD: None}, class_names=(BAD,) * 100, note=BAD)
    moment = Moment(title=BAD, view=view(), label=5, stage="end", route=BAD, note=BAD)
    for page in (stage(odd, {BAD: moment}), chooser(odd)):
        assert "<script" not in page and "&lt;script" in page


def test_of_many_classes_the_likely_ones_and_the_true_one_are_shown(lineup):
    many = replace(lineup, models={"m": None}, class_names=tuple(f"c{k}" for k in range(100)))
    page = stage(many, {"m": Moment(title="m", view=view(), label=77, stage="clean")})
    rows = re.findall(r'<th scope="row">(\w+)</th>', page)
    assert rows[:2] == ["c0", "c1"] and rows[-1] == "c77" and len(rows) == 11
    assert "sees <b>c0</b>, not c77" in page
    assert "purifier.a, step 1: 3 spikes, 25.0% of the possible ones" in page
    assert "purifier: 4 in 1 layers" in page and "classifier: 2 in 1 layers" in page


def test_certificates_are_shown_with_what_they_can_prove(session, lineup, image):
    found = session.certify(image, 3, sigma=0.1, n=30)
    page, numbers = certificates(lineup, found), certificate_numbers(lineup, found)
    assert page.count(" of 30</td>") == 3
    assert f"{found.smoothing.largest_radius:.3f} at most" in page and "0.001" in page
    for title in TITLES:
        one = found.models[title].certificates[0]
        assert numbers["models"][title]["radius"] == one.radius <= found.smoothing.largest_radius
        assert numbers["models"][title]["agreed"] == one.n_a


def test_numbers_are_plain_json(session, lineup, image):
    import json

    for moment in session.attack(image, 3, Attacker(eps="2/255", steps=1), score="noise_mean"):
        numbers = json.loads(json.dumps(moment.numbers(lineup.class_names)))
        assert numbers["label"] == "3" and sum(numbers["probabilities"].values()) == pytest.approx(
            1, abs=1e-4
        )
        assert (numbers["score"] is None) == (moment.title not in (PAPER, HOLDING))
