"""A NIR graph while it is built: nodes, edges, and signals between layers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from purespike.neurons import MultiLevelFiring

DT = 1e-4
"""Seconds of a time step: the step of SpikingJelly and snnTorch when they read NIR."""


@dataclass(frozen=True)
class Signal:
    """Values between two layers: the sum of what some nodes give, as NIR sums all edges into a node.

    Args:
        nodes: names of the nodes.
        shape: ``(C, H, W)`` or ``(F,)``.
    """

    nodes: tuple[str, ...]
    shape: tuple[int, ...]

    def __add__(self, other: "Signal") -> "Signal":
        assert self.shape == other.shape
        return Signal((*self.nodes, *other.nodes), self.shape)


class Graph:
    """Nodes and edges of a NIR graph.

    Args:
        nir: the package ``nir``.
        shape: shape of an image.
    """

    def __init__(self, nir: ModuleType, shape: Sequence[int]) -> None:
        self.nir = nir
        self.nodes: dict[str, Any] = {"input": nir.Input(input_type=np.array(shape))}
        self.edges: list[tuple[str, str]] = []

    @property
    def start(self) -> Signal:
        """The images."""
        return Signal(("input",), tuple(map(int, self.nodes["input"].input_type["input"])))

    def add(self, name: str, node: Any, signal: Signal, shape: Sequence[int]) -> Signal:
        """Append a node that takes ``signal`` and gives values of ``shape``; its name has no dots."""
        name = name.replace(".", "_")
        while name in self.nodes:
            name += "_"
        self.nodes[name] = node
        self.edges += [(source, name) for source in signal.nodes]
        return Signal((name,), tuple(shape))

    def convolve(
        self,
        name: str,
        signal: Signal,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (0, 0),
        dilation: Sequence[int] = (1, 1),
    ) -> Signal:
        """A convolution with weights ``[C', C, h, w]``, kept in float64 until :meth:`finish`."""
        outputs, _, *kernel = weight.shape
        settings = zip(signal.shape[1:], kernel, stride, padding, dilation, strict=True)
        sides = [math.floor((n + 2 * p - d * (k - 1) - 1) / s + 1) for n, k, s, p, d in settings]
        node = self.nir.Conv2d(
            input_shape=signal.shape[1:],
            weight=_array(weight),
            stride=tuple(stride),
            padding=tuple(padding),
            dilation=tuple(dilation),
            groups=1,
            bias=np.zeros(outputs) if bias is None else _array(bias),
        )
        return self.add(name, node, signal, (outputs, *sides))

    def affine(self, name: str, signal: Signal, weight: Tensor, bias: Tensor | None) -> Signal:
        """A linear layer with weights ``[F', F]``, kept in float64 until :meth:`finish`."""
        outputs = weight.shape[0]
        offset = np.zeros(outputs) if bias is None else _array(bias)
        node = self.nir.Affine(weight=_array(weight), bias=offset)
        return self.add(name, node, signal, (outputs,))

    def scale(self, name: str, signal: Signal, scale: Tensor, shift: Tensor) -> Signal:
        """``scale · signal + shift`` per channel.

        Folded into the convolution or linear layer that gives the signal. Of a sum of several, or of spikes,
        it is a 1×1 convolution with diagonal weights: NIR's type check refuses convolutions in groups.
        """
        factor, offset = scale.detach().double().cpu(), shift.detach().double().cpu()
        (first, *others), nir = signal.nodes, self.nir
        node = self.nodes[first]
        if others or type(node) not in (nir.Conv2d, nir.Affine):
            return self.convolve(name, signal, torch.diag(factor)[:, :, None, None], offset)
        wide = factor.view(-1, *[1] * (node.weight.ndim - 1)).numpy()
        changed = {"weight": node.weight * wide, "bias": node.bias * factor.numpy() + offset.numpy()}
        parts = {key: value for key, value in vars(node).items() if not key.endswith("_type")}
        sources = tuple(source for source, target in self.edges if target == first)
        # a copy: what else takes the signal takes it as it was; without such a one, finish drops the original
        return self.add(first, type(node)(**{**parts, **changed}), Signal(sources, ()), signal.shape)

    def fire(self, name: str, signal: Signal, neurons: MultiLevelFiring) -> Signal:
        r"""Multi-level firing: a node of leaky integrate-and-fire neurons for each threshold, side by side.

        Forward Euler of :math:`\tau \dot v = (v_{leak} - v) + R I` with steps of :data:`DT` is
        :math:`v \leftarrow d\,v + (1 - d) R I` with :math:`d = 1 - dt/\tau`; hence R = 1/(1 - d). NIR fires
        above its threshold, we at it: its threshold is the largest float32 below ours.
        """
        found = Signal((), signal.shape)
        for level, threshold in enumerate(neurons.thresholds):
            below = np.nextafter(np.float32(threshold), np.float32(-np.inf))
            zero, common = self._full(signal, 0.0), {"v_threshold": self._full(signal, below)}
            common["v_reset"] = zero
            if neurons.decay == 1:
                node = self.nir.IF(r=self._full(signal, 1 / DT), **common)
            else:
                tau, r = DT / (1 - neurons.decay), 1 / (1 - neurons.decay)
                node = self.nir.LIF(
                    tau=self._full(signal, tau), r=self._full(signal, r), v_leak=zero, **common
                )
            levels = f"{name}_level{level}" if neurons.levels > 1 else name
            found += self.add(levels, node, signal, signal.shape)
        return found

    def pool(self, name: str, signal: Signal, sides: Sequence[int]) -> Signal:
        """Average pooling with windows of these sides, which divide the map."""
        window = np.array(sides)
        node = self.nir.AvgPool2d(kernel_size=window, stride=window, padding=np.array([0, 0]))
        shape = (signal.shape[0], *(n // side for n, side in zip(signal.shape[1:], sides, strict=True)))
        return self.add(name, node, signal, shape)

    def flatten(self, name: str, signal: Signal) -> Signal:
        """All values of an image in one dimension."""
        node = self.nir.Flatten(input_type=np.array(signal.shape), start_dim=0, end_dim=-1)
        return self.add(name, node, signal, (math.prod(signal.shape),))

    def finish(self, signal: Signal, metadata: Mapping[str, Any]) -> Any:
        """The graph that gives ``signal``, in float32, without nodes that nothing takes."""
        self.add("output", self.nir.Output(output_type=np.array(signal.shape)), signal, signal.shape)
        while unused := self.nodes.keys() - {"output"} - {source for source, _ in self.edges}:
            self.edges = [edge for edge in self.edges if edge[1] not in unused]
            self.nodes = {name: node for name, node in self.nodes.items() if name not in unused}
        for node in self.nodes.values():
            if type(node) in (self.nir.Conv2d, self.nir.Affine):
                node.weight, node.bias = node.weight.astype(np.float32), node.bias.astype(np.float32)
        return self.nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=dict(metadata))

    def _full(self, signal: Signal, value: float) -> np.ndarray:
        return np.full(signal.shape, value, dtype=np.float32)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
