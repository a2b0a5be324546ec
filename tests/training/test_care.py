"""Recalibration of channels after CARENet: its equation, what is recorded, and an unchanged training."""

import pytest
import torch

from purespike import InputError, load, save
from purespike.models import create
from purespike.models.predict import as_float
from purespike.neurons import Recalibration, spiking_neurons, surrogate_gradient
from purespike.training import accelerator, train_classifier
from training.test_homeostasis import small
from training.test_loop import equal
from training.tiny import recipe


def recalibration(share=0.5, classes=3, channels=4):
    made = Recalibration(share, 2, classes, channels).double()
    made.means.copy_(torch.rand(classes, channels, generator=torch.Generator().manual_seed(0)))
    made.known.fill_(True)
    return made


def drawn(*shape):
    return torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("shape", [(10, 4, 3, 3), (10, 4)])
def test_it_is_its_equation_for_every_image(shape):
    made, spikes = recalibration(0.3), drawn(*shape)
    found = made(spikes)
    for n in range(5):
        steps = torch.stack([spikes[n], spikes[5 + n]])
        rates = [steps[:, c].mean().item() for c in range(4)]
        weights = []
        for mean in made.means.tolist():
            length = (sum(a * a for a in rates) * sum(m * m for m in mean)) ** 0.5
            weights.append(sum(a * m for a, m in zip(rates, mean, strict=True)) / length / 0.1)
        weights = [value / sum(torch.tensor(weights).exp().tolist()) for value in torch.tensor(weights).exp()]
        usual = [
            sum(w * mean[c] for w, mean in zip(weights, made.means.tolist(), strict=True)) for c in range(4)
        ]
        for c in range(4):
            expected = steps[:, c] * (1 - 0.3 + 0.3 * min(2, usual[c] / rates[c]))
            torch.testing.assert_close(found[n::5][:, c], expected, atol=1e-5, rtol=1e-5)
    # alone as in a batch
    torch.testing.assert_close(made(spikes[::5]), found[::5], atol=1e-12, rtol=1e-12)


def test_without_a_share_or_at_usual_rates_nothing_changes():
    spikes = drawn(10, 4, 3, 3)
    assert torch.equal(recalibration(share=0.0)(spikes), spikes)
    usual, unknown = recalibration(), recalibration()
    usual.means.copy_(spikes[::5].mean((0, 2, 3)))
    unknown.known.fill_(False)
    torch.testing.assert_close(usual(spikes[::5]), spikes[::5], atol=1e-12, rtol=1e-12)
    assert unknown(spikes) is spikes and not torch.allclose(usual(spikes), spikes)


def test_its_gradient_is_that_of_autograd_in_numbers():
    assert torch.autograd.gradcheck(recalibration(), (drawn(4, 4, 2, 2) + 0.5).requires_grad_())


def test_a_training_is_the_one_without_it_and_class_means_are_recorded(tmp_path):
    data, cpu = small(), accelerator(device="cpu")
    found = [
        train_classifier(recipe(classifier=settings).classifier, data, folder=folder, seed=3, accelerator=cpu)
        for settings, folder in (
            ({"objective": "fgsm"}, tmp_path / "plain"),
            ({"objective": ["fgsm", "care"], "care": 0.25}, tmp_path / "care"),
            # as a run that goes on after its last epoch
            ({"objective": ["fgsm", "care"], "care": 0.25}, tmp_path / "care"),
        )
    ]
    plain, model, again = found
    weights = model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in plain.state_dict().items())
    assert equal(model, again)
    outputs = {}
    hooks = [
        each.register_forward_hook(lambda module, _, spikes: outputs.update({module: spikes}))
        for each in spiking_neurons(plain)
    ]
    plain(as_float(data.train.images))
    for hook in hooks:
        hook.remove()
    for one, other in zip(spiking_neurons(plain), spiking_neurons(model), strict=True):
        rates = outputs[one].double().unflatten(0, (2, -1)).mean((0, 3, 4))
        means = torch.stack([rates[data.train.labels == k].mean(0) for k in range(10)])
        torch.testing.assert_close(other.recalibration.means.double(), means, atol=1e-5, rtol=1e-5)
    images = as_float(data.test.images)
    assert not torch.equal(model(images), plain(images))
    save(model, tmp_path / "model.safetensors")
    assert torch.equal(load(tmp_path / "model.safetensors")(images), model(images))
    gradients = []
    for surrogate in ("rectangle", "atan"):
        with surrogate_gradient(model, surrogate):
            leaf = images.clone().requires_grad_()
            gradients.append(torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)[0])
    assert all(each.isfinite().all() and each.any() for each in gradients) and not torch.equal(*gradients)


def test_refuses(tmp_path):
    settings = recipe(classifier={"objective": "care"}).classifier
    with pytest.raises(InputError, match="care: the network recalibrates nothing; set classifier"):
        train_classifier(settings, small(), folder=tmp_path, seed=3, accelerator=accelerator(device="cpu"))
    with pytest.raises(InputError, match=r"care: recalibrates nothing .*; add care to objective"):
        recipe(classifier={"care": 0.25})
    with pytest.raises(InputError, match=r"care: must lie in \[0, 1\]"):
        create("resnet14_snn", care=2)
    assert not any(isinstance(each, Recalibration) for each in create("resnet14_snn", width=0.1).modules())
