"""One layer of neurons, forward and backward, against ReLU on the same tensor."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.measure import Settings, Side, eager_neurons, kept_for_backward, times
from benchmarks.peers import PEERS, adaptive_loop, available, plain_loop
from benchmarks.report import Result, Row, counted, timed
from purespike.neurons import (
    LIF_THRESHOLDS,
    MLF,
    MLF_THRESHOLDS,
    AdaptiveLIF,
    Dynamics,
    MultiLevelFiring,
    Rectangle,
    fire_dynamics,
    multi_level_firing,
)

SHAPE = (4, 16, 64, 32, 32)


def looped(dynamics: Dynamics) -> Callable[[Tensor], Tensor]:
    """Neurons through the loop that any dynamics takes."""
    return lambda current: fire_dynamics(current, dynamics, Rectangle())[0]


def run(settings: Settings) -> Result:
    result = Result(f"A layer of neurons, {list(SHAPE)}, forward and backward")
    generator = torch.Generator().manual_seed(0)
    current = (torch.randn(SHAPE, generator=generator) * 1.5).to(settings.device)
    weights = torch.rand(SHAPE, generator=generator).to(settings.device)

    ours: dict[str, Callable[..., Tensor]] = {
        "MLF K=3": functools.partial(multi_level_firing, thresholds=MLF_THRESHOLDS),
        "LIF K=1": functools.partial(multi_level_firing, thresholds=LIF_THRESHOLDS),
    }
    sides: dict[str, Side] = {"ReLU": _side(torch.relu, current, weights)}
    for name, firing in ours.items():
        sides[name] = _side(firing, current, weights)
    sides["MLF K=3 eager"] = _eager(_side(ours["MLF K=3"], current, weights))
    half, half_weights = current.bfloat16(), weights.bfloat16()
    sides["ReLU bf16"] = _side(torch.relu, half, half_weights)
    sides["MLF K=3 bf16"] = _side(ours["MLF K=3"], half, half_weights)
    last, last_weights = _channels_last(current), _channels_last(weights)
    sides["ReLU channels_last"] = _side(torch.relu, last, last_weights)
    sides["MLF K=3 channels_last"] = _side(ours["MLF K=3"], last, last_weights)
    sides |= _with_norm(last, last_weights)
    adaptive = looped(AdaptiveLIF())
    sides["adaptive LIF"] = _side(adaptive, current, weights)
    sides["adaptive LIF eager"] = _eager(_side(adaptive, current, weights))
    sides["MLF K=3 loop"] = _side(looped(MLF()), current, weights)

    same = {
        "MLF K=3": _difference(ours["MLF K=3"], current, weights),
        "LIF K=1": _difference(ours["LIF K=1"], current, weights, LIF_THRESHOLDS),
        "MLF K=3 bf16": _difference(ours["MLF K=3"], half, half_weights),
        "MLF K=3 channels_last": _difference(ours["MLF K=3"], last, last_weights),
        "norm and MLF": _norm_difference(last, last_weights),
        "adaptive LIF": _difference(adaptive, current, weights, loop=adaptive_loop),
        "MLF K=3 loop": _difference(looped(MLF()), current, weights),
    }
    with eager_neurons():
        same["adaptive LIF eager"] = _difference(adaptive, current, weights, loop=adaptive_loop)
        same["MLF K=3 eager"] = _difference(ours["MLF K=3"], current, weights)
    for name, firing in PEERS.items():
        reason = available(name)
        if reason:
            result.skipped.append(reason)
        else:
            sides[name] = _side(firing, current, weights)
            same[name] = _difference(firing, current, weights)
            one = f"{name} K=1"
            sides[one] = _side(functools.partial(_at_one_threshold, firing), current, weights)
    seconds = times(sides, settings)

    def row(what: str, above: str, below: str = "ReLU", bound: float | None = None, note: str = "") -> Row:
        return timed(what, seconds, above, below, bound=bound, same=same.get(above, ""), note=note)

    result.rows = [
        row("MLF K=3 compiled ÷ ReLU", "MLF K=3", bound=2),
        row("MLF K=3 eager ÷ ReLU", "MLF K=3 eager", bound=25),
        row("LIF K=1 compiled ÷ ReLU", "LIF K=1"),
        row("MLF K=3 bf16 ÷ ReLU bf16", "MLF K=3 bf16", "ReLU bf16"),
        row("MLF K=3 channels_last ÷ ReLU channels_last", "MLF K=3 channels_last", "ReLU channels_last"),
        row("batch norm and MLF K=3 ÷ batch norm and ReLU", "norm and MLF", "norm and ReLU"),
    ]
    result.rows += [
        row("adaptive LIF, any dynamics, compiled ÷ ReLU", "adaptive LIF", bound=3.5),
        row("adaptive LIF, any dynamics, eager ÷ ReLU", "adaptive LIF eager"),
        row("MLF K=3 through the loop of any dynamics ÷ ReLU", "MLF K=3 loop"),
    ]
    for name in PEERS:
        if name in seconds:
            result.rows.append(row(f"MLF K=3 of {name} ÷ ReLU", name))
            result.rows.append(row(f"LIF K=1 of {name} ÷ ReLU", f"{name} K=1"))
    result.rows += _kept(current, ours["MLF K=3"], adaptive)
    return result


def _at_one_threshold(firing: Callable[..., Tensor], current: Tensor) -> Tensor:
    return firing(current, LIF_THRESHOLDS)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, tensor.shape[:2])


def _side(function: Callable[..., Tensor], current: Tensor, weights: Tensor) -> Side:
    leaf = current.clone().requires_grad_()

    def step() -> None:
        torch.autograd.grad(function(leaf), leaf, weights)

    return step


def _eager(side: Side) -> Side:
    def step() -> None:
        with eager_neurons():
            side()

    return step


def _with_norm(current: Tensor, weights: Tensor) -> dict[str, Side]:
    """Training-mode batch norm before the activation: where the two run as one step."""
    folded, outgoing = current.flatten(0, 1), weights.flatten(0, 1)
    norms = [nn.BatchNorm2d(SHAPE[2]).to(current.device) for _ in range(2)]
    neurons = MultiLevelFiring(time_steps=SHAPE[0])

    def step(function: Callable[[Tensor], Tensor], norm: nn.BatchNorm2d) -> Side:
        leaf = folded.clone().requires_grad_()
        assert norm.weight is not None and norm.bias is not None
        return lambda: torch.autograd.grad(function(leaf), (leaf, norm.weight, norm.bias), outgoing)

    return {
        "norm and ReLU": step(lambda x: torch.relu(norms[0](x)), norms[0]),
        "norm and MLF": step(lambda x: neurons(x, norm=norms[1]), norms[1]),
    }


def _difference(
    firing: Callable[..., Tensor],
    current: Tensor,
    weights: Tensor,
    thresholds: tuple[float, ...] = MLF_THRESHOLDS,
    loop: Callable[..., Tensor] | None = None,
) -> str:
    """Spikes and gradients against the plain loop in float64, on two images."""
    current, weights = current[:, :2], weights[:, :2]
    loop = loop or functools.partial(plain_loop, thresholds=thresholds)
    return _compared(_both(firing, current, weights), _both(loop, current.double(), weights.double()))


def _norm_difference(current: Tensor, weights: Tensor) -> str:
    current, weights = current[:, :2], weights[:, :2]
    neurons, norm = MultiLevelFiring(time_steps=SHAPE[0]), nn.BatchNorm2d(SHAPE[2]).to(current.device)
    plain = nn.BatchNorm2d(SHAPE[2]).to(current.device).double()

    def fused(x: Tensor) -> Tensor:
        return neurons(x.flatten(0, 1), norm=norm).unflatten(0, x.shape[:2])

    def loop(x: Tensor) -> Tensor:
        return plain_loop(plain(x.flatten(0, 1)).unflatten(0, x.shape[:2]))

    return _compared(_both(fused, current, weights), _both(loop, current.double(), weights.double()))


def _both(function: Callable[..., Tensor], current: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and gradient."""
    leaf = current.detach().clone().requires_grad_()
    spikes = function(leaf)
    (gradient,) = torch.autograd.grad(spikes, leaf, weights)
    return spikes.detach().double(), gradient.double()


def _compared(ours: tuple[Tensor, Tensor], loop: tuple[Tensor, Tensor]) -> str:
    (spikes, gradient), (true_spikes, true_gradient) = ours, loop
    flipped = (spikes != true_spikes).float().mean().item()
    # a spike on the other side of its threshold changes its gradient at the surrogate's edge
    apart = (gradient - true_gradient).abs().max().item()
    return f"against a float64 loop: {flipped:.1e} of the spikes flipped, gradient within {apart:.1e}"


def _kept(
    current: Tensor, ours: Callable[[Tensor], Tensor], adaptive: Callable[[Tensor], Tensor]
) -> list[Row]:
    rows = []
    bounds = {"purespike, K=3": 1.0, "purespike, adaptive LIF": 1.1}
    everybody: dict[str, Callable[..., Tensor]] = dict(zip(bounds, (ours, adaptive), strict=True))
    everybody |= {f"{n}, K=3": f for n, f in PEERS.items() if not available(n)}
    for name, firing in everybody.items():
        leaf = current.clone().requires_grad_()
        kept = kept_for_backward(lambda firing=firing, leaf=leaf: firing(leaf), iter(()))  # type: ignore[misc]
        total = sum(kept.values())
        rows.append(
            counted(
                f"kept for backward by {name}, in inputs",
                total / (leaf.numel() * leaf.element_size()),
                bound=bounds.get(name),
                same=f"{len(kept)} tensors, {total / 2**20:.0f} MiB",
            )
        )
    return rows
