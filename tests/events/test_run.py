"""A run on event frames, from recipe to page: trained against flips, attacked in L0; the filter beside it."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import purespike as ps
from purespike.errors import InputError
from purespike.experiment import Run
from purespike.models import Defended, Purifier, create
from purespike.recipe import load_recipe
from purespike.reporting.sample_grid import EVENT_OFF, EVENT_ON, as_pictures, sample_grid
from purespike.results import Evaluation, Samples
from purespike.training import accelerator
from purespike.training.objectives import Batch, create_objective

from .files import nmnist

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = [
    "data.train_limit=60",
    "data.test_limit=20",
    "classifier.width=0.05",
    "classifier.epochs=1",
    "classifier.schedule.milestones=[1]",
    "purifier.width=0.05",
    "purifier.epochs=1",
    "evaluation.attacks=flips:steps=2",
    "evaluation.curve=null",
    "evaluation.curve_eps=[]",
    "evaluation.surrogates=[rectangle(width=1)]",
    "evaluation.images=8",
    "evaluation.diagnose=0",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("events") / "run"
    Run(load_recipe(RECIPES / "digits-events.yaml", TINY), place, accelerator(device="cpu"))()
    return place


def test_a_run_of_event_frames(folder):
    found = Evaluation.read(folder / "evaluation.json")
    assert {(cell.attack, cell.norm, cell.eps) for cell in found.cells} == {("flips", "l0", 20.0)}
    assert {cell.threat for cell in found.cells} == {"undefended", "oblivious", "bpda", "adaptive"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "L0, eps 20" in page and "Flips-2" in page
    samples = Samples.read(folder / "samples.npz")
    changed = samples.adversarial != samples.clean
    assert changed.sum((1, 2, 3)).max() <= 20 and set(np.unique(samples.adversarial)) <= {0, 1}
    model = ps.load(folder)
    assert str(model.classifier.coding) == "events()" and model.purifier.config["coding"] == "events"
    assert (folder / "card-l0-20.json").exists()


def test_the_filter_is_a_run_of_its_own_beside_it(folder, tmp_path):
    recipe = load_recipe(
        RECIPES / "digits-events-filter.yaml",
        [each for each in TINY if not each.startswith(("purifier", "classifier"))],
    )
    run = Run(recipe, tmp_path / "filter", accelerator(device="cpu"))
    with run:
        data = run.data()
        classifier = run.adopt(ps.load(folder / "classifier.safetensors"))
        control = run.purifier(data, classifier)
        run.evaluation(data, Defended(control, classifier).eval())
        page = run.report({"purifier": Evaluation.read(folder / "evaluation.json")}).read_text("utf-8")
    again = ps.load(tmp_path / "filter").purifier
    assert type(again).__name__ == "BackgroundActivityFilter" and "purifier" in page
    images = data.test.to_float()
    assert torch.equal(again(images), control(images)) and not torch.equal(again(images), images)


def test_the_objective_attacks_the_whole_by_flips():
    torch.manual_seed(0)
    settings = {"in_channels": 4, "time_steps": 2, "coding": "events", "width": 1 / 16}
    purifier = Purifier(**settings, output="bounded")
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(256, 4)).eval()
    images = (torch.rand(6, 4, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    spec = {"name": "end_to_end", "attack": "flips", "eps": 9, "denoise": 0.5, "ramp": 0.0, "guard": 0}
    spec["clean_share"] = 0.25
    objective = create_objective(spec, stage="purifier")
    seen = []
    purifier.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))

    def changes(progress, rows):
        seen.clear()
        batch = Batch(
            purifier,
            images,
            torch.tensor([0, 1, 2, 3, 0, 1]),
            classifier=classifier,
            network=Defended(purifier, classifier),
            seed=7,
            progress=progress,
        )
        for step in objective.steps(batch):
            assert step.loss.isfinite()
        assert set(seen[-1].unique().tolist()) <= {0, 1}
        return (seen[-1] != images).flatten(1).sum(1)[rows].tolist()

    # a quarter of the batch, rounded, stays clean
    assert changes(0.75, slice(0, 2)) == [0, 0]
    assert 0 < max(changes(0.75, slice(2, 6))) <= 9
    denoised = changes(0.1, slice(0, 6))
    assert len(set(denoised)) == 1 and 1 <= denoised[0] <= 36
    with pytest.raises(InputError, match="L0 budget is a whole number of pixels"):
        create_objective({**spec, "eps": "8/255"}, stage="purifier")


def test_pictures_of_events():
    frames = np.zeros((1, 4, 2, 2), np.float32)
    frames[0, 0::2, 0, 0] = frames[0, 1::2, 1, 1] = frames[0, 3, 0, 1] = 1
    (picture,) = as_pictures(frames)
    np.testing.assert_allclose(picture[:, 0, 0], EVENT_OFF, atol=1e-6)
    np.testing.assert_allclose(picture[:, 1, 1], EVENT_ON, atol=1e-6)
    assert (picture[:, 1, 0] == 1).all() and EVENT_ON[1] < picture[1, 0, 1] < 1
    grey = np.random.default_rng(0).random((2, 1, 4, 4))
    assert as_pictures(grey) is grey
    labels = np.zeros(1, int)
    samples = Samples(
        **dict.fromkeys(("clean", "adversarial", "purified"), frames),
        **dict.fromkeys(("labels", "undefended_prediction", "defended_prediction"), labels),
    )
    figure = sample_grid(dataclasses.replace(samples, adversarial=1 - frames))
    assert [image.get_array().shape for image in figure.axes[0].images] == [(2, 2, 3)] * 5


def test_the_paper_s_training_takes_flips_too(tmp_path):
    recipe = load_recipe(
        RECIPES / "digits-events.yaml",
        [*TINY, "purifier.objective=paper", "purifier.attack={name: flips, eps: 20, steps: 2}"],
    )
    run = Run(recipe, tmp_path, accelerator(device="cpu"))
    torch.manual_seed(0)
    settings = {"in_channels": 6, "time_steps": 3, "coding": "events", "width": 1 / 16}
    with run:
        purifier = run.purifier(run.data(), create("resnet14_snn", num_classes=10, **settings).eval())
    assert purifier.config["coding"] == "events"


def test_the_examples_of_the_page_run(folder, tmp_path, capsys):
    page = (RECIPES.parent / "docs" / "events.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for split in ("Train", "Test"):
        for label in ("0", "1"):
            place = tmp_path / split / label
            place.mkdir(parents=True)
            (place / "00002.bin").write_bytes(nmnist([(0, 0, 1, 1), (33, 5, 8000, 0)]))
    names = {}
    exec(first.replace("00002.bin", str(place / "00002.bin")).replace("/data/N-MNIST", str(tmp_path)), names)
    assert names["image"].shape == (20, 34, 34) and len(names["data"].train) == 2
    assert "[:32]" in second and "steps=20" in second
    tiny = second.replace("[:32]", "[:3]").replace("steps=20", "steps=1")
    exec(tiny.replace("runs/digits-events", str(folder)), names)
    assert len(names["found"].events) == 3 and "tensor" in capsys.readouterr().out
