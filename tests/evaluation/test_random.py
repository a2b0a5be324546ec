"""Models that draw: gradients over many passes, verdicts by the majority of ten passes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import purespike
from purespike.attacks import create_attack
from purespike.errors import InputError
from purespike.evaluation.inputs import is_stochastic
from purespike.models import Defended
from purespike.models.draws import KnownDraws

from .victims import foreign, photographs, plain, spiking

EPS = 16 / 255
PGD = {"name": "pgd", "steps": 3, "step_size": 8 / 255}


class Noisy(nn.Module):
    """A randomised purifier."""

    def __init__(self, level=0.2):
        super().__init__()
        self.level = level

    def forward(self, images):
        return images + self.level * torch.randn_like(images)


class Counting(nn.Module):
    """A model that keeps state: broken, but not random."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        return images.flatten(1)[:, :4] + self.calls


@pytest.fixture(scope="module")
def sample():
    return photographs(20, seed=7)


@pytest.mark.parametrize(
    ("model", "random"),
    [
        (lambda: Defended(Noisy(), foreign()), True),
        (lambda: nn.Sequential(Noisy(), foreign()), True),
        (foreign, False),
        (spiking, False),
        (Counting, False),
    ],
)
def test_who_draws_is_known(sample, model, random):
    model = model()
    before = torch.random.get_rng_state()
    assert is_stochastic(model, sample[0][:4], 1e-4) is random
    assert torch.equal(torch.random.get_rng_state(), before)


def evaluate(sample, **settings):
    model = Defended(Noisy(), foreign()).eval()
    given = {"attacks": [PGD, "gaussian_noise"], "eps": EPS, "batch_size": 8, "diagnose": 0, "threat": "all"}
    return purespike.evaluate(model, sample, **{**given, **settings})


def test_it_is_attacked_and_judged_over_many_passes(sample):
    found = evaluate(sample)
    assert (found.content["settings"]["eot"], found.content["settings"]["passes"]) == (20, 10)
    for cell in found.content["cells"]:
        assert cell["passes"] == 10 and 0 <= cell["pass_accuracy"] <= 1
        assert cell["settings"].get("eot", 20) == 20
    adaptive = found.cell("pgd", "adaptive")
    # three steps and a look at the last iterate, twenty passes each; each image is attacked at least once
    attacked = adaptive.components[0].attacked
    assert adaptive.backwards >= 20 * attacked
    assert abs(adaptive.pass_accuracy - adaptive.score.accuracy) < 0.5


def test_majority_and_passes_agree_with_a_count_made_here(sample):
    images, labels = sample
    found = evaluate(sample, passes=30)
    model = Defended(Noisy(), foreign())
    torch.manual_seed(1)
    right = torch.stack([model(images).argmax(1) == labels for _ in range(200)]).float().mean(0)
    clear = (right - 0.5).abs() > 0.35
    assert clear.sum() > 8
    outcomes = torch.tensor(found.content["clean_outcomes"]["defended"])
    assert torch.equal(outcomes[clear].bool(), right[clear] > 0.5)


def test_the_same_seed_draws_the_same_and_a_killed_run_too(sample, tmp_path):
    first = evaluate(sample, folder=tmp_path)
    torch.manual_seed(99)
    torch.rand(3)
    sorted(tmp_path.glob("*.json"))[1].unlink()
    assert plain(evaluate(sample, folder=tmp_path)) == plain(first)
    other = evaluate(sample, seed=1)
    assert plain(other) != plain(first)


def test_a_model_that_does_not_draw_is_judged_once(sample):
    found = purespike.evaluate(foreign(), sample, attacks=[PGD], eps=EPS, diagnose=0)
    (cell,) = found.content["cells"]
    assert cell["passes"] == 1 and cell["pass_accuracy"] is None and cell["settings"]["eot"] == 1


def test_eot_and_passes_can_be_chosen(sample):
    found = evaluate(sample, eot=3, passes=5, threat="adaptive", attacks=[PGD, {**PGD, "eot": 7}])
    assert [cell["settings"]["eot"] for cell in found.content["cells"]] == [3, 7]
    assert {cell["passes"] for cell in found.content["cells"]} == {5}


def test_who_may_try_again_needs_one_pass(sample):
    cell = evaluate(sample, threat="adaptive", attacks=[PGD], passes=12).cell("pgd", "adaptive")
    assert cell.every_pass <= min(cell.pass_accuracy, cell.score.accuracy)
    assert cell.every_pass < cell.score.accuracy, "noise of 0.2 breaks some image once in twelve passes"
    assert f"{cell.every_pass * 100:.1f} in all 12" in cell.per_pass


def test_known_random_numbers_are_one_more_attacker(sample):
    """Every image meets the same noise, as if a picture were added: a plain loop attacks it alike."""
    far = {**PGD, "step_size": 0.04, "random_start": False}
    found = evaluate(sample, threat=["adaptive", "seed_known"], attacks=[far], eps=0.1)
    known = found.cell("pgd", "seed_known")
    classifier, (images, labels) = foreign(), sample
    noise = KnownDraws(Noisy())(torch.zeros(1, *images.shape[1:]))
    victim = nn.Sequential(Plus(noise), classifier)
    right = victim(images).argmax(1) == labels
    attack = create_attack("pgd", eps=0.1, steps=3, step_size=0.04, random_start=False)
    attacks = [replace(attack, loss=loss) for loss in ("ce", "margin")]
    alone = [
        bool(right[row])
        and not any(each(victim, images[row : row + 1], labels[row : row + 1]).broken for each in attacks)
        for row in range(20)
    ]
    # an image that the majority of passes gets wrong is broken before any attack
    clean = found.content["clean_outcomes"]["defended"]
    assert list(known.outcomes) == [int(a and b) for a, b in zip(alone, clean, strict=True)]
    assert 0 < sum(known.outcomes) < 20
    assert found.worst_score(0.1, *found.end_to_end_threats) == found.cell("pgd", "adaptive").score
    assert "seed_known" not in found.end_to_end_threats, "judged by other numbers than the others"


class Plus(nn.Module):
    def __init__(self, noise):
        super().__init__()
        self.noise = noise

    def forward(self, images):
        return images + self.noise


def test_there_is_nothing_to_know_of_a_model_that_does_not_draw(sample):
    for threat, sentences in (
        ("all", ()),
        ("adaptive,seed_known", ("seed_known is left out: the model draws no random numbers",)),
    ):
        found = purespike.evaluate(foreign(), sample, attacks=[PGD], eps=EPS, diagnose=0, threat=threat)
        assert "seed_known" not in {cell.threat for cell in found.cells}
        assert tuple(found.settings.left_out or ()) == sentences
    with pytest.raises(InputError, match="seed_known is for models that draw random numbers"):
        purespike.evaluate(foreign(), sample, attacks=[PGD], eps=EPS, diagnose=0, threat="seed_known")


def test_clean_accuracy_on_all_images_is_that_of_the_majority_as_well(sample):
    """One draw of a noisy model misclassifies more images than the majority of ten."""
    images, labels = sample
    model = nn.Sequential(Noisy(0.4), foreign())
    data = purespike.data.ImageSet((255 * images).round().to(torch.uint8), labels, tuple("abcd"), "set")
    found = purespike.evaluate(model, data, attacks=["fgsm"], eps="1/255", images=19, eot=1, diagnose=0)
    whole, part = found.clean_whole.undefended, found.clean.undefended
    assert (whole.n, part.n) == (20, 19)
    assert 0 <= whole.correct - part.correct <= 1
