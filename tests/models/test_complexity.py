"""Costs against counts by hand, plain loops, and convolutions with ones."""

import copy

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.models import Defended, Purifier, create
from purespike.models.coding import Direct
from purespike.models.complexity import complexity, energy
from purespike.models.layers import NeuronConfig, Normalise
from purespike.neurons import MultiLevelFiring


def pixels(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Counts(nn.Module):
    """Whole numbers 0..levels, step for step: steps · images, time outermost."""

    def __init__(self, steps=1, levels=3):
        super().__init__()
        self.steps, self.levels = steps, levels

    def forward(self, images):
        grey = torch.cat([images * (step + 1) / self.steps for step in range(self.steps)])
        return (grey * (self.levels + 1)).floor().clamp(max=self.levels)


class Loop(nn.Module):
    """The layer called once a step."""

    def __init__(self, layer, steps):
        super().__init__()
        self.layer, self.steps = layer, steps

    def forward(self, images):
        return sum(self.layer(images) for _ in range(self.steps))


class Unfolded(nn.Conv2d):
    """Takes [T, N, C, H, W], as layers of peers do."""

    def forward(self, inputs):
        return super().forward(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])


class InTime(nn.Module):
    def __init__(self, layer, steps):
        super().__init__()
        self.layer, self.steps = layer, steps

    def forward(self, images):
        return self.layer(torch.stack([images] * self.steps))


LAYERS = {
    "valid": nn.Conv2d(2, 4, 3),
    "padded": nn.Conv2d(2, 4, 3, padding=1, bias=False),
    "strided": nn.Conv2d(2, 4, 3, stride=2, padding=1),
    "skipping inputs": nn.Conv2d(2, 4, 1, stride=2),
    "dilated": nn.Conv2d(2, 4, 3, padding=2, dilation=2),
    "grouped": nn.Conv2d(2, 4, 3, padding=1, groups=2),
    "same": nn.Conv2d(2, 4, 4, padding="same"),
    "by name": nn.Conv2d(2, 4, 3, padding="valid"),
    "oblong": nn.Conv2d(2, 4, (3, 1), stride=(1, 2), padding=(1, 0)),
    "circular": nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
    "reflected": nn.Conv2d(2, 4, 3, padding=2, padding_mode="reflect"),
    "replicated": nn.Conv2d(2, 4, 3, padding=2, stride=2, padding_mode="replicate"),
    "transposed": nn.ConvTranspose2d(2, 4, 2, stride=2),
    "transposed and cropped": nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1),
    "transposed in groups": nn.ConvTranspose2d(2, 4, 3, padding=1, dilation=2, groups=2),
    "linear along the last axis": nn.Linear(6, 5),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_synaptic_operations_are_what_ones_let_through(layer):
    images = pixels(3, 2, 5, 6)
    counts = Counts(steps=2)
    ones = copy.deepcopy(layer).double()
    nn.init.ones_(ones.weight)
    if ones.bias is not None:
        nn.init.zeros_(ones.bias)
    with torch.no_grad():
        expected = ones(counts(images).double()).sum().item()
    (used,) = energy(nn.Sequential(counts, layer), images).layers
    assert used.spiking and used.steps == 2 and used.macs_left == 0
    assert used.synops == expected / 3
    assert used.spikes == pytest.approx(counts(images).mean().item())
    assert used.microjoules == pytest.approx(expected / 3 * 0.9e-6)


@pytest.mark.parametrize("layer", [nn.Conv1d(2, 3, 3, padding=1), nn.ConvTranspose1d(2, 3, 4, stride=2)])
def test_synaptic_operations_of_sequences(layer):
    model = nn.Sequential(Counts(), nn.Flatten(2), layer)
    ones = copy.deepcopy(model)
    nn.init.ones_(ones[-1].weight)
    nn.init.zeros_(ones[-1].bias)
    images = pixels(1, 2, 3, 3)
    with torch.no_grad():
        assert energy(model, images).synops == ones(images).sum().item()


def small():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 8×8
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),  # 4×4
        nn.ConvTranspose2d(6, 2, 2, stride=2),  # 8×8
        nn.Conv2d(2, 2, 3, groups=2, bias=False),  # 6×6
        nn.Flatten(),
        nn.Linear(72, 5),
    )


def test_a_small_network_by_hand():
    cost = complexity(small(), 8)
    macs = [64 * 9 * 3 * 4, 16 * 9 * 4 * 6, 16 * 4 * 6 * 2, 36 * 9 * 1 * 2, 72 * 5]
    weights = [108, 216, 48, 18, 360]
    maps = [64 * 4, 16 * 6, 64 * 2, 36 * 2]
    assert [layer.macs for layer in cost.layers] == macs
    assert [layer.weights for layer in cost.layers] == weights
    assert [layer.parameters for layer in cost.layers] == [112, 222, 50, 18, 365]
    assert cost.parameters == 112 + 8 + 222 + 50 + 18 + 365
    assert [layer.kind for layer in cost.layers] == [
        "convolution",
        "convolution",
        "transposed convolution",
        "convolution",
        "linear",
    ]
    assert cost.macs == cost.macs_per_image == sum(macs)
    assert cost.time == 6912 + 3456 + 768 + 648  # eq. 11
    assert cost.space == 108 + 216 + 48 + 18 + sum(maps)  # eq. 12


def test_multiplications_of_an_oblong_image_in_plain_loops():
    layer = nn.Conv2d(3, 4, (3, 2), stride=2, padding=1)
    macs = 0
    for _top in range(-1, 7 + 1 - 3 + 1, 2):
        for _left in range(-1, 9 + 1 - 2 + 1, 2):
            macs += 3 * 2 * 3 * 4
    assert complexity(layer, (7, 9), 3).macs == macs


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(Counts(steps=3), nn.Conv2d(2, 4, 3)),
        InTime(Unfolded(2, 4, 3), 3),
        Loop(nn.Conv2d(2, 4, 3), 3),
    ],
    ids=["folded", "unfolded", "in a loop"],
)
def test_time_steps_multiply_the_macs_of_an_image_and_nothing_else(model):
    cost = complexity(model, 6, 2)
    assert [layer.steps for layer in cost.layers] == [3]
    once = 16 * 9 * 2 * 4
    assert (cost.macs, cost.time, cost.macs_per_image) == (once, once, 3 * once)
    assert cost.space == 72 + 16 * 4
    used = energy(model, pixels(2, 2, 6, 6))
    assert used.ann_microjoules == pytest.approx(once * 4.6e-6)


def test_a_linear_layer_over_tokens_or_steps():
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(9, 4))
    assert [(layer.steps, layer.macs) for layer in complexity(tokens, 3).layers] == [(1, 3 * 36)]
    steps = nn.Sequential(Counts(steps=5), nn.Flatten(), nn.Linear(27, 4))
    assert [(layer.steps, layer.macs) for layer in complexity(steps, 3).layers] == [(5, 27 * 4)]
    # [T, N, F]: images are not mistaken for steps, however many there are
    unfolded = InTime(nn.Sequential(nn.Flatten(2), nn.Linear(27, 4)), 5)
    for images in (1, 2, 5, 10):
        (used,) = energy(unfolded, pixels(images, 3, 3, 3)).layers
        assert (used.steps, used.macs, used.macs_per_image) == (5, 27 * 4, 5 * 27 * 4)


class TwoLayers(nn.Module):
    """An analog convolution, neurons over two steps, and a spiking convolution."""

    def __init__(self):
        super().__init__()
        self.neurons = NeuronConfig((0.5, 1.0), decay=0.5, time_steps=2)
        self.first = nn.Conv2d(1, 1, 1, bias=False)
        self.fire = self.neurons.make()
        self.second = nn.Conv2d(1, 2, 3, padding=1)
        nn.init.ones_(self.first.weight)

    def forward(self, images):
        return self.neurons.mean(self.second(self.fire(Direct().currents(images, 2, self.first))))


def test_energy_of_two_layers_by_hand():
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = (
        1.0  # above both thresholds at both steps: 2 + 2 spikes, 9 positions × 2 channels each
    )
    image[0, 0, 0, 0] = 0.5  # level 1 at both steps, reset in between; u of level 2 is 0.75 < 1: 1 + 1 spikes
    image[0, 0, 0, 1] = 0.4  # u = 0.4, then 0.6: 0 + 1 spikes
    used = energy(TwoLayers(), torch.cat((image, torch.zeros_like(image))))
    first, second = used.layers
    assert (first.spiking, first.steps, first.macs_left, first.synops) == (False, 1, 9, 0)
    # a corner leads to 2×2 positions, an edge to 2×3, the centre to all, in two channels each
    assert second.synops == (4 * 9 * 2 + 2 * 4 * 2 + 1 * 6 * 2) / 2
    assert (second.spiking, second.steps, second.macs_left) == (True, 2, 0)
    assert second.spikes == 7 / (2 * 2 * 9)
    assert (used.images, used.macs_left, used.synops) == (2, 9, 50)
    assert used.microjoules == pytest.approx((50 * 0.9 + 9 * 4.6) * 1e-6)
    assert used.ann_microjoules == pytest.approx((9 + 9 * 9 * 2) * 4.6e-6)
    assert used.spiking_share == pytest.approx(2 * 162 / (9 + 2 * 162))


BETWEEN = {
    "nothing": (nn.Identity(), True),
    "maximum": (nn.MaxPool2d(2), True),
    "flatten": (nn.Flatten(2), True),
    "mean": (nn.AvgPool2d(2), False),
    "scale": (nn.BatchNorm2d(2, eps=0.5), False),
    "current": (nn.Softplus(), False),
}


@pytest.mark.parametrize(("between", "spiking"), BETWEEN.values(), ids=BETWEEN)
def test_what_keeps_spikes_spikes(between, spiking):
    layer = nn.Linear(36, 3) if isinstance(between, nn.Flatten) else nn.Conv2d(2, 3, 1)
    (used,) = energy(nn.Sequential(Counts(2), between, layer), pixels(2, 2, 6, 6)).layers
    assert used.spiking is spiking
    assert (used.macs_left == 0) is (used.synops > 0) is spiking
    assert used.macs_per_image == used.macs * 2


def test_a_black_and_white_image_is_no_spike():
    image = (pixels(1, 1, 4, 4) > 0.5).float()
    for model in (TwoLayers(), nn.Sequential(Normalise([0.5], [0.25]), TwoLayers())):
        assert [layer.spiking for layer in energy(model, image).layers] == [False, True]


def test_ties_are_counted_once_and_unused_layers_cost_nothing():
    model = small()
    model.tied, model.unused = model[0], nn.ModuleList([nn.Linear(4, 4)])
    model.forward = lambda images: model[0](images)
    cost = complexity(model, 8)
    assert [layer.name for layer in cost.layers] == ["0"]
    assert cost.parameters == complexity(small(), 8).parameters + 20


def test_a_layer_called_by_keyword():
    class Named(nn.Conv2d):
        def forward(self, input):
            return super().forward(input)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Named(3, 2, 1)

        def forward(self, images):
            return self.layer(input=images)

    assert complexity(Model(), 4).macs == 16 * 6


def test_the_purifier_has_the_parameters_of_the_paper():
    cost = complexity(Purifier(calibrated=False, time_steps=2), 8)
    assert cost.parameters == sum(layer.parameters for layer in cost.layers) == 4_365_382
    low = 9 * (3 * 32 + 3 * 32 * 32 + 32 * 3 + 6 * 64 + 64 * 64 + 2 * 64 * 64) + 64 * 3
    middle = 9 * (64 * 128 + 2 * 128 * 128 + 3 * 128 * 128)
    bottom = 9 * (128 * 256 + 5 * 256 * 256) + 4 * 256 * 128
    assert cost.time == cost.macs == 64 * low + 16 * (middle + 4 * 128 * 64) + 4 * bottom
    # at the borders stand the analog layers: computed once, not at each step
    once = {layer.name for layer in cost.layers if layer.steps == 1}
    assert once == {"estimator.first", "estimator.last", "denoiser.first", "denoiser.last"}
    assert {layer.steps for layer in cost.layers} == {1, 2}


def test_which_layers_of_the_purifier_spikes_drive():
    torch.manual_seed(0)
    used = energy(Purifier(width=1 / 8, time_steps=2), pixels(2, 3, 16, 16))
    analog = {layer.name for layer in used.layers if not layer.spiking}
    # first and last, after average pooling, and where a skip of spikes meets an analog current
    assert analog == {
        *(f"{part}.{end}" for part in ("estimator", "denoiser") for end in ("first", "last")),
        *(f"denoiser.{stack}.0.0" for stack in ("down2", "bottom", "up2", "up1")),
    }
    assert all(layer.synops > 0 for layer in used.layers if layer.spiking)


@pytest.mark.parametrize(
    ("name", "analog"),
    {
        "resnet14_snn": ("stem.0", "readout"),
        "senet18_snn": ("stem.0", "gate.squeeze", "gate.excite", "readout"),
    }.items(),
)
def test_which_layers_of_a_classifier_spikes_drive(name, analog):
    torch.manual_seed(0)
    model = create(name, width=1 / 16, time_steps=2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.5)  # a new network is nearly silent
    used = energy(model, pixels(2, 3, 8, 8))
    assert any(isinstance(module, MultiLevelFiring) for module in model.modules())
    for layer in used.layers:
        assert layer.spiking is not layer.name.endswith(analog), layer.name
        assert layer.steps == (1 if layer.name in ("stem.0", "readout") else 2)


def test_parts_add_up_to_the_whole():
    torch.manual_seed(0)
    model = Defended(Purifier(width=1 / 16, time_steps=2), create("resnet14_snn", width=1 / 16, time_steps=3))
    parts = [complexity(part, 8) for part in (model.purifier, model.classifier)]
    whole = complexity(model, 8)
    for count in ("parameters", "macs", "macs_per_image", "time", "space"):
        assert getattr(whole, count) == sum(getattr(part, count) for part in parts)
    used = energy(model, pixels(2, 3, 8, 8))
    split = [used.part(name) for name in ("purifier", "classifier")]
    for sum_of in ("synops", "macs_left", "microjoules", "ann_microjoules"):
        assert getattr(used, sum_of) == pytest.approx(sum(getattr(part, sum_of) for part in split))
    assert used.ann_microjoules == pytest.approx(whole.macs * 4.6e-6)
    # a part is a module, not the beginning of a name
    assert used.part("purif").layers == ()


def test_half_precision_counts_the_same():
    model, images = nn.Sequential(Counts(2), nn.Conv2d(2, 3, 3)), pixels(1, 2, 6, 6).bfloat16().float()
    whole = energy(copy.deepcopy(model).bfloat16(), images).layers
    assert whole == energy(model, images.bfloat16()).layers and whole[0].spiking


def test_the_model_comes_back_as_it_was():
    torch.manual_seed(0)
    model = create("resnet14_snn", width=1 / 16, time_steps=2).train()
    before = copy.deepcopy(model.state_dict())
    first, state = energy(model, pixels(2, 3, 8, 8)), torch.get_rng_state()
    assert first == energy(model, pixels(2, 3, 8, 8)) and complexity(model, 8)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())


class Dead(nn.Module):
    """After silent neurons: a layer on their spikes, and one on a rectifier that is silent as well."""

    def __init__(self):
        super().__init__()
        self.fire = NeuronConfig((2.0,), time_steps=1).make()
        self.spiking, self.analog = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 1, 1)
        nn.init.constant_(self.spiking.bias, -9)

    def forward(self, images):
        return self.analog(torch.relu(self.spiking(self.fire(images))))


def test_silent_neurons_cost_nothing_but_silent_rectifiers_do():
    spiking, analog = energy(Dead(), pixels(2, 2, 4, 4)).layers
    assert (spiking.spiking, spiking.microjoules) == (True, 0)
    assert (analog.spiking, analog.macs_left) == (False, 16 * 3)


def test_infinity_is_no_count():
    model = nn.Sequential(Counts(), nn.Threshold(0.5, float("inf")), nn.Conv2d(2, 1, 1))
    (used,) = energy(model, pixels(1, 2, 4, 4)).layers
    assert not used.spiking


MISTAKES = {
    "channels": (lambda: complexity(create("resnet14_snn", width=1 / 16), 8, 1), "takes .*3"),
    "a model of other inputs": (lambda: complexity(nn.Linear(7, 3), 8), r"Linear fails on .*\[1, 3, 8, 8\]"),
    "size": (lambda: complexity(small(), 0), "image_size .*at least 1, got 0"),
    "no channel": (lambda: complexity(small(), 8, 0), "channels: .*at least 1, got 0"),
    "no image": (lambda: energy(small(), torch.empty(0, 3, 8, 8)), "at least one image"),
    "bytes": (lambda: energy(small(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)), "images: expected floats"),
}


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_hooks_are_gone_after_a_failure():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Linear(99, 1))
    with pytest.raises(InputError):
        complexity(model, 8)
    assert not any(module._forward_hooks for module in model.modules())
