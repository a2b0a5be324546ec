"""Training through the whole of a purifier with an encoder: its guess is trained, attacked, and resumed."""

import pytest
import torch
from torch import nn

from purespike.attacks.bpda import GuessBackward, Guessing, guessing_purifier
from purespike.data import load_data
from purespike.experiment import Run, share_of
from purespike.models import Defended, Purifier
from purespike.training import accelerator, train_purifier
from purespike.training.objectives import Batch, create_objective
from purespike.training.objectives.guesses import Guesses
from training.stops import resumed_purifier
from training.tiny import history, recipe

WHOLE = {"name": "end_to_end", "eps": 0.1, "attack": "n_fgsm", "denoise": 0.0, "ramp": 0.0, "guard": 0}
WHOLE |= {"clean_share": 0.25, "pixel": 0.0, "blur": 0.0}


@pytest.fixture
def classifier():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval().requires_grad_(False)


def purifier_of(**settings):
    torch.manual_seed(0)
    given = {"in_channels": 1, "width": 1 / 8, "time_steps": 2, "output": "reconstruction", "classes": 4}
    purifier = Purifier(**{**given, "network": "encoder_decoder", **settings})
    nn.init.normal_(purifier.denoiser.last.weight, std=0.5)
    return purifier


def batch_of(purifier, classifier, *, labels=(0, 1, 2, 3, 0), seed=7):
    images = torch.rand((5, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    network = Defended(purifier, classifier)
    return Batch(
        purifier,
        images,
        torch.tensor(labels),
        classifier=classifier,
        network=network,
        seed=seed,
        progress=0.5,
    )


def step_of(settings, batch):
    (step,) = create_objective({**WHOLE, **settings}, stage="purifier").steps(batch)
    return step


def test_the_guess_is_asked_for_the_class(classifier):
    purifier = purifier_of()
    batch = batch_of(purifier, classifier)
    # all of it clean, so that what it saw is known
    step = step_of({"clean_share": 0.99, "guess": 0.7}, batch)
    found = purifier.train().guesses(batch.clean)
    expected = nn.functional.cross_entropy(found, batch.labels)
    assert step.terms["guess"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert step.right["guess_accuracy"] == (found.argmax(1) == batch.labels).sum()
    total = step.terms["ce"] + 0.7 * step.terms["guess"]
    assert step.loss.item() == pytest.approx(total.item(), rel=1e-5)


def test_without_weight_or_encoder_there_is_no_guess(classifier):
    assert "guess" not in step_of({"guess": 0.0}, batch_of(purifier_of(), classifier)).terms
    assert "guess" not in step_of({}, batch_of(purifier_of(network="cbdnet"), classifier)).terms


def test_without_labels_the_guess_learns_what_the_classifier_says(classifier):
    found = []
    for labels in ((0, 1, 2, 3, 0), (3, 3, 1, 0, 2)):
        purifier = purifier_of()
        batch = batch_of(purifier, classifier, labels=labels)
        step = step_of({"labels": False, "clean_share": 0.99}, batch)
        said = classifier(batch.clean).argmax(1)
        expected = nn.functional.cross_entropy(purifier.guesses(batch.clean), said)
        assert step.terms["guess"].item() == pytest.approx(expected.item(), rel=1e-5)
        step.loss.backward()
        found.append([p.grad for p in purifier.parameters() if p.grad is not None])
    assert len(found[0]) > 10 and all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def parts_of(purifier):
    """Parameters of the encoder with its guess, and those of the decoder."""
    network = purifier.denoiser
    encoder = [network.stem, network.encoder, network.guess]
    return [
        [p for module in modules for p in module.parameters()]
        for modules in (encoder, [network.hint, network.decoder, network.last])
    ]


def test_the_decoder_is_asked_for_what_the_guess_says(classifier):
    purifier = purifier_of()
    batch = batch_of(purifier, classifier)
    step = step_of({"clean_share": 0.99}, batch)
    said = purifier.train().guesses(batch.clean).argmax(1)
    assert (said != batch.labels).any(), "or the test tells nothing"
    painted = classifier(purifier(batch.clean).images)
    assert step.terms["ce"].item() == pytest.approx(
        nn.functional.cross_entropy(painted, said).item(), rel=1e-5
    )
    asked_for_classes = step_of({"clean_share": 0.99, "painting": "class"}, batch_of(purifier, classifier))
    assert asked_for_classes.terms["ce"].item() == pytest.approx(
        nn.functional.cross_entropy(painted, batch.labels).item(), rel=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "apart"),
    [
        ({"painting": "class", "apart": True}, True),
        ({"painting": "class"}, False),
        ({"apart": False}, False),
        # asked for the guess, the encoder would else make it easy to paint
        ({}, True),
    ],
    ids=str,
)
def test_the_gradient_of_the_paintings_may_stop_at_the_encoder(classifier, settings, apart):
    given = {**settings, "clean_share": 0.99, "pixel": 0.5, "kl": 0.3}
    gradients = []
    for weight in (1e-30, 1.0):
        purifier = purifier_of()
        step_of({**given, "guess": weight}, batch_of(purifier, classifier)).loss.backward()
        gradients.append([[p.grad for p in part] for part in parts_of(purifier)])
    (encoder, decoder), (whole, same) = gradients
    assert all(torch.equal(a, b) for a, b in zip(decoder, same, strict=True)), "the guess leaves it alone"
    reached = max(gradient.abs().max().item() for gradient in encoder)
    assert reached < 1e-20 if apart else reached > 1e-6
    assert max(gradient.abs().max().item() for gradient in whole) > 1e-6
    assert not purifier.denoiser.apart, "only while it trains"


BOTH = {Guessing, GuessBackward}


@pytest.mark.parametrize(
    ("guided", "kinds"),
    [(0.0, {Defended}), (1.0, BOTH), (0.5, {Defended, *BOTH})],
    ids=["none", "all", "half"],
)
def test_a_share_of_the_attacks_goes_by_way_of_the_guess(classifier, monkeypatch, guided, kinds):
    from purespike.training.objectives import end_to_end

    seen = []

    def spied(model, images, loss, *, eps, seed):
        seen.append(type(model))
        return images

    monkeypatch.setattr(end_to_end, "noise_fgsm", spied)
    purifier = purifier_of()
    for seed in range(20):
        step_of({"guided": guided}, batch_of(purifier, classifier, seed=seed))
    assert set(seen) == kinds
    # a purifier without an encoder is attacked through the whole always
    seen.clear()
    step_of({"guided": 1.0}, batch_of(purifier_of(network="cbdnet"), classifier))
    assert seen == [Defended]


@pytest.mark.parametrize(
    ("output", "blur", "deviation"),
    [
        ("reconstruction", 0.2, 0.2),
        ("reconstruction", 0.0, 0.0),
        ("reconstruction", None, 0.3),
        ("gated", None, 0.0),
        ("residual", None, 0.0),
        ("bounded", None, 0.0),
        ("gated", 0.2, 0.2),
    ],
)
def test_the_classifier_is_shown_blurred_paintings(classifier, output, blur, deviation):
    """What is painted anew is blurred unless told otherwise, an image that passes is not."""
    shown = []
    classifier.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0].detach()))
    for given in (blur, 0.0):
        torch.manual_seed(3)
        # statistics of the batch are used, so that a second forward paints the same
        step_of({"blur": given, "clean_share": 0.99}, batch_of(purifier_of(output=output), classifier))
    with_it, without = shown[len(shown) // 2 - 1], shown[-1]
    assert (with_it - without).std().item() == pytest.approx(deviation, rel=0.2)


def test_recording_ends_with_its_block():
    purifier = purifier_of()
    images = torch.rand(2, 1, 8, 8)
    with Guesses(purifier.encoder) as guesses:
        purifier(images)
    assert guesses.value.shape == (2, 4)
    assert not purifier.denoiser.guess._forward_hooks
    with Guesses(None) as guesses:
        pass
    assert guesses.value is None and guessing_purifier(nn.Identity()) is None


def test_a_run_resumes_bit_for_bit(tmp_path, monkeypatch):
    cpu = accelerator(device="cpu")
    own = recipe(
        data={"source": "digits16"},
        classifier={"epochs": 1},
        purifier={
            "network": "encoder_decoder",
            "output": "reconstruction",
            "objective": [{"name": "end_to_end", "eps": 0.1, "attack": "pgd", "blur": 0.3, "guard": 6}],
            "epochs": 2,
            "average": 0.9,
            "optimiser": "sgd",
            "learning_rate": 0.05,
        },
    )
    data = share_of(own, load_data("digits16"))
    classifier = Run(own, tmp_path / "whole", cpu).classifier(data)

    given = {"seed": 3, "accelerator": cpu}
    expected = train_purifier(own.purifier, classifier, data.train, folder=tmp_path / "whole", **given)
    row = history(tmp_path / "whole")[-1]
    assert 0 <= row["guess_accuracy"] <= 1 and row["guess"] > 0
    assert expected.config["network"] == "encoder_decoder" and expected.config["classes"] == 10

    found = resumed_purifier(own.purifier, classifier, data.train, tmp_path / "part", monkeypatch, **given)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
