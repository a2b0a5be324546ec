"""The adapter against pyautoattack called directly, and against what it is known to do wrong."""

import logging
import random
import sys
import warnings

import numpy as np
import pyautoattack
import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import nn

from purespike.attacks import (
    AutoAttack,
    apgd_ce,
    apgd_dlr,
    autoattack,
    autoattack_rand,
    fab,
    square,
    worst_case,
)
from purespike.attacks.ensemble import into_ball
from purespike.attacks.library import _Torch
from purespike.ball import Ball
from purespike.errors import InputError
from purespike.models.answer import correct

EPS = 12 / 255
FAR = 80 / 255


def directly(model, images, labels, *, attacks, eps, norm="Linf", steps=4, restarts=1, queries=40, seed=3):
    """Robust images, bool ``[N]``, as a careful user of the library would find them."""
    frozen = model.eval().requires_grad_(False)
    common = {"eps": eps, "norm": norm, "seed": seed}
    library = pyautoattack.AutoAttack(frozen, version="custom", attacks=attacks, **common)
    apgd = {"n_iter": steps, "n_restarts": restarts, "device": "cpu", "logger": logging.getLogger("silent")}
    library.apgd = APGDAttack(frozen, **common, **apgd)
    library.apgd_targeted = APGDAttack_targeted(frozen, n_target_classes=3, **common, **apgd)
    library.fab.n_iter, library.fab.n_restarts, library.fab.n_target_classes = steps, restarts, 3
    # ours counts the start, the clean image and the verdict as queries
    library.square.n_queries, library.square.n_restarts = queries - 3, restarts
    library.square.rescale_schedule = True
    trace = sys.gettrace()
    with torch.random.fork_rng(devices=[]):
        found, predicted = library.run_standard_evaluation(images, labels)
    sys.settrace(trace)
    model.requires_grad_(True)
    return predicted == labels, found


SAME = {
    "apgd-ce": {"attacks": ["apgd-ce"]},
    "apgd-ce restarts": {"attacks": ["apgd-ce"], "restarts": 3},
    "apgd-dlr": {"attacks": ["apgd-dlr"]},
    "apgd-t": {"attacks": ["apgd-t"]},
    "fab": {"attacks": ["fab"], "steps": 8},
    "fab-t": {"attacks": ["fab-t"], "steps": 8},
    "square": {"attacks": ["square"], "eps": 60 / 255},
    "standard": {"attacks": ["apgd-ce", "apgd-t", "fab-t", "square"], "steps": 2},
    "backwards": {"attacks": ["square", "apgd-ce"], "steps": 3},
}


CASES = [
    *((name, "plain", norm) for name in SAME for norm in ("linf", "l2")),
    *((name, "spiking", "linf") for name in ("apgd-ce", "apgd-t", "fab", "square")),
]


@pytest.mark.parametrize(("name", "victims", "norm"), CASES)
def test_agrees_with_the_library(name, victims, norm, request, monkeypatch):
    # the library draws for the batch as a whole, from a stream that it seeds
    for draw in ("rand", "randn"):
        monkeypatch.setattr(_Torch, draw, staticmethod(getattr(torch, draw)))
    monkeypatch.setattr(
        _Torch, "begin", lambda self, _: torch.manual_seed(3) if "square" in self.parts else None
    )
    model, images, labels = request.getfixturevalue(victims)
    settings = {"eps": EPS, **SAME[name]}
    settings["eps"] *= 1 if norm == "linf" else 10
    ours = AutoAttack(version="custom", norm=norm, seed=3, queries=40, **{"steps": 4, **settings})
    result = ours(model, images, labels)
    stands, found = directly(model, images, labels, norm={"linf": "Linf", "l2": "L2"}[norm], **settings)
    assert abs(int((~result.success).sum()) - int(stands.sum())) <= 1
    # where both fooled the model, by the same image but for rounding in another batch
    both = result.success & ~stands
    far = (result.images[both] - found[both]).abs() > 1e-3
    assert not both.any() or far.float().mean() < 0.05


def test_comparison_is_worth_something(plain):
    stands, _ = directly(*plain, attacks=["apgd-ce"], eps=EPS)
    assert 0 < stands.sum() < len(stands)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_wrong_when_clean_comes_back_unchanged(plain, norm):
    model, images, labels = plain
    labels = labels.clone()
    labels[::2] = (labels[::2] + 1) % 4
    wrong = model(images).argmax(1) != labels
    assert wrong.any() and not wrong.all()
    result = autoattack(model, images, labels, eps=FAR, norm=norm, steps=2, queries=5)
    assert result.success[wrong].all() and torch.equal(result.images[wrong], images[wrong])
    # nor is what stands in the end touched
    assert torch.equal(result.images[~result.success], images[~result.success])


@pytest.mark.parametrize("attack", [autoattack, autoattack_rand, apgd_ce, fab, square])
def test_no_image_is_right(plain, attack):
    model, images, _ = plain
    labels = (model(images).argmax(1) + 1) % 4
    result = attack(model, images, labels, eps=EPS)
    assert result.success.all() and torch.equal(result.images, images)
    assert (result.forwards, result.backwards) == (len(images), 0)
    assert result.loss_trace.shape == (1, len(images)) and (result.loss_trace > 0).all()


def test_a_budget_of_nothing(plain):
    model, images, labels = plain
    result = autoattack(model, images, labels, eps=0, steps=2, queries=5)
    assert torch.equal(result.success, model(images).argmax(1) != labels)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_leaves_the_ball_is_moved_back(plain, norm, monkeypatch):
    model, images, labels = plain

    def escapes(self, x, y):
        adversarial = x + 0.5 * (0.5 - x).sign()
        adversarial[:, :, 0, 0] = torch.nan
        return adversarial

    monkeypatch.setattr(APGDAttack, "perturb", escapes)
    eps = 0.4 if norm == "linf" else 4
    result = apgd_ce(model, images, labels, eps=eps, norm=norm)
    changed = (result.images != images).flatten(1).any(1)
    assert changed.any()
    offset = (result.images - images)[changed].flatten(1)
    size = offset.abs().amax(1) if norm == "linf" else offset.norm(dim=1)
    assert (size <= eps + 1e-6).all() and (size > 0.7 * eps).all()
    assert result.images.min() >= 0 and result.images.max() <= 1
    assert torch.equal(result.success, model(result.images).argmax(1) != labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 2.5)])
def test_projection_leaves_alone_what_is_inside(norm, eps, dtype):
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand((8, 3, 5, 5), generator=generator)
    near = (clean + 0.09 * (2 * torch.rand(clean.shape, generator=generator) - 1)).clamp(0, 1)
    clean, near = clean.to(dtype), near.to(dtype)
    assert torch.equal(into_ball(near, clean, Ball.parse(eps, norm)), near)
    far = into_ball(1 - clean.round(), clean, Ball.parse(eps, norm))
    offset = (far.double() - clean.double()).flatten(1)
    size = offset.abs().amax(1) if norm == "linf" else offset.norm(dim=1)
    # half precision rounds towards the centre: never beyond the bound, but short of it
    excess, short = (1e-6, 1e-6) if dtype != torch.bfloat16 else (0, 2**-6)
    assert ((size <= eps + excess) & (size > eps - short)).all()


def test_global_state_is_restored(plain):
    logger = logging.getLogger("auto-attack")
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)

    def state():
        return (
            random.getstate(),
            str(np.random.get_state()),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            sys.gettrace(),
            list(logger.handlers),
            logger.level,
            logger.propagate,
            list(warnings.filters),
            sys.stdout,
            torch.is_grad_enabled(),
        )

    def trace(frame, event, argument):
        return None

    debugger = sys.gettrace()
    try:
        sys.settrace(trace)
        before = state()
        autoattack(*plain, eps=EPS, steps=2, queries=5)
        after = state()
    finally:
        sys.settrace(debugger)
    assert before == after and after[3] is trace


class Breaks(nn.Module):
    """Fails while the library looks for dynamic models, which it does under a trace function of its own."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        if "pyautoattack" in getattr(sys.gettrace(), "__module__", ""):
            raise RuntimeError("out of memory")
        return self.model(images)


def test_trace_function_is_restored_after_an_exception(plain):
    debugger = sys.gettrace()
    with pytest.raises(InputError, match="out of memory"):
        apgd_ce(Breaks(plain[0]), *plain[1:], eps=EPS)
    assert sys.gettrace() is debugger


class Draws(nn.Module):
    """Adds noise to the logits, from the global generator."""

    def __init__(self, model, level=0.3):
        super().__init__()
        self.model = model
        self.level = level

    def forward(self, images):
        logits = self.model(images)
        return logits + self.level * torch.randn_like(logits)


SETTINGS = {
    autoattack: {"steps": 2, "queries": 5},
    autoattack_rand: {"steps": 2, "eot": 3},
    apgd_ce: {"steps": 3},
    apgd_dlr: {"steps": 3},
    fab: {"steps": 3},
    square: {"queries": 10},
}


@pytest.mark.parametrize("attack", SETTINGS)
@pytest.mark.parametrize("level", [0.3, 30.0])
def test_a_model_that_draws(plain, attack, level):
    model, images, labels = Draws(plain[0], level), *plain[1:]
    torch.manual_seed(5)
    result = attack(model, images, labels, eps=EPS, seed=2, **SETTINGS[attack])
    torch.manual_seed(6)
    again = attack(model, images, labels, eps=EPS, seed=2, **SETTINGS[attack])
    assert torch.equal(result.images, again.images) and torch.equal(result.success, again.success)
    assert (result.images - images).abs().max() <= EPS + 1e-6
    said = " ".join(result.warnings)
    assert ("randomized defense" in said) == (attack not in (autoattack_rand, square))


class Spoils(nn.Module):
    """Replaces some logits of some images."""

    def __init__(self, model, value, column, share):
        super().__init__()
        self.model = model
        self.value, self.column, self.share = value, column, share

    def forward(self, images):
        logits = self.model(images)
        bright = images.mean((1, 2, 3)) > 0.5 if self.share < 1 else torch.ones(len(images), dtype=torch.bool)
        spoilt = torch.zeros_like(logits, dtype=torch.bool)
        spoilt[:, self.column] = True
        return torch.where(spoilt & bright[:, None], self.value * logits.abs().sqrt(), logits)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", SETTINGS)
@pytest.mark.parametrize(
    ("value", "column", "share"),
    [
        (float("nan"), slice(None), 1),
        (float("nan"), slice(None), 0.5),
        (float("nan"), 2, 0.5),
        (float("inf"), 1, 0.5),
        (float("inf"), slice(None), 1),
        (-float("inf"), 0, 1),
    ],
)
def test_logits_that_are_not_finite(plain, attack, norm, value, column, share):
    model, images, _ = Spoils(plain[0], value, column, share).eval(), *plain[1:]
    labels = model(images).argmax(1)
    result = attack(model, images, labels, eps=EPS if norm == "linf" else 0.5, norm=norm, **SETTINGS[attack])
    assert torch.equal(result.success, ~correct(model(result.images), labels))
    assert torch.isfinite(result.images).all()
    assert any("not finite" in line for line in result.warnings)


class Ties(nn.Module):
    """The brighter the left half, the more of class 1; below a threshold classes 0 and 1 tie."""

    def forward(self, images):
        left = (images[..., :4].mean((1, 2, 3)) - 0.55).clamp(min=0)
        return torch.stack((0 * left, left, left - 1, left - 1), 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", SETTINGS)
def test_logits_that_tie(attack, norm):
    images, labels = torch.full((5, 1, 8, 8), 0.5), torch.zeros(5, dtype=torch.long)
    result = attack(Ties(), images, labels, eps=FAR if norm == "linf" else 3, norm=norm, **SETTINGS[attack])
    assert result.success.all() and torch.equal(result.images, images), "a tie is no answer, attacked or not"


CHATTY = "normalise inside"


class Chats(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        print(CHATTY)
        warnings.warn(f"{CHATTY}!", stacklevel=1)
        return self.model(images).softmax(1)


def test_what_the_library_says_goes_into_the_result(plain, capsys, recwarn, caplog):
    with caplog.at_level(logging.DEBUG):
        result = autoattack(Chats(plain[0]), *plain[1:], eps=FAR, steps=2, queries=5)
    said = result.warnings
    assert len(said) == len(set(said))
    assert any("probability distribution" in line for line in said)
    assert CHATTY in said and f"{CHATTY}!" in said
    # our own passes are not the library's
    assert capsys.readouterr().out.count(CHATTY) == 2
    assert not caplog.records
    # once more for a model without fault: nothing is carried over
    assert autoattack(*plain, eps=FAR, steps=2, queries=5).warnings == ()


class Dynamic(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        with torch.enable_grad():
            probe = images.detach().requires_grad_()
            torch.autograd.grad(self.model(probe).sum(), probe)
        return self.model(images)


def test_a_dynamic_model_does_not_taint_the_next(plain):
    _, images, labels = plain
    said = apgd_ce(Dynamic(plain[0]), images, labels, eps=EPS, steps=1).warnings
    assert any("dynamic defense" in line for line in said)
    assert apgd_ce(*plain, eps=EPS, steps=1).warnings == ()


def test_under_every_surrogate(spiking):
    attack = AutoAttack(version="custom", attacks=("apgd-ce",), eps=EPS, steps=3, seed=1)
    result, components = worst_case(
        *spiking, attack=attack, surrogates=["rectangle(width=1)", "atan(alpha=2)"]
    )
    assert [component.loss for component in components] == ["own"] * 4
    assert [component.reset for component in components] == [None, None, "detached", "detached"]
    assert components[1].attacked == len(spiking[2]) - components[0].broken
    assert int(result.success.sum()) == sum(component.broken for component in components)


@pytest.mark.parametrize("attack", SETTINGS)
def test_a_wide_ball_holds_what_fools_the_model(plain, attack):
    model, images, labels = plain
    settings = {"steps": 20} if "steps" in SETTINGS[attack] else {}
    result = attack(model, images, labels, eps=FAR, **{**SETTINGS[attack], **settings, "seed": 1})
    assert result.success.float().mean() >= (0.2 if attack is square else 0.9)
