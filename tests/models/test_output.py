import pytest
import torch

import purespike as ps
from purespike.errors import InputError
from purespike.models import Purifier
from purespike.models.output import OUTPUTS


def pixels(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def drawn(output):
    """A purifier whose last layers say something."""
    torch.manual_seed(0)
    purifier = Purifier(width=1 / 16, time_steps=2, output=output)
    for last in (purifier.denoiser.last, purifier.estimator.last):
        torch.nn.init.normal_(last.weight, std=0.3)
    return purifier.eval()


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_image_is_what_the_formula_says(output):
    purifier, images = drawn(output), pixels(2, 3, 8, 8)
    with torch.no_grad():
        purified, noise_level = purifier(images)
        told = purifier.denoiser(images, noise_level).double()
    x, squashed = images.double(), 1 / (1 + (-told).exp())
    expected = {
        "residual": lambda: x + told,
        "bounded": lambda: (x + told).clamp(0, 1),
        "gated": lambda: (1 - squashed[:, :3]) * x + squashed[:, :3] * squashed[:, 3:],
        "reconstruction": lambda: squashed,
    }[output]()
    torch.testing.assert_close(purified.double(), expected, rtol=0, atol=1e-6)
    if output != "residual":
        assert purified.min() >= 0 and purified.max() <= 1


def test_a_clamp_masks_no_gradient():
    output = torch.tensor([[[[-3.0, 0.2, 3.0]]]], requires_grad=True)
    OUTPUTS["bounded"].apply(torch.full((1, 1, 1, 3), 0.5), output).sum().backward()
    assert output.grad.tolist() == [[[[1, 1, 1]]]]


@pytest.mark.parametrize(
    ("output", "direct"), [("residual", True), ("gated", True), ("reconstruction", False)]
)
def test_the_image_itself_reaches_the_classifier_unless_it_is_reconstructed(output, direct):
    images = pixels(1, 1, 4, 4).requires_grad_()
    told = torch.zeros(1, OUTPUTS[output].maps, 4, 4)
    purified = OUTPUTS[output].apply(images, told)
    assert purified.requires_grad == direct


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_purifier_keeps_its_output_stage_on_disk(output, tmp_path):
    purifier, images = drawn(output), pixels(1, 3, 6, 5)
    ps.save(purifier, tmp_path / "p.safetensors")
    again = ps.load(tmp_path / "p.safetensors")
    assert ("output" in again.config) == (output != "residual"), "former files have no such key"
    with torch.no_grad():
        assert torch.equal(again(images).images, purifier(images).images)
        assert again(images).images.shape == (1, 3, 6, 5)


def test_an_unknown_output_stage_is_named():
    with pytest.raises(InputError, match=r"output stage of a purifier 'reconstuction'.*reconstruction"):
        Purifier(output="reconstuction")
