"""Expectation over transformation: a model that draws is asked several times at each iterate."""

import pytest
import torch
from torch import nn

from purespike.attacks import SignAttack, create_attack
from purespike.attacks.iterate import evaluate_iterate
from purespike.attacks.objective import cross_entropy


class Noisy(nn.Module):
    """Adds noise to its images, from the global generator."""

    def __init__(self, model, level=0.2):
        super().__init__()
        self.model = model
        self.level = level

    def forward(self, images):
        return self.model(images + self.level * torch.randn_like(images))


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_averages_losses_and_gradients_of_single_passes(passes, plain):
    model, images, labels = Noisy(plain[0], 1.0), *plain[1:]
    torch.manual_seed(4)
    losses, gradients, votes = [], [], []
    for _ in range(passes):
        x = images.clone().requires_grad_()
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, labels, reduction="none")
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss.sum(), x)[0])
        votes.append(logits.argmax(1) != labels)
    torch.manual_seed(4)
    seen = evaluate_iterate(model, images, labels, loss=cross_entropy, differentiate=True, passes=passes)
    torch.testing.assert_close(seen.losses, torch.stack(losses).mean(0))
    torch.testing.assert_close(seen.gradient, torch.stack(gradients).mean(0))
    share = torch.stack(votes).float().mean(0)
    assert torch.equal(seen.success, share > 0.5)
    if passes > 1:
        assert ((share > 0) & (share < 1)).any()
    torch.manual_seed(4)
    unseen = evaluate_iterate(model, images, labels, loss=cross_entropy, differentiate=False, passes=passes)
    assert unseen.gradient is None and torch.equal(unseen.losses, seen.losses)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steps_along_the_mean_gradient(norm, plain):
    model, images, labels = Noisy(plain[0]), *plain[1:]
    attack = SignAttack(eps=0.1, norm=norm, step_size=0.05, steps=1, eot=6, keep="last")
    torch.manual_seed(5)
    found = attack(model, images, labels).images - images
    torch.manual_seed(5)
    mean = evaluate_iterate(model, images, labels, loss=cross_entropy, differentiate=True, passes=6).gradient
    expected = mean.sign() if norm == "linf" else mean / mean.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    expected = (images + 0.05 * expected).clamp(0, 1) - images
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    torch.manual_seed(5)
    alone = attack.perturb(model, images, labels) - images
    torch.testing.assert_close(alone, found)


def test_one_pass_is_as_if_there_were_none(plain):
    for name in ("fgsm", "mifgsm", "pgd"):
        one, none = create_attack(name, eot=1)(*plain), create_attack(name)(*plain)
        assert torch.equal(one.images, none.images) and one.forwards == none.forwards
    # of a deterministic model more passes would only cost
    many = create_attack("pgd", eot=3)(*plain)
    assert torch.equal(many.images, none.images) and many.backwards == none.backwards
    assert many.forwards == none.forwards + 3 * 8
    assert many.config["eot"] == 3 and "the model is deterministic" in many.warnings[0]


class Moody(nn.Module):
    """Wrong about class 0 in those of its passes that a script says, whatever it sees."""

    def __init__(self, script):
        super().__init__()
        self.script = script
        self.passes = 0

    def forward(self, images):
        wrong = self.script[self.passes % len(self.script)]
        self.passes += 1
        height = images.flatten(1)[:, 0] * 0
        return torch.stack((height, height + (1.0 if wrong else -1.0)), 1)


@pytest.mark.parametrize("settings", [{}, {"keep": "last"}, {"stop_early": True}, {"precision": "bf16"}])
@pytest.mark.parametrize(
    ("script", "fooled"),
    [([1, 1, 0], True), ([1, 0, 0], False), ([1, 0], False), ([1, 1, 0, 0], False), ([1, 1, 1, 0], True)],
)
def test_a_majority_of_passes_decides(script, fooled, settings):
    images, labels = torch.full((2, 1, 2, 2), 0.5), torch.zeros(2, dtype=torch.long)
    model = Moody(script)
    result = SignAttack(eps=0.1, steps=2, eot=len(script), **settings)(model, images, labels)
    assert result.success.tolist() == [fooled] * 2
    assert result.forwards == 2 * model.passes and model.passes % len(script) == 0
    share = sum(script) / len(script)
    expected = share * nn.functional.softplus(torch.tensor(1.0)) + (1 - share) * nn.functional.softplus(
        torch.tensor(-1.0)
    )
    torch.testing.assert_close(result.loss_trace[0], expected.expand(2))


@pytest.mark.parametrize("settings", [{}, {"precision": "bf16"}, {"stop_early": True}, {"restarts": 3}])
@pytest.mark.parametrize("name", ["pgd", "sa_pgd", "spsa"])
def test_counts_its_passes(name, settings, plain):
    model, images, labels = Noisy(plain[0], 0.3), *plain[1:]
    passed, back = [], []

    def count(_, inputs, logits):
        passed.append(len(inputs[0]))
        if logits.requires_grad:
            logits.register_hook(lambda gradient: back.append(len(gradient)))

    model.register_forward_hook(count)
    more = {"samples": 3} if name == "spsa" else {}
    attack = create_attack(name, eps=0.05, steps=3, eot=4, random_start=True, **more, **settings)
    torch.manual_seed(0)
    result = attack(model, images, labels)
    assert (result.forwards, result.backwards) == (sum(passed), sum(back))
    assert (result.backwards == 0) == (name == "spsa")


def test_more_passes_beat_noise(plain):
    """A gradient lost in noise is found by averaging: the mean loss over fresh draws rises further."""
    images, labels = plain[1:]

    class Drowned(nn.Module):
        """Logits with noise whose gradient in the images is far larger than the true one."""

        def forward(self, x):
            return plain[0](x) + (torch.randn_like(x) * x).sum((1, 2, 3))[:, None] * torch.randn(4)

    def risen(eot):
        torch.manual_seed(0)
        attack = SignAttack(eps=0.05, steps=5, step_size=0.02, eot=eot, keep="last", loss="margin")
        adversarial = attack(Drowned(), images, labels).images
        with torch.no_grad():
            return nn.functional.cross_entropy(plain[0](adversarial), labels).item()

    assert risen(40) > risen(1) + 0.1
