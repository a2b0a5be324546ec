"""A training that several processes share, each of which writes down its own weights; run by a launcher."""

import sys
from pathlib import Path

import torch

from purespike.data import load_data
from purespike.experiment import share_of
from purespike.training import accelerator, train_classifier, train_purifier
from training import parts  # noqa: F401  registers dropout_snn and the random parts
from training.test_homeostasis import small
from training.tiny import recipe


def through_the_whole(folder, cpu):
    """A purifier in front of a linear classifier, by the clock, with an average and a guard."""
    torch.manual_seed(0)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 10))
    tiny = recipe(
        data={"source": "digits16"},
        purifier={
            "objective": [{"name": "end_to_end", "guard": 6}],
            "output": "reconstruction",
            "minutes": 0.1,
            "schedule": "one_cycle",
            "average": 0.9,
            "clip": 1.0,
        },
    )
    data = share_of(tiny, load_data("digits16"))
    return train_purifier(tiny.purifier, linear, data.train, folder=folder, seed=3, accelerator=cpu)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cpu = accelerator(device="cpu")
    if sys.argv[2:] == ["purifier"]:
        model = through_the_whole(folder, cpu)
        torch.save(dict(model.named_parameters()), folder / f"process{cpu.process_index}.pt")
        cpu.wait_for_everyone()
        sys.exit()
    single = {
        "dynamics": "talif",
        "gates": "neuron",
        "average": 0.9,
        "objective": ["fgsm", "homeostasis", {"name": "gate_prior", "weight": 1.0}],
    }
    if sys.argv[2:] == ["single"]:
        tiny = recipe(classifier=single)
        data = small()
        model = train_classifier(tiny.classifier, data, folder=folder, seed=3, accelerator=cpu)
        torch.save(model.state_dict(), folder / f"process{cpu.process_index}.pt")
        cpu.wait_for_everyone()
        sys.exit()
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
