"""A folder in which the commands of the documentation run: what a reader would have by then, as small as "
"can be."""

import shutil
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from training.tiny import recipe

import purespike as ps
from purespike.experiment import Run
from purespike.training import accelerator

from .pages import ROOT

SMALL = {"width": 0.03, "time_steps": 1, "epochs": 1, "batch_size": 20, "crop_padding": 1, "flip": False}
FOLDERS = ("other", "demo/paper", "demo/holding", "digits16-holding", "digits-smoothed")
MODULE = """
import torch
from torch import nn

from purespike.attacks import attack, create_attack


def my_classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 12), nn.ReLU(), nn.Linear(12, 10))


my_model = my_classifier


@attack(title="My attack")
def my_attack(**settings):
    return create_attack("fgsm", **settings)
"""


def make(folder: Path) -> None:
    """Fill ``folder``, the current one, with images, models, a finished run and a module."""
    digits = ps.data.load_data("digits16")
    (folder / "arrays").mkdir()
    for name, part, count in (("train", digits.train, 60), ("test", digits.test, 20)):
        few = part.take(count, seed=0)
        x = few.images.permute(0, 2, 3, 1).squeeze(-1).numpy()
        np.savez(folder / "arrays" / f"mine-{name}.npz", x=x, y=few.labels.numpy())
    (folder / "mymodule.py").write_text(MODULE)
    values = recipe(
        seed=0,
        data={"source": "npz:arrays/mine", "train_limit": None, "test_limit": None},
        classifier=SMALL,
        purifier=SMALL | {"width": 0.05, "epochs": 2},
        evaluation={"attacks": [{"name": "fgsm"}], "eps": ["8/255"], "images": 4, "surrogates": None},
    )
    mine = folder / "runs" / "mine"
    Run(values, mine, accelerator(device="cpu"))()
    for name in FOLDERS:
        shutil.copytree(mine, folder / "runs" / name)
    for name in ("model", "other", "a", "b"):
        shutil.copy(mine / "classifier.safetensors", folder / f"{name}.safetensors")
    (folder / "photos").mkdir()
    Image.fromarray(digits.test.images[0, 0].numpy()).save(folder / "photos" / "one.png")
    shutil.copy(ROOT / "tests" / "review" / "published.csv", folder / "table.csv")
    (folder / "CIFAR-10-C").mkdir()
    np.save(folder / "CIFAR-10-C" / "labels.npy", np.tile(few.labels.numpy(), 5))
    for name in ("fog", "contrast"):
        np.save(
            folder / "CIFAR-10-C" / f"{name}.npy",
            np.tile(few.images.permute(0, 2, 3, 1).numpy(), (5, 1, 1, 1)),
        )
    for name in ("recipes", "results"):
        (folder / name).symlink_to(ROOT / name)


def save_weights(module: str, file: str) -> None:
    """Weights of the network in a module of the page, as the reader's training would have left them."""
    import importlib

    torch.manual_seed(0)
    torch.save(importlib.import_module(module).network().state_dict(), file)


def small_recipe(path: str) -> None:
    """Shrink a recipe that a page holds, in place."""
    values = yaml.safe_load(Path(path).read_text())
    for stage in ("classifier", "purifier"):
        values[stage] |= {key: SMALL[key] for key in ("time_steps", "epochs", "batch_size", "crop_padding")}
        values[stage]["width"] = {"classifier": 0.03, "purifier": 0.05}[stage]
    Path(path).write_text(yaml.safe_dump(values))
