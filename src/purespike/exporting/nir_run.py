"""NIR graphs run by nirtorch, which reads the file that was written."""

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.exporting.nir_graph import DT
from purespike.reading import brief


class _Neurons(nn.Module):
    """Forward Euler of NIR's LIF or IF; ``state`` is the membrane, and ``None`` before the first step."""

    r: Tensor
    v_threshold: Tensor
    v_reset: Tensor
    tau: Tensor
    v_leak: Tensor

    def __init__(self, node: Any) -> None:
        super().__init__()
        for name in ("r", "v_threshold", "v_reset", "tau", "v_leak"):
            if hasattr(node, name):
                self.register_buffer(name, torch.from_numpy(getattr(node, name)).clone())
        self.leaks = hasattr(node, "tau")

    def forward(self, current: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        v = torch.zeros_like(current) if state is None else state
        if self.leaks:
            v = v + DT / self.tau * ((self.v_leak - v) + self.r * current)
        else:
            v = v + DT * self.r * current
        fired = v > self.v_threshold
        return fired.to(v.dtype), torch.where(fired, self.v_reset, v)


def _convolution(node: Any) -> nn.Module:
    outputs, inputs, *kernel = node.weight.shape
    pairs: dict[str, Any] = {
        name: tuple(map(int, getattr(node, name))) for name in ("stride", "padding", "dilation")
    }
    made = nn.Conv2d(
        inputs * int(node.groups), outputs, (kernel[0], kernel[1]), groups=int(node.groups), **pairs
    )
    made.load_state_dict({name: torch.from_numpy(getattr(node, name)) for name in ("weight", "bias")})
    return made


def _pair(values: Any) -> tuple[int, int]:
    height, width = map(int, values)
    return height, width


def _affine(node: Any) -> nn.Module:
    made = nn.Linear(node.weight.shape[1], node.weight.shape[0])
    made.load_state_dict({name: torch.from_numpy(getattr(node, name)) for name in ("weight", "bias")})
    return made


def run_file(
    nir: ModuleType, nirtorch: ModuleType, path: Path, images: Tensor, time_steps: int
) -> tuple[Tensor, int]:
    """Mean over time of what the graph in a file gives for images shown at every step, and its nodes.

    Args:
        nir: the package ``nir``.
        nirtorch: the package ``nirtorch``.
        path: the file.
        images: ``[N, C, H, W]``, float32, on the CPU.
        time_steps: T.

    Returns:
        ``[N, K]``, and the number of nodes.

    Raises:
        InputError: the file cannot be read or run.
    """
    # nirtorch's own linear layer forgets the bias, and its flatten the batch
    layers = {
        nir.Conv2d: _convolution,
        nir.Affine: _affine,
        nir.LIF: _Neurons,
        nir.IF: _Neurons,
        nir.Flatten: lambda node: nn.Flatten(),
        nir.AvgPool2d: lambda node: nn.AvgPool2d(_pair(node.kernel_size)),
    }
    try:
        graph = nir.read(path)
        network, state, total = nirtorch.nir_to_torch(graph, layers), None, torch.zeros(())
        for _ in range(time_steps):
            output, state = network(images, state)
            total = total + output
    except Exception as error:
        raise InputError(f"nirtorch cannot run the exported graph: {brief(error)}") from error
    return total / time_steps, len(graph.nodes)
