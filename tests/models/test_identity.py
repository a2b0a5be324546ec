"""What identifies a model: weights, attributes, code; the same in another process."""

import functools
import importlib.util
import operator
import subprocess
import sys
import types
from array import array
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from purespike.models import create
from purespike.models.identity import identity
from purespike.neurons import spiking_neurons

SOURCE = """
import torch
from torch import nn

SCALE = 2.0

def helper(x):
    return x * SCALE

class Part:
    def __init__(self):
        self.gain = 1

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(1, 2, 3, stride=1)
        self.steps, self.names, self.part, self.act = 4, {"a": [1, 2]}, Part(), lambda x: x + 1
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        return helper(self.layer(x)).flatten(1)
"""


def built(folder, source=SOURCE, name="victim"):
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Net()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * SCALE", "x / SCALE"),
        ("SCALE = 2.0", "SCALE = 2.5"),
        ("helper(self.layer(x)).flatten(1)", "helper(self.layer(x.detach())).flatten(1)"),
        ("self.gain = 1", "self.gain = 2"),
        ("= 4, ", "= 5, "),
        ('"a": [1, 2]', '"a": [1, 3]'),
        ("lambda x: x + 1", "lambda x: x + 2"),
        ("stride=1", "stride=2"),
        ("manual_seed(0)\n        self.layer", "manual_seed(1)\n        self.layer"),
        ("class Part:", "class Part(list):"),
    ],
)
def test_a_change_of_code_attribute_or_weight_is_seen(tmp_path, old, new):
    assert SOURCE.count(old) == 1
    before = identity(built(tmp_path))
    assert identity(built(tmp_path)) == before
    assert identity(built(tmp_path, SOURCE.replace(old, new))) != before


def test_a_change_of_space_or_mode_is_none(tmp_path):
    before = identity(built(tmp_path))
    assert identity(built(tmp_path, SOURCE.replace("\nclass", "\n# a comment\n\n\nclass")).eval()) == before


def test_another_process_finds_the_same(tmp_path):
    mine = identity(built(tmp_path))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from victim import Net; "
        "from purespike.models.identity import identity; print(identity(Net()))"
    )
    run = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == mine


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3),
        torch.arange(3),
        {1, 2},
        ("x", 1.0, None),
        types.SimpleNamespace(a=1),
        torch.float64,
        nn.Linear(2, 2).forward,
        [nn.ReLU(), [torch.ones(1)]],
        np.random.default_rng(0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_attribute_may_be_there(value):
    model = nn.Identity()
    plain = identity(model)
    model.value = value
    assert identity(model) == identity(model) != plain


def test_a_cycle_ends():
    model = nn.Identity()
    model.loop = [model]
    model.loop.append(model.loop)
    assert identity(model) == identity(model)


def test_settings_of_own_models_are_seen():
    def make(**settings):
        torch.manual_seed(0)
        return identity(create("resnet14_snn", width=1 / 16, **{"time_steps": 2, **settings}))

    found = [make(), make(decay=0.5), make(time_steps=3), make(thresholds=(0.5,)), make(surrogate="atan")]
    found += [make(reset="detached"), make(coding="poisson")]
    assert len(set(found)) == len(found) and make() == found[0]
    model = create("resnet14_snn", width=1 / 16)
    before = identity(model)
    spiking_neurons(model)[0].reset = "detached"
    assert identity(model) != before


@dataclass(slots=True)
class Slotted:
    gain: float


class Turned:
    def __matmul__(self, other):
        return other


class Negated(Turned):
    def __matmul__(self, other):
        return -other


def cached(value):
    @functools.lru_cache
    def gain():
        return value

    return gain


def holding(value):
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    model.held = value
    return model


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Slotted(1.0), Slotted(2.0)),
        (deque([1.0]), deque([2.0])),
        (Fraction(1, 2), Fraction(1, 3)),
        (Decimal(1), Decimal(2)),
        (array("d", [1.0]), array("d", [2.0])),
        (range(3), range(4)),
        (slice(1), slice(2)),
        (cached(1.0), cached(2.0)),
        (torch.relu, torch.tanh),
        (operator.add, operator.sub),
        (np.exp, np.log),
        (np.array([1, "a"], dtype=object), np.array([1, "b"], dtype=object)),
        (Turned(), Negated()),
        (functools.partial(torch.clamp, min=0), functools.partial(torch.clamp, min=1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_any_kind_are_told_apart(one, other):
    assert identity(holding(one)) == identity(holding(one)) != identity(holding(other))


@pytest.mark.parametrize("register", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_hooks_on_gradients_are_seen(register):
    model = holding(None)
    before = identity(model)
    handle = getattr(model, register)(lambda module, *gradients: None)
    assert identity(model) != before
    handle.remove()
    assert identity(model) == before


def test_the_code_of_ones_own_modules_is_seen(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "inner_gain.py").write_text("def gain(x):\n    return x\n")
    (tmp_path / "outer_gain.py").write_text("import inner_gain\n\ndef clean(x):\n    return x\n")
    source = SOURCE.replace("import torch\n", "import torch\nimport outer_gain\n", 1)
    model = built(tmp_path, source.replace("x * SCALE", "outer_gain.inner_gain.gain(outer_gain.clean(x))"))
    found = {identity(model)}
    import inner_gain
    import outer_gain

    for module, name in ((outer_gain, "clean"), (inner_gain, "gain")):
        monkeypatch.setattr(module, name, lambda x: x + 1)
        found.add(identity(model))
    assert len(found) == 3


def test_the_same_parts_in_another_order_are_another_model():
    def half(x):
        return x / 2

    def square(x):
        return x * x

    class Ordered(nn.Module):
        def __init__(self, order, acts=()):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            parts = {"a": self.a, "b": self.b}
            self.order, self.acts = tuple(parts[name] for name in order), acts

    a, b, c = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()
    pairs = [
        (nn.Sequential(a, b, c, b, a), nn.Sequential(a, b, c, b, b)),
        (nn.ModuleList([a, b, a, b]), nn.ModuleList([a, b, b, a])),
        (Ordered("ab"), Ordered("ba")),
        (Ordered("ab", (half, square, half)), Ordered("ab", (half, square, square))),
    ]
    for one, other in pairs:
        assert identity(one) != identity(other)
        assert identity(one) == identity(one)
    assert identity(Ordered("ab")) == identity(Ordered("ab"))


def test_a_module_inside_itself_ends():
    model = nn.Linear(2, 2)
    model.add_module("again", model)
    model.add_module("none", None)
    assert identity(model) == identity(model) != identity(nn.Linear(2, 2))
