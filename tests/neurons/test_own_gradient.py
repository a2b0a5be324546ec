"""A custom function whose backward is the derivative of its forward is told from one that spikes."""

import pytest
import torch
from torch import nn
from torch.autograd import Function

from purespike.neurons import own_gradients
from purespike.neurons.own_gradient import custom_functions_watched, kind_of_gradient


def custom(forward, backward):
    """A custom function of one input; ``backward`` takes the input and the gradient of the output."""

    class Custom(Function):
        @staticmethod
        def forward(ctx, values):
            ctx.save_for_backward(values)
            return forward(values)

        @staticmethod
        def backward(ctx, gradient):
            return backward(*ctx.saved_tensors, gradient)

    return Custom


def triangle(values, gradient):
    return gradient * (1 - values.abs()).clamp(min=0)


def swish_derivative(values, gradient):
    gate = values.sigmoid()
    return gradient * gate * (1 + values * (1 - gate))


FUNCTIONS = {
    "spikes": ("spikes", lambda v: (v > 0).to(v), triangle),
    "half spikes": ("spikes", lambda v: 0.5 * (v > 0).to(v), triangle),
    "rates": ("spikes", lambda v: (4 * v).round().clamp(0, 4) / 4, triangle),
    "signs": ("spikes", torch.sign, triangle),
    "silence": ("spikes", torch.zeros_like, triangle),
    "random spikes": ("spikes", lambda v: torch.bernoulli(v.sigmoid()), triangle),
    "rounding without a gradient": ("exact", torch.round, lambda v, g: 0 * g),
    "swish": ("exact", lambda v: v * v.sigmoid(), swish_derivative),
    "rectifier": ("exact", torch.relu, lambda v, g: g * (v > 0)),
    "in place": ("exact", lambda v: v.mul_(2), lambda v, g: 2 * g),
    "identity": ("exact", torch.clone, lambda v, g: g),
    "reversal": ("other", torch.clone, lambda v, g: -g),
    "detachment": ("other", torch.clone, lambda v, g: None),
    "an error": ("unexamined", torch.clone, lambda v, g: 1 / 0),
}
INPUTS = {
    "normal": torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
    # a kink of many functions
    "rectified": torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(min=0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("values", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize(("kind", "forward", "backward"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_kinds(kind, forward, backward, values, dtype):
    given, drawn = values.to(dtype, copy=True).requires_grad_(), torch.get_rng_state()
    assert kind_of_gradient(custom(forward, backward).apply, (given,)) == kind
    assert torch.equal(given, values.to(dtype)) and given.grad is None
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_function_of_positive_values():
    root = custom(torch.sqrt, lambda v, g: g / (2 * v.sqrt()))
    values = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    assert kind_of_gradient(root.apply, (values.requires_grad_(),)) == "exact"


def test_of_several_outputs_one_is_enough():
    def spikes_and_membrane(values):
        return custom(lambda v: (v > 0).to(v), triangle).apply(values), 0.9 * values

    assert kind_of_gradient(spikes_and_membrane, (INPUTS["normal"].clone().requires_grad_(),)) == "spikes"


def test_only_what_is_differentiated_is_noted():
    double = custom(lambda v: 2 * v, lambda v, g: 2 * g)
    # kept from before, and made inside another one
    kept, noted = double.apply, []
    outer = custom(kept, lambda v, g: 2 * g)
    weight, images = torch.ones(3), torch.ones(3, requires_grad=True)
    with custom_functions_watched(lambda function, given: noted.append((function, len(given)))):
        kept(weight), kept(images), outer.apply(images)
        with torch.no_grad():
            kept(images)
    kept(images)
    assert noted == [(double, 1), (outer, 1)]


def test_watches_nest():
    double, noted = custom(lambda v: 2 * v, lambda v, g: 2 * g), []
    images = torch.ones(3, requires_grad=True)
    with custom_functions_watched(lambda *_: noted.append("outer")):
        with custom_functions_watched(lambda *_: noted.append("inner")):
            double.apply(images)
        double.apply(images)
    double.apply(images)
    assert noted == ["inner", "outer"]


class Plain(nn.Module):
    """A plain module that calls a function."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.last, self.function = nn.Conv2d(3, 4, 3), nn.Linear(36, 5), function

    def forward(self, images):
        spikes = self.function(self.conv(images))
        return self.last(nn.functional.avg_pool2d(spikes, 2).flatten(1))


IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def local(values):
    """A class made in every forward."""
    return custom(lambda v: (v > 0).to(v), triangle).apply(values)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (local, (["0"], [], [])),
        (custom(lambda v: (v > 0).to(v), triangle).apply, (["0"], [], [])),
        (custom(lambda v: v * v.sigmoid(), swish_derivative).apply, ([], [], [])),
        (custom(torch.clone, lambda v, g: -g).apply, ([], ["Custom in 0"], [])),
        (custom(torch.clone, lambda v, g: 1 / 0).apply, ([], [], ["Custom in 0"])),
    ],
    ids=["local", "kept", "smooth", "reversed", "failing"],
)
def test_functions_in_plain_modules(function, expected):
    torch.manual_seed(0)
    model = nn.Sequential(Plain(function))
    assert own_gradients(model, IMAGES) == expected
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_functions_of_weights_are_no_neurons():
    binary = custom(torch.sign, triangle).apply

    class Binary(nn.Conv2d):
        def forward(self, images):
            return nn.functional.conv2d(images, binary(self.weight), self.bias)

    torch.manual_seed(0)
    model = nn.Sequential(Binary(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    assert own_gradients(model, IMAGES) == ([], [], [])
