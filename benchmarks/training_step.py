"""A training step of SENet18-SNN against the same network with ReLUs on as many images as there are steps."""

import statistics

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import Settings, Side, eager_neurons, kept_for_backward, shares, times
from benchmarks.networks import ReluNetwork, batch, multiplications, senet, training_step, with_neurons
from benchmarks.peers import Firing, available, plain_loop, spikingjelly
from benchmarks.report import Result, Row, counted, timed

TIME_STEPS = 4


def run(settings: Settings) -> Result:
    device, count = settings.device, settings.batch
    result = Result(f"A training step of SENet18-SNN, K=3, T={TIME_STEPS}, {count} images of 32×32")
    images, labels = batch(count, device)
    many, many_labels = batch(count * TIME_STEPS, device)
    spiking = senet(device)
    relu = ReluNetwork(spiking)
    sides: dict[str, Side] = {
        "ANN": training_step(relu, many, many_labels),
        "SNN": training_step(spiking, images, labels),
        "SNN bf16": training_step(senet(device), images, labels, "bf16"),
        "ANN bf16": training_step(ReluNetwork(senet(device)), many, many_labels, "bf16"),
    }
    eager_step = training_step(senet(device), images, labels)

    def eager() -> None:
        with eager_neurons():
            eager_step()

    sides["SNN eager"] = eager
    reason = available("SpikingJelly")
    peer = None
    if reason:
        result.skipped.append(reason)
    else:
        peer = with_neurons(senet(device), spikingjelly)
        sides["SpikingJelly"] = training_step(peer, images, labels)
        sides["SpikingJelly bf16"] = training_step(
            with_neurons(senet(device), spikingjelly), images, labels, "bf16"
        )

    work = multiplications(spiking, images[:1]), multiplications(relu, many[:TIME_STEPS])
    same_work = (
        f"multiplications {work[0] / 1e6:.0f} and {work[1] / 1e6:.0f} million an image (the stem is run once)"
    )
    agreement = _difference(device)
    with eager_neurons():
        eager_agreement = _difference(device)
    rough = _half(device)
    seconds = times(sides, settings)
    result.rows = [
        timed("SNN ÷ ANN, fp32", seconds, "SNN", "ANN", bound=1.1, same=f"{agreement}; {same_work}"),
        timed("SNN bf16 ÷ ANN fp32", seconds, "SNN bf16", "ANN", bound=0.6, same=rough),
        timed("SNN bf16 ÷ ANN bf16", seconds, "SNN bf16", "ANN bf16", same=rough),
        timed("SNN with eager neurons ÷ ANN, fp32", seconds, "SNN eager", "ANN", same=eager_agreement),
    ]
    if peer is not None:
        result.rows += [
            timed(
                "SpikingJelly's neurons ÷ ANN, fp32",
                seconds,
                "SpikingJelly",
                "ANN",
                same=_difference(device, spikingjelly),
            ),
            timed("SpikingJelly's neurons bf16 ÷ ANN fp32", seconds, "SpikingJelly bf16", "ANN"),
        ]
    result.rows.append(_memory("SNN", spiking, images, relu, many, bound=1.2))
    if peer is not None:
        result.rows.append(_memory("SpikingJelly's neurons", peer, images, relu, many))
    result.extra["seconds per epoch of 50,000 images, without augmentation"] = {
        name: statistics.median(seconds[name]) / count * 50_000 for name in ("SNN", "SNN bf16")
    }
    result.extra["profile"] = {name: shares(sides[name], settings) for name in ("SNN", "SNN bf16")}
    result.rows += [
        counted(f"convolutions ÷ the whole step, {name}", part["convolutions"])
        for name, part in result.extra["profile"].items()
    ]
    return result


def _memory(
    name: str, model: nn.Module, images: Tensor, relu: nn.Module, many: Tensor, bound: float | None = None
) -> Row:
    def kept(network: nn.Module, batch: Tensor) -> int:
        network.train()
        return sum(kept_for_backward(lambda: network(batch), network.parameters()).values())

    ours, theirs = kept(model, images), kept(relu, many)
    return counted(
        f"memory kept for backward, {name} ÷ ANN",
        ours / theirs,
        bound=bound,
        same=f"{ours / 2**20:.0f} and {theirs / 2**20:.0f} MiB",
    )


def _half(device: str) -> str:
    """A spike that half precision flips changes later ones: the two agree only so far."""
    images, labels = batch(4, device)
    losses = []
    for half in (True, False):
        model = senet(device).train()
        with torch.autocast(device, torch.bfloat16, enabled=half), torch.no_grad():
            losses.append(functional.cross_entropy(model(images).float(), labels).item())
    return f"loss {losses[0]:.3f} in bf16, {losses[1]:.3f} in fp32"


def _difference(device: str, firing: Firing | None = None) -> str:
    """Loss and gradient against the same network with the plain loop, in float64, where no spike flips."""
    model = senet(device).double()
    ours = model if firing is None else with_neurons(model, firing)
    plain = with_neurons(model, plain_loop)
    images, labels = batch(2, device)
    found = []
    for network in (ours, plain):
        loss = functional.cross_entropy(network.train()(images.double()), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        found.append((loss.item(), torch.cat([gradient.flatten() for gradient in gradients])))
    (own_loss, gradient), (plain_loss, plain_gradient) = found
    apart = ((gradient - plain_gradient).norm() / plain_gradient.norm()).item()
    return f"against a float64 loop: loss within {abs(own_loss - plain_loss):.1e}, gradient {apart:.1e}"
