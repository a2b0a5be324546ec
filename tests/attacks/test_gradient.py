import foolbox
import pytest
import torch
from torch import nn

from purespike.attacks import SignAttack, create_attack
from purespike.seeding import derive

# foolbox writes every iterate as x + (x' - x), which rounds where the step is large
EPS = [(2 / 255, 0.0), (8 / 255, 0.0), (0.3, 1e-7)]


def outer(model):
    return foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")


def judged(attack, model, images, labels, eps):
    return attack.run(outer(model), images, foolbox.criteria.Misclassification(labels), epsilon=eps)


@pytest.mark.parametrize("eps", [eps for eps, _ in EPS])
def test_fgsm_is_foolbox_s(eps, plain):
    theirs = judged(foolbox.attacks.LinfFastGradientAttack(), *plain, eps)
    ours = create_attack("fgsm", eps=eps, keep="last")(*plain)
    assert torch.equal(ours.images, theirs)


@pytest.mark.parametrize(("steps", "step_size"), [(1, 2 / 255), (5, 2 / 255), (7, 3 / 255), (4, 0.2)])
@pytest.mark.parametrize(("eps", "rounding"), EPS)
@pytest.mark.parametrize(
    ("name", "settings", "foreign"),
    [
        ("ifgsm", {}, foolbox.attacks.LinfBasicIterativeAttack),
        ("pgd", {"random_start": False}, foolbox.attacks.LinfPGD),
        ("mifgsm", {"momentum": 0.0}, foolbox.attacks.LinfBasicIterativeAttack),
    ],
)
def test_iterations_are_foolbox_s(name, settings, foreign, eps, rounding, steps, step_size, plain):
    theirs = judged(foreign(abs_stepsize=step_size, steps=steps, random_start=False), *plain, eps)
    attack = create_attack(name, eps=eps, steps=steps, step_size=step_size, keep="last", **settings)
    torch.testing.assert_close(attack(*plain).images, theirs, atol=rounding, rtol=0)


@pytest.mark.parametrize("momentum", [0.3, 1.0])
def test_mifgsm_is_its_formula(momentum, plain):
    model, images, labels = plain
    eps, step_size, steps = 16 / 255, 4 / 255, 6
    x, velocity = images.clone(), torch.zeros_like(images)
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), labels, reduction="sum"), x)
        # Dong et al. 2018: L1 norm of each image's gradient
        norms = torch.tensor([gradient[i].abs().sum() for i in range(len(images))])
        velocity = momentum * velocity + gradient / norms.view(-1, 1, 1, 1)
        x = x.detach() + step_size * velocity.sign()
        x = torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(0, 1)
    settings = {"eps": eps, "step_size": step_size, "steps": steps, "keep": "last"}
    ours = create_attack("mifgsm", momentum=momentum, **settings)(*plain).images
    assert torch.equal(ours, x)
    # and momentum makes a difference at all
    assert not torch.equal(ours, create_attack("ifgsm", **settings)(*plain).images)


class Constant(nn.Module):
    """Right about class 0 whatever it sees; its gradient vanishes."""

    def forward(self, images):
        return images.flatten(1)[:, :2] * 0 + torch.tensor([1.0, 0.0])


@pytest.mark.parametrize("name", ["fgsm", "ifgsm", "mifgsm", "pgd", "cw"])
def test_a_vanished_gradient_does_no_harm(name):
    images = torch.rand(3, 1, 4, 4) * 0.8 + 0.1
    settings = {"random_start": False} if name == "pgd" else {"steps": 3} if name == "cw" else {}
    result = create_attack(name, **settings)(Constant(), images, torch.zeros(3, dtype=torch.long))
    assert torch.equal(result.images, images)
    assert not result.success.any()
    assert result.loss_trace.isfinite().all()


class Plateau(nn.Module):
    """One pixel: its gradient vanishes from 0.45 on, and beyond 0.65 it is class 1."""

    def forward(self, images):
        pixel = images.flatten(1)
        height = pixel.clamp(max=0.45) - 0.5 + (pixel.detach() > 0.65)
        return torch.cat((torch.zeros_like(height), height), 1)


def test_momentum_outlives_a_vanished_gradient():
    settings = {"eps": 0.5, "steps": 3, "step_size": 0.1, "loss": "margin"}
    pixel, label = torch.full((1, 1, 1, 1), 0.4), torch.zeros(1, dtype=torch.long)
    assert create_attack("mifgsm", **settings)(Plateau(), pixel, label).success.item()
    assert not create_attack("ifgsm", **settings)(Plateau(), pixel, label).success.item()


class Sawtooth(nn.Module):
    """One pixel x: the margin of class 1 climbs with 10 x and falls back at every third of it."""

    def forward(self, images):
        height = images.flatten(1) * 10
        height = height - 3 * (height.detach() / 3).floor() - 1.5
        return torch.cat((torch.zeros_like(height), height), 1)


PIXEL, TRUE = torch.full((1, 1, 1, 1), 0.32), torch.zeros(1, dtype=torch.long)
CLIMB = {"eps": 0.6, "step_size": 0.1, "loss": "margin"}


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("steps", [2, 3, 4])
def test_best_remembers_a_success_that_vanishes(steps, loss):
    # margins at 0.32, 0.42, ...: -1.3, -0.3, 0.7, -1.3, -0.3
    settings = {**CLIMB, "steps": steps, "loss": loss}
    best = SignAttack(keep="best", **settings)(Sawtooth(), PIXEL, TRUE)
    assert best.success.item() and best.best_step.item() == 2
    assert best.images.item() == pytest.approx(0.52)
    last = SignAttack(keep="last", **settings)(Sawtooth(), PIXEL, TRUE)
    assert last.success.item() == (steps == 2) and last.best_step.item() == steps
    assert last.images.item() == pytest.approx(0.32 + 0.1 * steps)


def test_best_is_the_highest_loss_of_its_kind():
    # 0.42, 0.69, 0.96: no success, margins -0.3, -0.6, -0.9
    result = SignAttack(eps=0.6, step_size=0.27, steps=2, loss="margin")(Sawtooth(), PIXEL + 0.1, TRUE)
    assert result.best_step.item() == 1 and not result.success.item()
    result = SignAttack(eps=0.6, step_size=0.17, steps=4, loss="margin")(Sawtooth(), PIXEL, TRUE)
    # 0.32, 0.49, 0.66, 0.83, 1.0 (clipped at 0.92): margins -1.3, 0.4, -0.9, 0.8, -1.3
    assert result.best_step.item() == 3 and result.success.item()
    torch.testing.assert_close(result.loss_trace[:, 0], torch.tensor([-1.3, 0.4, -0.9, 0.8, -1.3]))


def test_the_start_is_not_kept_unless_early():
    # class 1 is wrong from the start, with a margin no later iterate reaches
    start = torch.full((1, 1, 1, 1), 0.58)
    settings = {**CLIMB, "steps": 1}
    late = SignAttack(**settings)(Sawtooth(), start, TRUE)
    assert not late.success.item() and late.images.item() == pytest.approx(0.68)
    early = SignAttack(**settings, stop_early=True)(Sawtooth(), start, TRUE)
    assert early.success.item() and torch.equal(early.images, start)
    assert (early.forwards, early.backwards) == (1, 1)


class Linear(nn.Module):
    """Class 1 where the mean pixel exceeds one half: every step makes it likelier."""

    def forward(self, images):
        means = images.mean((1, 2, 3))
        return torch.stack((torch.zeros_like(means), means - 0.5), 1)


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_stop_early_finds_the_same_for_less(keep, momentum):
    images = torch.linspace(0.195, 0.595, 9).view(9, 1, 1, 1).expand(9, 1, 2, 2).clone()
    labels = torch.zeros(9, dtype=torch.long)
    settings = {"eps": 0.2, "step_size": 0.04, "momentum": momentum}
    whole = SignAttack(**settings, steps=5, keep=keep)(Linear(), images, labels)
    early = SignAttack(**settings, steps=5, keep=keep, stop_early=True)(Linear(), images, labels)
    assert torch.equal(whole.success, early.success)
    assert early.forwards < whole.forwards == 9 * 6
    assert early.backwards < whole.backwards == 9 * 5
    assert sorted(set(early.best_step.tolist())) == [0, 1, 2, 3, 4, 5]
    for index, step in enumerate(early.best_step.tolist()):
        # what left is what it was when it left
        then = images
        if step:
            then = SignAttack(**settings, steps=step, keep="last")(Linear(), images, labels).images
        assert torch.equal(early.images[index], then[index])
        left = early.loss_trace[:, index].isnan()
        assert left.tolist() == [early.success[index].item() and t > step for t in range(6)]


def test_trace_holds_the_loss_of_each_iterate(plain):
    model, images, labels = plain
    settings = {"eps": 0.1, "step_size": 0.03, "keep": "last"}
    trace = create_attack("ifgsm", steps=4, **settings)(*plain).loss_trace
    iterates = [images] + [create_attack("ifgsm", steps=k, **settings)(*plain).images for k in range(1, 5)]
    expected = torch.stack(
        [nn.functional.cross_entropy(model(x), labels, reduction="none") for x in iterates]
    )
    torch.testing.assert_close(trace, expected.detach())


def test_random_start_is_uniform_in_the_ball():
    images = near_half(4, 3, 32)
    attack = SignAttack(eps=0.1, step_size=0.0, steps=1, random_start=True, keep="last", seed=5)
    noise = attack(Linear(), images, torch.zeros(4, dtype=torch.long)).images - images
    assert noise.abs().max() <= 0.1 + 1e-6
    # moments of a uniform variable, within four standard errors of 12288 draws
    assert abs(noise.mean().item()) < 4 * 0.1 / 3**0.5 / 12288**0.5
    assert noise.var().item() == pytest.approx(0.01 / 3, rel=0.04)


def test_no_budget_no_change(plain):
    result = create_attack("pgd", eps=0)(*plain)
    assert torch.equal(result.images, plain[1])


def test_a_larger_budget_never_hurts_a_linear_model():
    images = torch.linspace(0.3, 0.495, 9).view(9, 1, 1, 1)
    labels = torch.zeros(9, dtype=torch.long)
    broken = [
        create_attack("pgd", eps=eps)(Linear(), images, labels).success.sum().item()
        for eps in (0, 0.05, 0.1, 0.3)
    ]
    assert broken == sorted(broken) and broken[0] == 0 and broken[-1] > broken[1]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fgsm", {}),
        ("ifgsm", {}),
        ("mifgsm", {}),
        ("pgd", {}),
        ("pgd", {"norm": "l2"}),
        ("mifgsm", {"norm": "l2"}),
        ("sa_pgd", {"steps": 6}),
    ],
)
def test_perturb_is_the_last_iterate_for_one_forward_less(name, settings, plain):
    model, images, labels = plain
    attack = create_attack(name, eps="12/255", keep="last", seed=2, **settings)
    passed = []
    hook = model.register_forward_hook(lambda *_: passed.append(torch.is_grad_enabled()))
    try:
        alone = attack.perturb(model, images, labels)
        assert passed == [True] * attack.steps
    finally:
        hook.remove()
    assert torch.equal(alone, attack(model, images, labels).images)
    assert not alone.requires_grad and not torch.equal(alone, images)
    assert all(parameter.requires_grad for parameter in model.parameters())


def near_half(count, channels, side):
    """Images all but equal, each with draws of its own."""
    return (0.5 + 1e-6 * torch.arange(count)).view(count, 1, 1, 1).repeat(1, channels, side, side)


class Lottery(nn.Module):
    """Wrong where a start happens to land high: no gradient leads there."""

    def forward(self, images):
        height = images.mean((1, 2, 3))
        return torch.stack((torch.full_like(height, 0.55), height.detach() + 0 * height), 1)


def test_each_restart_meets_what_the_former_left_standing():
    images, labels = near_half(64, 1, 1), torch.zeros(64, dtype=torch.long)
    seen = []
    model = Lottery()
    model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    settings = {"eps": 0.1, "steps": 1, "step_size": 0.0, "random_start": True, "seed": 1}
    counts = [
        int(SignAttack(**settings, restarts=restarts)(model, images, labels).success.sum())
        for restarts in (1, 2, 3, 8)
    ]
    # a quarter of the starts wins each time
    assert counts == sorted(counts) and 8 < counts[0] < 24 and counts[-1] > 48
    # two forwards a start, on those that stand; when half of them or fewer do, several starts are one batch
    del seen[:]
    result = SignAttack(**settings, restarts=8)(model, images, labels)
    assert seen[:6] == [64, 64, *[64 - counts[0]] * 2, *[64 - counts[1]] * 2]
    assert torch.equal(result.success, result.images.mean((1, 2, 3)) > 0.55)
    assert result.forwards == sum(seen) and result.seed == 1
    assert len(seen) < 16 and max(seen) == 64
    # without luck, the same start eight times over
    assert counts[0] == int(SignAttack(**settings)(model, images, labels).success.sum())


@pytest.mark.parametrize("restarts", [2, 4, 40])
def test_starts_in_one_batch_are_those_one_after_the_other(restarts):
    images, labels = near_half(6, 1, 1), torch.zeros(6, dtype=torch.long)
    settings = {"eps": 0.1, "steps": 2, "step_size": 0.001, "random_start": True}
    whole = SignAttack(**settings, seed=3, restarts=restarts)(Lottery(), images, labels)
    for image, found, success, step in zip(
        images.split(1), whole.images.split(1), whole.success, whole.best_step, strict=True
    ):
        for restart in range(restarts):
            seed = derive(3, "restart", restart) if restart else 3
            alone = SignAttack(**settings, seed=seed)(Lottery(), image, labels[:1])
            if alone.success:
                break
        assert torch.equal(found, alone.images) and success == alone.success and step == alone.best_step
    assert whole.success.any() and (restarts > 2 or not whole.success.all())


def test_restarts_end_when_nothing_stands():
    result = SignAttack(eps=0.1, steps=2, random_start=True, restarts=9)(
        Linear(), torch.full((3, 1, 2, 2), 0.9), torch.zeros(3, dtype=torch.long)
    )
    assert result.success.all() and result.forwards == 9
