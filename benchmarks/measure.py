"""Interleaved timing, the memory that autograd keeps, and the share of convolutions."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

Side = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    """What a run of the benchmarks depends on.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        threads: CPU threads.
        batch: images per step of the full-size networks.
        repeats: rounds.
    """

    device: str
    threads: int
    batch: int
    repeats: int


def times(sides: Mapping[str, Side], settings: Settings, *, warm: int = 2) -> dict[str, list[float]]:
    """Seconds of every side in every round; each round takes the sides in another order."""
    for side in sides.values():
        # the first call compiles, the second finds its memory
        for _ in range(warm):
            side()
    found: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(settings.repeats):
        order = order[1:] + order[:1]
        for name in order:
            with _watch(settings) as seconds:
                sides[name]()
            found[name].append(seconds[0])
    return found


@contextlib.contextmanager
def _watch(settings: Settings) -> Iterator[list[float]]:
    seconds: list[float] = []
    # one thread: its own time, which nothing else on the machine can lengthen
    clock = time.process_time if settings.device == "cpu" and settings.threads == 1 else time.perf_counter
    _wait(settings)
    begun = clock()
    yield seconds
    _wait(settings)
    seconds.append(clock() - begun)


def _wait(settings: Settings) -> None:
    if settings.device == "cuda":
        torch.cuda.synchronize()


def quartiles(above: list[float], below: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the ratio, round by round."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    if len(ratios) < 2:
        return ratios[0], ratios[0], ratios[0]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, middle, high


def kept_for_backward(forward: Side, parameters: Iterator[nn.Parameter]) -> dict[int, int]:
    """Bytes of every storage that autograd keeps between forward and backward, without the parameters."""
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    for parameter in parameters:
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    del result
    return kept


def shares(side: Side, settings: Settings) -> dict[str, float]:
    """Where the time of ``side`` goes: convolutions, neurons and norms, parameter updates, the rest."""
    side()
    cuda = settings.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as trace:
        side()
    sums = {"convolutions": 0.0, "neurons and batch norm": 0.0, "the rest": 0.0}
    for event in trace.key_averages():
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        name = event.key.lower()
        if "conv" in name or "gemm" in name or "cudnn" in name or "xmma" in name:
            sums["convolutions"] += spent
        elif any(
            word in name for word in ("compiledfxgraph", "_fire", "fire", "batch_norm", "triton", "bn_")
        ):
            sums["neurons and batch norm"] += spent
        else:
            sums["the rest"] += spent
    whole = sum(sums.values())
    return {name: value / whole for name, value in sums.items()}


@contextlib.contextmanager
def eager_neurons() -> Iterator[None]:
    """Neurons without their compiled tier."""
    former = os.environ.get("PURESPIKE_COMPILE")
    os.environ["PURESPIKE_COMPILE"] = "0"
    try:
        yield
    finally:
        if former is None:
            del os.environ["PURESPIKE_COMPILE"]
        else:
            os.environ["PURESPIKE_COMPILE"] = former
