"""A training that several processes share, each of which writes down its own weights; run by a launcher."""

import sys
from pathlib import Path

import torch

from purespike.data import load_data
from purespike.experiment import share_of
from purespike.training import accelerator, train_classifier
from training import parts  # noqa: F401  registers dropout_snn and the random parts
from training.tiny import recipe

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cpu = accelerator(device="cpu")
    tiny = recipe(
        classifier={
            "epochs": 2,
            "objective": ["trades", {"name": "input_gradient", "weight": 1e-3}, "random_logits", "jitter"],
            "architecture": "dropout_snn",
        }
    )
    data = share_of(tiny, load_data("digits"))
    model = train_classifier(tiny.classifier, data, folder=folder, seed=3, accelerator=cpu)
    torch.save(dict(model.named_parameters()), folder / f"process{cpu.process_index}.pt")
    cpu.wait_for_everyone()
