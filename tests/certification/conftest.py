"""A model that every file of this folder certifies."""

import pytest

from certification.scenes import Linear


@pytest.fixture
def linear():
    return Linear(64)
