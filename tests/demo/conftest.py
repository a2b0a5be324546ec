"""Two purifiers before one tiny classifier, and a session at work on them."""

import pytest
import torch

import purespike as ps
from purespike.demo import Lineup, Session, line_up
from purespike.demo.lineup import BARE

PAPER, HOLDING = "paper", "holding"
TITLES = (BARE, PAPER, HOLDING)


def tiny_classifier(seed=0):
    torch.manual_seed(seed)
    return ps.models.create("resnet14_snn", width=0.02, time_steps=2, in_channels=1).eval()


def tiny_purifier(seed=0, time_steps=1):
    torch.manual_seed(seed)
    purifier = ps.models.Purifier(width=0.05, time_steps=time_steps, in_channels=1).eval()
    # one that changes images: a new one leaves them as they are
    with torch.no_grad():
        for value in purifier.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return purifier


@pytest.fixture(scope="session")
def lineup() -> Lineup:
    classifier = tiny_classifier()
    models = {
        name: ps.Defended(tiny_purifier(k), classifier).eval() for k, name in enumerate((PAPER, HOLDING), 1)
    }
    (made,) = line_up(models, sources={key: ["digits16"] for key in models})
    return made


@pytest.fixture(scope="session")
def session(lineup) -> Session:
    return Session(lineup)


@pytest.fixture
def image(lineup):
    return lineup.examples.to_float()[0]
