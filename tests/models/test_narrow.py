"""Networks of few channels train: oneDNN corrupts the heap in the backward of some of their convolutions."""

import subprocess
import sys

import pytest

from purespike.models import list_models

TRAIN = """
import sys
import torch
from purespike.models.registry import create

torch.manual_seed(0)
torch.set_num_threads(2)
images = torch.rand(6, 3, 32, 32)
for width in (1 / 32, 1 / 16, 1 / 8, 1 / 4):
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model = create(sys.argv[1], num_classes=4, in_channels=3, width=width, time_steps=2)
        model.to(memory_format=memory_format).train()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            loss = torch.nn.functional.cross_entropy(
                model(images.contiguous(memory_format=memory_format)), torch.tensor([0, 1, 2, 3, 0, 1])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert torch.isfinite(loss)
print("trained")
"""


@pytest.mark.parametrize("architecture", list_models())
def test_every_architecture_trains_at_every_width_and_memory_format(architecture):
    # a process of its own: what goes wrong there ends it by a signal
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, architecture], capture_output=True, text=True, timeout=250
    )
    assert (done.returncode, done.stdout.strip()) == (0, "trained"), done.stderr[-2000:]
