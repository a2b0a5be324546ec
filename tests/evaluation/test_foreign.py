"""Networks of other frameworks: evaluated as they are; a forgotten reset is found."""

import pytest
import torch
from torch import nn

import purespike
from evaluation.victims import CLASSES, foreign, photographs
from purespike.evaluation.plan import SURROGATES

STEPS, HIDDEN = 4, 32
PATIENT = {"name": "pgd", "steps": 30, "step_size": 2 / 255, "random_start": False}


class SpikingJelly(nn.Module):
    def __init__(self):
        super().__init__()
        neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
        surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
        node = neuron.LIFNode(surrogate_function=surrogate.ATan())
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 144, HIDDEN), node, nn.Linear(HIDDEN, CLASSES))
        self.forgets = False

    def reset(self, images):
        self.net[2].reset()

    def forward(self, images):
        if not self.forgets:
            self.reset(images)
        return sum(self.net(images) for _ in range(STEPS)) / STEPS


class SnnTorch(nn.Module):
    def __init__(self):
        super().__init__()
        snntorch = pytest.importorskip("snntorch")
        self.first, self.last = nn.Linear(3 * 144, HIDDEN), nn.Linear(HIDDEN, CLASSES)
        self.neurons = snntorch.Leaky(beta=0.5, init_hidden=True)
        self.forgets = False

    def reset(self, images):
        self.neurons.mem = torch.zeros(len(images), HIDDEN)

    def forward(self, images):
        if not self.forgets:
            self.reset(images)
        current = self.first(images.flatten(1))
        return sum(self.last(self.neurons(current)) for _ in range(STEPS)) / STEPS


@pytest.fixture(params=[SpikingJelly, SnnTorch], ids=lambda framework: framework.__name__)
def model(request):
    torch.manual_seed(0)
    model = request.param()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(60):
        images, labels = photographs(32, seed=step)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.reset(images)
    return model.eval()


def test_is_evaluated_as_it_is(model):
    evaluation = purespike.evaluate(
        model, photographs(24, seed=500), attacks=["fgsm", PATIENT], eps="48/255", diagnose=16
    )
    assert evaluation.settings.surrogates == SURROGATES and not evaluation.settings.kept_surrogates
    assert {part.surrogate for cell in evaluation.cells for part in cell.components} == set(SURROGATES)
    assert "unknown neurons" not in {finding.name for finding in evaluation.diagnostics}
    clean = evaluation.clean.undefended.accuracy
    assert clean > 0.8 and evaluation.accuracy("pgd", "adaptive") < clean
    assert not any("one image, one answer" in reason for reason in evaluation.verdict.reasons)
    assert not any("could not be examined" in finding.message for finding in evaluation.diagnostics)


def test_a_forgotten_reset_is_found(model):
    model.forgets = True
    verdict = purespike.evaluate(
        model, photographs(24, seed=500), attacks=["fgsm"], eps="8/255", diagnose=16
    ).verdict
    assert verdict.level == "unreliable"
    assert any("keeps state between calls" in reason for reason in verdict.reasons)


class Linear(nn.Module):
    """The same answers with and without a path for gradients."""

    def __init__(self, detached):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.detached = nn.Linear(3 * 144, CLASSES), detached

    def forward(self, images):
        return self.layer((images.detach() if self.detached else images).flatten(1))


def test_a_mended_model_gets_numbers_of_its_own(tmp_path):
    images, _ = photographs(24, seed=500)
    labels = Linear(False)(images).argmax(1)

    def robust(detached, folder):
        settings = {"attacks": ["fgsm"], "eps": "8/255", "threat": "adaptive", "diagnose": 0}
        return purespike.evaluate(Linear(detached), (images, labels), folder=folder, **settings).cells[0]

    broken = robust(True, tmp_path).score.correct
    mended = robust(False, tmp_path)
    assert mended.score.correct == robust(False, None).score.correct < broken == 24
    # equal models do share their chunks, down to the seconds
    assert robust(False, tmp_path).seconds == mended.seconds


class Darker(nn.Module):
    """A linear classifier of darker images, which it makes in place or not."""

    def __init__(self, in_place):
        super().__init__()
        self.in_place, self.last = in_place, foreign()

    def forward(self, images):
        return self.last(images.mul_(0.9) if self.in_place else images * 0.9)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_images_of_the_caller_stay_what_they_are(kind):
    images, labels = photographs(12, seed=500)
    given = images.to(kind).requires_grad_()
    settings = {"attacks": ["pgd:steps=3"], "eps": "8/255", "diagnose": 4, "max_cost": 10}
    found = [purespike.evaluate(Darker(way), (given, labels), **settings) for way in (True, False)]
    assert torch.equal(given, images.to(kind))
    assert [cell.outcomes for cell in found[0].cells] == [cell.outcomes for cell in found[1].cells]
    assert not [one for one in found[0].diagnostics if "could not be examined" in one.message]


def test_a_scripted_module_is_taken_for_a_function():
    images, labels = photographs(12, seed=500)
    settings = {"attacks": ["pgd:steps=3"], "eps": "8/255", "diagnose": 4, "max_cost": 10}
    scripted = torch.jit.script(foreign())
    found = [purespike.evaluate(model, (images, labels), **settings) for model in (scripted, foreign())]
    assert [cell.outcomes for cell in found[0].cells] == [cell.outcomes for cell in found[1].cells]
    assert purespike.attacks.pgd(scripted, images, labels, steps=3).success.shape == (12,)


def test_an_ambient_autocast_changes_nothing():
    images, labels = photographs(12, seed=500)
    settings = {"attacks": ["pgd:steps=3"], "eps": "8/255", "diagnose": 0, "threat": "adaptive"}
    plain = purespike.evaluate(foreign(), (images, labels), **settings).cells[0]
    with torch.autocast("cpu", torch.bfloat16):
        cast = purespike.evaluate(foreign(), (images, labels), **settings).cells[0]
        assert torch.is_autocast_enabled("cpu")
    assert (cast.outcomes, cast.components) == (plain.outcomes, plain.components)
