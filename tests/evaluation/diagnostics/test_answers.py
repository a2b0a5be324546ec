"""Ties and numbers that are none are counted, and the verdict says how many."""

import torch
from torch import nn

import purespike


class Counts(nn.Module):
    """Spikes of four neurons in two steps: a quarter of the image each."""

    def forward(self, images):
        exact = torch.stack([part.mean((1, 2, 3)) for part in images.chunk(4, 2)], 1) * 4
        return exact + (exact.round() - exact).detach()


def findings(model, images, labels):
    found = purespike.evaluate(
        model,
        (images, labels),
        attacks=["pgd:steps=2"],
        threat="adaptive",
        eps="1/255",
        diagnose=4,
        max_cost=1,
    )
    return found, {finding.name: finding for finding in found.diagnostics}


def images_of(brightness):
    """One image per row of four brightnesses, a quarter each."""
    rows = torch.tensor(brightness)
    return rows.repeat_interleave(2, 1).view(len(rows), 1, 8, 1).expand(-1, -1, -1, 8).clone()


def test_a_model_that_always_ties_is_never_right():
    labels = torch.tensor([0, 1] * 6)
    images = images_of([[0.6, 0.6, 0.1, 0.1 + 0.01 * number] for number in range(12)])
    assert (Counts()(images).argmax(1) == 0).all()
    found, by_name = findings(Counts(), images, labels)
    assert sum(found.clean_outcomes.defended) == 0 and sum(found.clean_outcomes.tied) == 12
    assert by_name["ties"].level == "suspicious"
    assert "12 of 12 clean images tie" in by_name["ties"].message
    assert (
        "0.0% with ties counted as wrong" in by_name["ties"].message
        and "100.0% as right" in by_name["ties"].message
    )
    assert found.verdict.level == "unreliable"


def test_a_few_ties_are_told_apart():
    labels = torch.tensor([0, 1] * 6)
    clear = [[0.9, 0.1, 0.1, 0.2], [0.1, 0.9, 0.1, 0.2]] * 6
    images = images_of([[0.6, 0.6, 0.1, 0.1], *clear[1:]]) + 1e-3 * torch.arange(12).view(12, 1, 1, 1) / 12
    found, by_name = findings(Counts(), images, labels)
    assert sum(found.clean_outcomes.defended) == 11 and found.clean_outcomes.tied == (1, *[0] * 11)
    assert by_name["ties"].level == "reliable", "one image may be chance"


def test_no_ties_are_not_recorded():
    images = torch.rand(12, 1, 8, 8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    found, by_name = findings(model, images, model(images).argmax(1))
    assert "ties" not in by_name and "tied" not in found.content["clean_outcomes"]


class Spoilt(nn.Module):
    """Nothing but NaN where the first pixel is bright."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return torch.where(images[:, :1, 0, 0] > 0.5, torch.nan, self.model(images))


def test_logits_that_are_not_numbers_are_wrong_and_named():
    torch.manual_seed(0)
    images = torch.rand(12, 1, 8, 8)
    images[:5, 0, 0, 0], images[5:, 0, 0, 0] = 0.9, 0.1
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    labels = plain(images).argmax(1)
    found, by_name = findings(Spoilt(plain), images, labels)
    assert found.clean_outcomes.not_finite == (1,) * 5 + (0,) * 7
    assert sum(found.clean_outcomes.defended) == 7
    assert by_name["finite logits"].level == "unreliable" and "5 of 12" in by_name["finite logits"].message
