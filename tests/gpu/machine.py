"""A machine with a GPU that is none, and what purespike does there: run as a process of its own.

python machine.py GUARD.so FOLDER
"""

import contextlib
import ctypes
import sys
from pathlib import Path
from unittest.mock import patch

import torch
from pretended import Making
from torch import nn

SEEN = {
    "_lazy_init": lambda: None,
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "is_bf16_supported": lambda *_, **__: True,
    "synchronize": lambda *_: None,
    "manual_seed": lambda seed: None,
    "manual_seed_all": lambda seed: None,
    "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
    "set_rng_state": lambda *_: None,
    "get_device_name": lambda *_: "a GPU that is none",
    "device": lambda *_: contextlib.nullcontext(),
}


@contextlib.contextmanager
def gpu():
    """PyTorch sees one GPU inside; import there what it is for."""
    with contextlib.ExitStack() as patches:
        for name, value in SEEN.items():
            patches.enter_context(patch.object(torch.cuda, name, value))
        for place, name, value in (
            (torch.cuda.random, "_lazy_call", lambda *_, **__: None),
            (nn.Module, "to", swapping(nn.Module.to)),
            (torch, "tensor", moved(torch.tensor)),
            (torch, "as_tensor", moved(torch.as_tensor)),
            # inference mode knows no views of a wrapped tensor
            (torch.inference_mode, "__enter__", enter),
            (torch.inference_mode, "__exit__", leave),
        ):
            patches.enter_context(patch.object(place, name, value))
        patches.enter_context(Making())
        yield


def swapping(convert):
    """Keep the parameters' identity, which an optimiser goes by, where a module moves to the GPU."""

    def to(module, *args, **kwargs):
        device = kwargs.get("device", args[0] if args else None)
        moves = isinstance(device, str | torch.device) and torch.device(device).type == "cuda"
        torch.__future__.set_swap_module_params_on_conversion(moves)
        try:
            return convert(module, *args, **kwargs)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)

    return to


def moved(make):
    def made(*args, device=None, **kwargs):
        return make(*args, **kwargs) if device is None else make(*args, **kwargs).to(device)

    return made


def enter(mode):
    mode.former = torch.is_grad_enabled()
    torch.set_grad_enabled(mode.former and not mode.mode)


def leave(mode, *_):
    torch.set_grad_enabled(mode.former)


def refuses(action):
    try:
        action()
    except (RuntimeError, TypeError) as error:
        return str(error)
    raise AssertionError("nothing was refused")


def look_at_the_gpu():
    here, there = torch.ones(3), torch.ones(3, device="cuda")
    assert there.is_cuda and there.device.type == "cuda" and not here.is_cuda
    assert "of the CPU among those of the GPU" in refuses(lambda: here + there)
    assert "indices of the GPU" in refuses(lambda: here[there.long()])
    assert "a generator of the CPU" in refuses(lambda: there.uniform_(generator=torch.Generator()))
    assert "use .cpu() first" in refuses(there.numpy)
    assert (here + there.cpu()).tolist() == [2, 2, 2] == (there + here.to(there)).tolist()
    assert (there + torch.tensor(1.0)).is_cuda and there[torch.tensor([0])].is_cuda
    there.requires_grad_().square().sum().backward()
    assert there.grad.is_cuda and there.grad.tolist() == [2, 2, 2]
    print("refuses what a GPU refuses")


def train(folder):
    from purespike.experiment import Run
    from purespike.recipe import parse_recipe
    from purespike.training.engine import accelerator

    pgd = {"name": "pgd", "eps": "16/255", "steps": 2, "random_start": True}
    whole = {"name": "end_to_end", "eps": "16/255", "attack": "pgd", "guard": 8, "blur": 0.3, "denoise": 0.0}
    small = {"width": 0.0625, "time_steps": 2, "epochs": 1, "batch_size": 16}
    recipe = {
        "data": {"source": "digits16", "train_limit": 40, "test_limit": 20},
        "classifier": {**small, "architecture": "resnet14_snn", "objective": pgd, "average": 0.9},
        "purifier": {
            **small,
            "network": "encoder_decoder",
            "output": "reconstruction",
            "objective": whole,
            "clip": 1,
        },
        "evaluation": {"attacks": ["fgsm"], "curve": None, "curve_eps": [], "images": 4, "diagnose": 0},
    }
    run = Run(parse_recipe(recipe), folder, accelerator(device="cuda"))
    run(())
    print("trains")


def evaluate():
    import purespike as ps
    from purespike.data import load_data
    from purespike.training.engine import accelerator

    model, images = ps.zoo.load("digits16-holding"), load_data("digits16").test
    settings = {
        "attacks": ["fgsm", "pgd:steps=2", "apgd_ce:steps=1", "square:queries=3"],
        "eps": "16/255",
        "threats": ["undefended", "adaptive", "query"],
        "surrogates": ["rectangle(width=1)"],
        "losses": ["ce"],
        "images": 3,
        "diagnose": 1,
        "max_cost": 1500,
    }
    found = ps.evaluate(model, images, settings, accelerator=accelerator(device="cuda"))
    assert {cell.threat for cell in found.cells} >= {"undefended", "adaptive", "query"}
    assert found.cells[0].score.n == 3 and found.verdict is not None
    smoothed = ps.certify(model, images, sigma=0.25, n=100, n0=10, alpha=0.05, images=1)
    assert smoothed is not None
    print("evaluates")


if __name__ == "__main__":
    ctypes.CDLL(sys.argv[1])
    with gpu():
        look_at_the_gpu()
        train(Path(sys.argv[2]))
        evaluate()
