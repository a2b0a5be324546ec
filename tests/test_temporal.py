"""Temporal information against gradients of networks that are built with fewer steps, and closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import purespike as ps
from purespike.cli import app
from purespike.errors import InputError
from purespike.explain import TemporalInformation, temporal_information
from purespike.models import ClassifierSettings, Defended, SpikingClassifier, create, save

K, T = 4, 3
LABELS = torch.tensor([0, 3, 1])


def images(count=3):
    return torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network(steps=T, **settings):
    torch.manual_seed(0)
    model = create("resnet14_snn", width=1 / 16, num_classes=K, time_steps=steps, **settings).double()
    model.train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        model(torch.rand((16, 3, 8, 8), generator=torch.Generator().manual_seed(2)).double())
    return model.eval()


def linear(steps=T):
    """Softmax regression on the normalised pixels, the same at every step."""
    torch.manual_seed(0)
    settings = ClassifierSettings(num_classes=K, time_steps=steps)
    parts = nn.Identity(), nn.Identity(), 3 * 8 * 8, settings, settings.neurons()
    return SpikingClassifier(*parts, head=nn.Flatten()).double().eval()


def test_it_is_the_squared_gradient_of_the_network_with_fewer_steps():
    """Hence causal: later steps do not matter."""
    whole = network()
    found = temporal_information(whole, images(), LABELS)
    for steps, value in enumerate(found.values, 1):
        cut = network(steps)
        cut.load_state_dict(whole.state_dict())
        expected = 0.0
        for image, label in zip(images(), LABELS, strict=True):
            cut.zero_grad()
            functional.cross_entropy(cut(image[None]), label[None]).backward()
            expected += sum(parameter.grad.square().sum().item() for parameter in cut.parameters()) / 3
        assert value == pytest.approx(expected, rel=1e-9)
    assert found.images == 3 and min(found.values) > 0 and 1 < found.centroid < T


def test_of_softmax_regression_it_is_known():
    model = linear()
    inputs = model.normalise(images()).flatten(1)
    length = inputs.square().sum(1) + 1
    probabilities = model.readout(inputs).softmax(1).detach()
    gaps = (probabilities[:, None] - torch.eye(K)).square().sum(2)
    empirical = (gaps[torch.arange(3), LABELS] * length).mean().item()
    proper = ((gaps * probabilities).sum(1) * length).mean().item()
    for labels, expected in ((LABELS, empirical), (None, proper)):
        found = temporal_information(model, images(), labels)
        assert found.values == pytest.approx([expected] * T)
        assert found.centroid == pytest.approx((T + 1) / 2)


def test_gradients_are_those_of_single_images():
    model = network()
    alone = [temporal_information(model, images()[i : i + 1], LABELS[i : i + 1]).values for i in range(3)]
    together = temporal_information(model, images(), LABELS).values
    assert together == pytest.approx(torch.tensor(alone).mean(0).tolist(), rel=1e-5)


def test_one_step_has_its_centroid_there_and_the_model_stays_as_it_was():
    model = network(1).train().requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        found = ps.temporal_information(Defended(nn.Identity(), model), images(), LABELS)
    assert found.centroid == 1
    assert model.training and not any(each.requires_grad for each in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert math.isnan(TemporalInformation((0.0, 0.0), 1).centroid)


def test_a_stochastic_model_follows_the_seed():
    model = network(coding="poisson")
    found = [temporal_information(model, images(), LABELS, seed=seed).values for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_cuts_end_with_the_network_s_own_logits():
    model = network()
    cuts = model.cuts(model.features(images()))
    assert cuts.shape == (T, 3, K)
    torch.testing.assert_close(cuts[-1], model(images()))
    torch.testing.assert_close(cuts[0], model.readout(model.features(images())[:3]))


def recalibrated():
    """A network whose channels are weighted by statistics of all time steps."""
    model = network(care=0.5)
    for module in model.modules():
        if hasattr(module, "known"):
            module.known.fill_(True)
    return model


@pytest.mark.parametrize(
    ("model", "given", "labels", "message"),
    [
        (nn.Flatten(), images(), LABELS, "which Flatten does not give: take one of purespike's classifiers"),
        (linear(), images(0), LABELS[:0], "at least one image"),
        (recalibrated(), images(), LABELS, "care"),
        (linear(), images(), LABELS[:2], "labels: expected shape"),
        (linear(), images(), LABELS + K, "labels: "),
    ],
)
def test_bad_calls_are_one_clear_line(model, given, labels, message):
    with pytest.raises(InputError, match=message):
        temporal_information(model, given, labels)


def test_commands_print_it(tmp_path, capsys, monkeypatch):
    """A description of a model, and an evaluation below its verdict."""
    monkeypatch.setattr("purespike.cli.temporal.MEASURED", 5)
    torch.manual_seed(0)
    model = str(tmp_path / "model.safetensors")
    save(create("resnet14_snn", width=1 / 32, time_steps=2), model)
    app(["info", model, "--temporal", "digits"], standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "digits, 5 images: Fisher trace by time step" in told
    few = ["--attacks", "fgsm", "--images", "4", "--diagnose", "0"]
    app(["evaluate", model, "--data", "digits", "--temporal", *few], standalone_mode=False)
    _, verdict, after = " ".join(capsys.readouterr().out.split()).partition("VERDICT")
    assert verdict and told.partition("images: ")[2].strip() in after
