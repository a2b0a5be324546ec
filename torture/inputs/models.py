"""``module:function`` models that misbehave in every way."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from torture.inputs.made import Input, Oracle
from torture.scenes import Desk

HEAD = """
import sys, os, threading
import torch
from torch import nn

def make(forward):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3072, 10)
            self.calls = 0
        def good(self, images):
            return self.layer(images.flatten(1))
    Model.forward = forward
    return Model()
"""
# the body of forward
FORWARDS: dict[str, tuple[Oracle, str]] = {
    "right": ("good", "return self.good(images)"),
    "raises": ("bad", "raise RuntimeError('no weights\\nhere')"),
    "raises nothing": ("bad", "raise Exception"),
    "raises a long text": ("bad", "raise ValueError('x' * 100_000)"),
    "raises ANSI": ("bad", "raise ValueError('\\x1b[31mred')"),
    "recurses": ("bad", "return self(images)"),
    "asserts": ("bad", "assert False"),
    "needs memory": ("bad", "return torch.zeros(10**15)"),
    "memory error": ("bad", "raise MemoryError"),
    "exits": ("bad", "sys.exit(0)"),
    "exits with a text": ("bad", "sys.exit('bye')"),
    "interrupts": ("may pass", "raise ValueError('interrupted')"),
    "returns None": ("bad", "return None"),
    "returns text": ("bad", "return 'cat'"),
    "returns a tuple": ("bad", "return self.good(images), 3"),
    "returns a dict": ("bad", "return {'logits': self.good(images)}"),
    "returns a list": ("bad", "return self.good(images).tolist()"),
    "returns NumPy": ("bad", "return self.good(images).detach().numpy()"),
    "returns one row": ("bad", "return self.good(images)[:1]"),
    "returns [K]": ("bad", "return self.good(images)[0]"),
    "returns [N]": ("bad", "return self.good(images)[:, 0]"),
    "returns [N, 1]": ("bad", "return self.good(images)[:, :1]"),
    "returns [T, N, K]": ("bad", "return self.good(images).expand(4, -1, -1)"),
    "returns images": ("bad", "return images"),
    "returns few classes": ("bad", "return self.good(images)[:, :3]"),
    "returns integers": ("bad", "return self.good(images).argmax(1)"),
    "returns whole numbers": ("bad", "return self.good(images).long()"),
    "returns truth values": ("bad", "return self.good(images) > 0"),
    "returns complex": ("bad", "return self.good(images).to(torch.complex64)"),
    "returns sparse": ("bad", "return self.good(images).to_sparse()"),
    "returns meta": ("bad", "return self.good(images).to('meta')"),
    "returns NaN": ("may pass", "return self.good(images) * torch.nan"),
    "returns infinity": ("may pass", "return self.good(images) / 0"),
    "returns half": ("may pass", "return self.good(images).half()"),
    "returns float64": ("may pass", "return self.good(images).double()"),
    "returns probabilities": ("may pass", "return self.good(images).softmax(1)"),
    "has no gradient": ("may pass", "return self.good(images).detach()"),
    "no gradient mode": ("may pass", "torch.set_grad_enabled(False); return self.good(images)"),
    "is always equal": ("may pass", "return torch.zeros(len(images), 10)"),
    "writes into its input": ("may pass", "images.mul_(0.5); return self.good(images)"),
    "resizes its input": ("may pass", "images.resize_(0); return torch.zeros(4, 10)"),
    "prints": ("may pass", "print('hello'); return self.good(images)"),
    "prints much": ("may pass", "print('x' * 10_000); return self.good(images)"),
    "trains": ("may pass", "self.train(); return self.good(images)"),
    "learns": ("may pass", "self.layer.weight.data.add_(0.1); return self.good(images)"),
    "counts": ("may pass", "self.calls += 1; return self.good(images) + self.calls"),
    "fails at the fourth call": (
        "bad",
        "self.calls += 1\n    if self.calls > 3: 1 / 0\n    return self.good(images)",
    ),
    "NaN at the fourth call": (
        "may pass",
        "self.calls += 1\n    return self.good(images) * (torch.nan if self.calls > 3 else 1)",
    ),
    "seeds": ("may pass", "torch.manual_seed(0); return self.good(images) + torch.randn(1)"),
    "is random": ("may pass", "return self.good(images) + torch.randn(len(images), 10)"),
    "depends on the batch": ("may pass", "return self.good(images) + len(images)"),
    "changes the default type": (
        "may pass",
        "torch.set_default_dtype(torch.float64); return self.good(images)",
    ),
    "changes the folder": ("may pass", "os.chdir('/'); return self.good(images)"),
    "closes standard error": ("may pass", "return self.good(images)"),
    "starts a thread": (
        "may pass",
        "threading.Thread(target=print, daemon=True).start(); return self.good(images)",
    ),
}
# the body of the function
FUNCTIONS: dict[str, str] = {
    "function raises": "raise RuntimeError('no weights here')",
    "function exits": "sys.exit(0)",
    "function exits oddly": "raise SystemExit('bye')",
    "function recurses": "return model()",
    "function returns None": "return None",
    "function returns a number": "return 7",
    "function returns a class": "return nn.Linear",
    "function returns a path": "return '/tmp/model.pth'",
    "function returns weights": "return {'weight': torch.zeros(2)}",
    "function returns an empty list": "return nn.ModuleList()",
    "function is lazy": "return nn.LazyLinear(10)",
}
MODULES: dict[str, str] = {
    "module needs another": "import no_such_module_at_all",
    "module is no Python": "def model(:",
    "module raises": "raise RuntimeError('at import')",
    "module exits": "import sys; sys.exit(0)",
    "module is empty": "",
    "module holds a number": "model = 5",
    "module of NUL": "\x00",
    "module imports itself": "import victim; victim.nothing",
    "function takes arguments": "def model(path): return path",
    "module deletes itself": "import os; os.remove(__file__)",
}
PURIFIERS: dict[str, tuple[Oracle, str]] = {
    "right": ("good", "return images"),
    "raises": ("bad", "raise RuntimeError('no')"),
    "exits": ("bad", "sys.exit(0)"),
    "NaN": ("bad", "return images * torch.nan"),
    "logits": ("bad", "return self.good(images)"),
    "whole numbers": ("bad", "return images.long()"),
    "None": ("bad", "return None"),
    "smaller": ("bad", "return images[..., ::2]"),
    "far": ("may pass", "return images * 100 - 50"),
}
EVALUATE = (
    "evaluate victim:model --data digits --images 4 --attacks fgsm,pgd:steps=2 --threat adaptive --diagnose 2"
)
PURIFIED = (
    "evaluate {run}/classifier.safetensors --purifier victim:model --data digits --images 2 --attacks fgsm"
)
TRANSFER = "transfer --substitute a=victim:model --target b={run} --data digits --images 2 --attacks fgsm"


def generate() -> Iterator[Input]:
    """Every model, before an evaluation; some before other commands."""
    for name, (oracle, body) in FORWARDS.items():
        yield Input(f"forward {name}", oracle, partial(_forward, body, EVALUATE))
    for name in (
        "raises",
        "exits",
        "returns None",
        "returns one row",
        "returns NaN",
        "fails at the fourth call",
    ):
        oracle, body = FORWARDS[name]
        for command in ("info victim:model", TRANSFER):
            # a description may need no forward, and a transfer fewer than four
            may = "may pass" if command[0] == "i" or "fourth" in name else oracle
            yield Input(f"{command.split()[0]}, {name}", may, partial(_forward, body, command))
    for name, text in FUNCTIONS.items():
        yield Input(name, "bad", partial(_module, f"{HEAD}\ndef model():\n    {text}\n"))
    for name, text in MODULES.items():
        yield Input(name, "bad", partial(_module, text))
    for name, (oracle, body) in PURIFIERS.items():
        yield Input(f"purify, {name}", oracle, partial(_purify, body))
        if name not in ("right", "NaN", "far"):
            yield Input(f"purifier, {name}", "bad", partial(_forward, body, PURIFIED))


def _forward(body: str, line: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    text = f"{HEAD}\ndef forward(self, images):\n    {body}\n\ndef model():\n    return make(forward)\n"
    (folder / "victim.py").write_text(text)
    return [*line.replace("{run}", str(desk.run)).split(" "), "--device", "cpu"]


def _module(text: str, folder: Path, _desk: Desk, _draw: Random) -> list[object]:
    (folder / "victim.py").write_text(text)
    return [*EVALUATE.split(" "), "--device", "cpu"]


def _purify(body: str, folder: Path, desk: Desk, draw: Random) -> list[object]:
    from PIL import Image

    Image.new("RGB", (9, 8), (10, 20, 30)).save(folder / "in.png")
    return _forward(body, "purify --model victim:model in.png out.png", folder, desk, draw)
