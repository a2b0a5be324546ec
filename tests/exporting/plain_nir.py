"""NIR graphs run by a plain NumPy loop, written from NIR's definitions alone: the independent judge."""

import graphlib

import nir
import numpy as np


def run(graph, frames):
    """What each node gives at each step for one image's ``frames`` ``[T, C, H, W]``, by name.

    Everything is float64; edges into a node are summed.
    """
    dt = float(graph.metadata["dt"])
    sources = {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
    order = list(graphlib.TopologicalSorter(sources).static_order())
    membranes = dict.fromkeys(graph.nodes, 0.0)
    given = {name: [] for name in graph.nodes}
    for frame in frames:
        for name in order:
            node = graph.nodes[name]
            value = frame if isinstance(node, nir.Input) else sum(given[each][-1] for each in sources[name])
            given[name].append(_step(node, value, membranes, name, dt))
    return {name: np.stack(values) for name, values in given.items()}


def _step(node, value, membranes, name, dt):
    match node:
        case nir.Conv2d():
            return _convolve(value, node)
        case nir.Affine():
            return node.weight.astype(float) @ value + node.bias
        case nir.LIF() | nir.IF():
            r, v = node.r.astype(float), membranes[name]
            slope = (node.v_leak - v + r * value) / node.tau if isinstance(node, nir.LIF) else r * value
            v = v + dt * slope
            fired = v > node.v_threshold
            membranes[name] = np.where(fired, node.v_reset, v)
            return fired.astype(float)
        case nir.AvgPool2d():
            (h, w), (c, *sides) = node.kernel_size, value.shape
            assert not node.padding.any() and tuple(node.stride) == (h, w)
            return value.reshape(c, sides[0] // h, h, sides[1] // w, w).mean((2, 4))
        case nir.Flatten():
            assert (node.start_dim, node.end_dim) == (0, -1)
            return value.reshape(-1)
        case nir.Input() | nir.Output():
            return np.asarray(value, dtype=float)
    raise AssertionError(type(node))


def _convolve(value, node):
    (p, q), (s, t), (d, e) = (tuple(map(int, each)) for each in (node.padding, node.stride, node.dilation))
    assert int(node.groups) == 1 and (d, e) == (1, 1)
    weight = node.weight.astype(float)
    padded = np.pad(value, ((0, 0), (p, p), (q, q)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(1, 2))[:, ::s, ::t]
    return np.einsum("chwij,ocij->ohw", windows, weight) + node.bias[:, None, None]
