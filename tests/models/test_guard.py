"""A model that fails late, and what a call leaves of the models and generators that it was given."""

import random
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

import purespike as ps
from purespike.data import ImageSet
from purespike.errors import InputError
from purespike.evaluation import transfer_matrix
from purespike.explain import grad_cam
from purespike.models.guard import guarded
from purespike.models.predict import predict
from purespike.models.resolve import resolve
from purespike.neurons import LIF, firing_rates, membrane_census, surrogate_gradient, unknown_spiking_modules
from purespike.recipe import parse_recipe
from purespike.training import train_purifier

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
DATA = IMAGES, LABELS


def fail(kind):
    if kind == "exit":
        sys.exit(0)
    raise RuntimeError("no\nluck")


class Late(nn.Module):
    """Fails at its n-th call; has what a model may have: buffers, hooks, frozen parts, both modes, noise."""

    def __init__(self, fails_at=None, kind="error"):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm, self.drop = nn.BatchNorm2d(4).eval(), nn.Dropout(0.5)
        self.neurons, self.last = LIF(time_steps=1), nn.Linear(4, 4)
        self.last.bias.requires_grad_(False)
        self.register_buffer("seen", torch.zeros(2))
        self.fails_at, self.kind, self.calls = fails_at, kind, 0
        self.handle = self.conv.register_forward_hook(lambda module, given, output: output * 1.0)
        self.conv.weight.grad = torch.ones_like(self.conv.weight)
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.3, 0.3, generator=draw)

    def forward(self, images):
        self.calls += 1
        self.seen += 1
        if self.calls == self.fails_at:
            fail(self.kind)
        noise = torch.rand(()).item() + np.random.rand() + random.random()  # noqa: NPY002
        return self.last(self.drop(self.neurons(self.norm(self.conv(images)))).mean((2, 3))) + 1e-9 * noise


OTHER = Late()


def state(model):
    """Everything that a call must leave as it was."""
    return {
        "modes": [module.training for module in model.modules()],
        "wanted": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "weights": {name: value.tolist() for name, value in model.state_dict().items()},
        "hooks": [
            sorted(map(str, each.values()))
            for module in model.modules()
            for each in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "surrogates": [str(module.surrogate) for module in model.modules() if isinstance(module, LIF)],
        "resets": [module.reset for module in model.modules() if isinstance(module, LIF)],
    }


def generators():
    numbers = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), numbers[1].tolist(), numbers[2], random.getstate()


def _evaluate(model, **settings):
    ps.evaluate(model, DATA, eps="16/255", **settings)


def _surrogate(model):
    with surrogate_gradient(model, "atan", reset="detached"):
        model.eval()(IMAGES)


ATTACKS = ["fgsm", "pgd", "mifgsm", "cw", "apgd_ce", "square", "spsa", "gaussian_noise", "sa_pgd", "fab"]
CALLS = {
    "evaluate": lambda m: _evaluate(m, attacks=["fgsm", "pgd:steps=2"], threat="all", diagnose=0),
    "examined": lambda m: _evaluate(m, attacks=["pgd:steps=2"], threat="adaptive", diagnose=2, max_cost=2),
    "substitute": lambda m: ps.evaluate(
        OTHER, DATA, attacks=["fgsm"], threat="transfer", substitutes={"s": m}, diagnose=0
    ),
    "transfer": lambda m: transfer_matrix({"a": m}, {"b": OTHER, "c": m}, DATA, attacks=["fgsm"]),
    "predict": lambda m: predict(m, IMAGES),
    "rates": lambda m: firing_rates(m, IMAGES),
    "census": lambda m: membrane_census(m, IMAGES),
    "unknown": lambda m: unknown_spiking_modules(m, IMAGES),
    "cam": lambda m: grad_cam(m, IMAGES, LABELS),
}
# calls that are plain forwards
PLAIN = ("predict", "rates", "census", "unknown", "cam")
SMALL = {"cw": {"steps": 2, "search_steps": 1}, "square": {"queries": 4}, "spsa": {"steps": 1, "samples": 2}}
SMALL |= {
    "gaussian_noise": {},
    "fgsm": {},
    "apgd_ce": {"steps": 3},
    "fab": {"steps": 2},
    "sa_pgd": {"steps": 2},
}


def attack(name):
    settings = SMALL.get(name, {"steps": 2})
    return lambda m: getattr(ps.attacks, name)(m, IMAGES, LABELS, **settings)


CALLS |= {name: attack(name) for name in ATTACKS}


@pytest.mark.parametrize("fails_at", [None, 1, 3])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_models_and_generators_as_they_were(name, fails_at):
    if name == "cam":
        pytest.importorskip("captum")
    model = Late(fails_at)
    before, drawn = state(model), generators()
    try:
        CALLS[name](model)
    except (InputError, RuntimeError):
        assert fails_at is not None
    after = state(model)
    if name in PLAIN:
        # what a plain forward writes and draws is the model's own affair
        before["weights"].pop("seen"), after["weights"].pop("seen")
    else:
        assert generators() == drawn
    assert after == before


@pytest.mark.parametrize("kind", ["error", "exit"])
@pytest.mark.parametrize("fails_at", [1, 4, 9])
def test_a_late_failure_is_one_line_with_the_model_and_the_call(fails_at, kind):
    with pytest.raises(InputError) as error:
        _evaluate(Late(fails_at, kind), attacks=["pgd:steps=3"], threat="adaptive", diagnose=0)
    message = str(error.value)
    assert "\n" not in message and ("no luck" in message or "sys.exit(0)" in message)
    assert "Late" in message and f"call {fails_at}" in message


def test_what_was_computed_stays(tmp_path):
    settings = {"attacks": ["fgsm", "pgd:steps=3"], "threat": "undefended", "batch_size": 3, "diagnose": 0}
    whole = Late()
    _evaluate(whole, **settings)
    with pytest.raises(InputError, match="stay finished in"):
        _evaluate(Late(fails_at=whole.calls), folder=tmp_path, **settings)
    assert list(tmp_path.glob("*.json"))


def test_an_attack_says_it_too():
    with pytest.raises(
        InputError, match=r"the model \(Late\) fails at call 2 on images of shape \[6, 3, 8, 8\]"
    ):
        ps.attacks.pgd(Late(2), IMAGES, LABELS)


class Undone(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise OSError("no\nway back")


class OneWay(Late):
    """Fails when it is differentiated."""

    def forward(self, images):
        return super().forward(Undone.apply(images))


class Modeless(Late):
    """Fails when it is put into a mode, once it is made."""

    def train(self, mode=True):
        raise OSError("no\nmodes")


class Empty(Late):
    """One buffer has no values."""

    def __init__(self):
        super().__init__()
        self.seen = torch.zeros(2, device="meta")


FAULTS = {
    OneWay: r"\(OneWay\) fails in the backward pass: OSError: no way back",
    Modeless: r"Modeless: its train\(False\) fails: OSError: no modes",
    Empty: r"\(Empty\): seen is on the meta device, .*load its weights first \(to_empty",
}
GRADIENT = (
    *["pgd", "mifgsm", "cw", "apgd_ce", "fab", "evaluate", "substitute", "transfer", "training"],
    "worst case",
)
MORE = {
    "worst case": lambda m: ps.attacks.worst_case(
        m, *DATA, attack=ps.attacks.create_attack("pgd"), surrogates=["atan"], losses=["ce"]
    ),
    "training": lambda m: train(m),
}


def train(classifier):
    purifier = {"attack": {"name": "fgsm"}, "width": 0.0625, "time_steps": 1, "epochs": 1, "crop_padding": 0}
    recipe = parse_recipe({"data": {"source": "digits"}, "purifier": purifier}).purifier
    images = ImageSet((IMAGES * 255).byte(), LABELS, ("a", "b", "c", "d"), "toy/train")
    with tempfile.TemporaryDirectory() as folder:
        train_purifier(
            recipe, classifier, images, folder=Path(folder), seed=0, accelerator=Accelerator(cpu=True)
        )


@pytest.mark.parametrize("name", GRADIENT)
@pytest.mark.parametrize("kind", FAULTS)
def test_whatever_fails_is_one_line(kind, name):
    model = kind()
    with pytest.raises(InputError, match=FAULTS[kind]) as error:
        (CALLS | MORE)[name](model)
    assert "\n" not in str(error.value)
    if kind is not Empty and name not in ("substitute", "transfer", "training"):
        assert isinstance(error.value.__cause__, OSError)
    assert "forward" not in vars(model) and all(p.requires_grad for p in model.conv.parameters())


class NoEvaluation(Late):
    def eval(self):
        raise OSError("no\nevaluation")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (NoEvaluation, "model mine:make: failed with OSError: no evaluation$"),
        (Empty, r"model mine:make \(Empty\): seen is on the meta device"),
        (lambda: 3, "returned int, not an nn.Module or a function"),
        (lambda: Late, "returned type, not an nn.Module or a function"),
    ],
    ids=["eval", "empty", "number", "class"],
)
def test_so_is_a_model_named_at_the_shell(make, message, monkeypatch):
    module = types.ModuleType("mine")
    module.make = make
    monkeypatch.setitem(sys.modules, "mine", module)
    with pytest.raises(InputError, match=message):
        resolve("mine:make")


def test_either_part_may_have_failed_to_be_differentiated():
    model = ps.Defended(nn.Identity(), OneWay())
    names = r"the purifier of the model \(Identity\) or the classifier of the model \(OneWay\)"
    with pytest.raises(InputError, match=f"^{names} fails in the backward pass"):
        ps.attacks.pgd(model, IMAGES, LABELS)


def test_guards_nest_and_name_the_part():
    model = ps.Defended(nn.Identity(), Late(1))
    with guarded(model, "mine"), guarded(model), pytest.raises(InputError, match="the classifier of mine"):
        model(IMAGES)
    assert "forward" not in vars(model.classifier)


def test_a_forward_of_the_instance_comes_back():
    model = nn.Identity()
    model.forward = own = lambda images: images + 1
    with guarded(model):
        assert torch.equal(model(IMAGES), IMAGES + 1)
    assert model.forward is own
