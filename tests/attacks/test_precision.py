"""Half precision may lead an attack, but never decides whether it succeeded."""

import pytest
import torch
from torch import nn

from purespike.attacks import create_attack

PGD = {"eps": "16/255", "steps": 5, "step_size": "6/255", "random_start": False}
CW = {"steps": 8, "search_steps": 2, "learning_rate": 0.05, "initial_c": 3.0}


class Liar(nn.Module):
    """Class 1 above one half; under autocast it lies about it, with the same gradient."""

    def __init__(self, lie):
        super().__init__()
        self.lie = lie
        self.autocast = []

    def forward(self, images):
        half = torch.is_autocast_enabled("cpu")
        self.autocast.append((half, len(images)))
        height = images.mean((1, 2, 3)) - 0.5
        return torch.stack((torch.zeros_like(height), height + (self.lie if half else 0)), 1)


def pixels(*heights):
    images = torch.tensor(heights).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    return images, torch.zeros(len(heights), dtype=torch.long)


ATTACKS = {
    "pgd": create_attack("pgd", **PGD, precision="bf16"),
    "pgd last": create_attack("pgd", **PGD, precision="bf16", keep="last"),
    "pgd early": create_attack("pgd", **PGD, precision="bf16", stop_early=True),
    "cw": create_attack("cw", **CW, precision="bf16"),
}


@pytest.mark.parametrize("lie", [0.3, -0.3, 0.0])
@pytest.mark.parametrize("name", ATTACKS)
def test_success_is_judged_in_float32(name, lie):
    model = Liar(lie)
    images, labels = pixels(0.2, 0.45, 0.49, 0.6)
    result = ATTACKS[name](model, images, labels)
    true = result.images.mean((1, 2, 3)) > 0.5
    assert torch.equal(result.success, true)
    assert {half for half, _ in model.autocast} == {True, False}
    assert result.forwards == sum(count for _, count in model.autocast)
    if lie >= 0 and name != "cw":
        # a lie that leads the same way costs nothing: what can be broken is broken
        assert result.success.tolist() == [False, True, True, True]


def test_an_ambient_autocast_is_not_believed_either():
    images, labels = pixels(0.2, 0.45)
    with torch.autocast("cpu", torch.bfloat16):
        result = create_attack("pgd", **PGD)(Liar(0.4), images, labels)
    assert result.success.tolist() == [False, True]


def test_full_precision_judges_as_it_goes():
    model = Liar(0.3)
    create_attack("pgd", **PGD)(model, *pixels(0.2, 0.45))
    assert model.autocast == [(False, 2)] * 6


def test_gradients_are_computed_in_bfloat16(spiking):
    model, images, labels = spiking
    seen = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        rough = create_attack("pgd", **PGD, precision="bf16")(model, images, labels)
    finally:
        for hook in hooks:
            hook.remove()
    assert set(seen) == {torch.bfloat16, torch.float32}
    fine = create_attack("pgd", **PGD)(model, images, labels)
    assert not torch.equal(rough.images, fine.images)
    assert rough.images.dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(model(rough.images).argmax(1) != labels, rough.success)
    # about as strong
    assert abs(int(rough.success.sum()) - int(fine.success.sum())) <= 2
