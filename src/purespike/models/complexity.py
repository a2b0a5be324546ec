"""Cost of one image: parameters, multiplications, spikes, energy (paper, section 4.5)."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from purespike.checks import check_images, check_steps
from purespike.errors import InputError
from purespike.modes import mode
from purespike.neurons import spiking_neurons
from purespike.scalars import plain

MAC_PICOJOULES = 4.6
"""A 32-bit floating-point multiplication (3.7 pJ) and addition in 45 nm (Horowitz, ISSCC 2014)."""
AC_PICOJOULES = 0.9
"""A 32-bit floating-point addition alone, same source."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Size = int | tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class LayerComplexity:
    """One convolution, transposed convolution or linear layer.

    Args:
        name: name of the module.
        kind: ``"convolution"``, ``"transposed convolution"`` or ``"linear"``.
        parameters: weights and biases.
        weights: weights alone, K²·C_{l-1}·C_l of a convolution.
        outputs: number of values computed at one step, M²·C_l of a convolution.
        macs: multiply-accumulates at one step, as usual including padding and excluding biases.
        steps: number of runs for one image: T, or 1 where a model computes it once for all steps.
        macs_per_image: multiply-accumulates of all steps.
    """

    name: str
    kind: str
    parameters: int
    weights: int
    outputs: int
    macs: int
    steps: int
    macs_per_image: int


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Result of :func:`complexity`; ``parameters`` counts all of the model, including norms."""

    parameters: int
    layers: tuple[LayerComplexity, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates at one time step, every layer once."""
        return sum(layer.macs for layer in self.layers)

    @property
    def macs_per_image(self) -> int:
        """Multiply-accumulates of all time steps."""
        return sum(layer.macs_per_image for layer in self.layers)

    @property
    def time(self) -> int:
        r"""Eq. 11, :math:`\sum_l M_l^2 K_l^2 C_{l-1} C_l` over the convolutions, at one time step.

        For a transposed convolution M is the size of its input, where its kernel is placed; the size of its
        output would count each product stride² times.
        """
        return sum(layer.macs for layer in self._convolutions())

    @property
    def space(self) -> int:
        r"""Eq. 12, :math:`\sum_l K_l^2 C_{l-1} C_l + \sum_l M_l^2 C_l` over the convolutions: weights and
        the values of all output maps at one time step."""
        return sum(layer.weights + layer.outputs for layer in self._convolutions())

    def _convolutions(self) -> Iterable[LayerComplexity]:
        return (layer for layer in self.layers if layer.kind != "linear")


@dataclass(frozen=True, kw_only=True)
class LayerEnergy:
    """One layer on some images.

    Args:
        name: name of the module.
        spiking: whether the input consisted of spike counts.
        steps: number of runs for one image.
        macs: multiply-accumulates at one step.
        macs_per_image: multiply-accumulates of all steps.
        spikes: spikes per input value and step, from 0 to the number of thresholds or the sum of several
            layers'; 0 of an analog layer.
        synops: synaptic operations per image, i.e. spikes times fan-out; 0 of an analog layer.
    """

    name: str
    spiking: bool
    steps: int
    macs: int
    macs_per_image: int
    spikes: float
    synops: float

    @property
    def macs_left(self) -> int:
        """Multiply-accumulates per image that spikes do not replace: all or none."""
        return 0 if self.spiking else self.macs_per_image

    @property
    def microjoules(self) -> float:
        """Energy per image of the layer as it is."""
        return (self.synops * AC_PICOJOULES + self.macs_left * MAC_PICOJOULES) / 1e6

    @property
    def ann_microjoules(self) -> float:
        """Energy per image of the layer in a network without spikes, which computes it once."""
        return self.macs * MAC_PICOJOULES / 1e6


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Result of :func:`energy`; all sums are per image."""

    images: int
    layers: tuple[LayerEnergy, ...]

    @property
    def synops(self) -> float:
        return math.fsum(layer.synops for layer in self.layers)

    @property
    def macs_left(self) -> int:
        return sum(layer.macs_left for layer in self.layers)

    @property
    def spiking_share(self) -> float:
        """Share of the multiply-accumulates of all steps that spikes replace, 0 to 1."""
        total = sum(layer.macs_per_image for layer in self.layers)
        return 1 - self.macs_left / total if total else 0.0

    @property
    def microjoules(self) -> float:
        return math.fsum(layer.microjoules for layer in self.layers)

    @property
    def ann_microjoules(self) -> float:
        return math.fsum(layer.ann_microjoules for layer in self.layers)

    def part(self, name: str) -> "Energy":
        """The layers of the submodule ``name`` alone, e.g. the purifier of a ``Defended``."""
        return dataclasses.replace(
            self, layers=tuple(layer for layer in self.layers if f"{layer.name}.".startswith(f"{name}."))
        )


def complexity(model: nn.Module, image_size: Size, channels: int = 3) -> Complexity:
    """Parameters, multiply-accumulates, and eqs. 11 and 12 of the paper, by one forward pass of one image.

    The convolutions, transposed convolutions and linear layers called as modules are counted. Norms, which
    fold into weights, neurons, pooling, and products of two activations, such as a gate's, are not. The
    number of steps follows from the first dimension: one image becomes T rows of a layer with time folded
    into the batch, ``[T·N, ...]``, or before it, ``[T, N, ...]``, as of a layer called T times in a loop. A
    layer that a model shares between depths cannot be distinguished from such a loop.

    Args:
        model: any module, spiking or not; called in evaluation mode, its own mode is restored.
        image_size: H and W of the images, or one number for both.
        channels: C of the images.

    Raises:
        InputError: a size that is not a positive integer, or a model that fails on such an image.

    Example:
        >>> cost = complexity(nn.Conv2d(3, 8, 3, padding=1), 32)
        >>> cost.parameters, cost.macs, cost.space  # 8·(27 + 1), 32²·27·8, 27·8 + 32²·8
        (224, 221184, 8408)
    """
    image_size = plain(image_size)
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    sizes = {"channels": channels, "image_size (height)": height, "image_size (width)": width}
    image = _grey(*(check_steps(size, name=name) for name, size in sizes.items()))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = tuple(meter.layer() for meter in _measure(model, image).values())
    return Complexity(parameters=parameters, layers=layers)


def energy(model: nn.Module, images: Tensor) -> Energy:
    r"""Synaptic operations, multiply-accumulates left, and the usual estimate of energy (Horowitz 2014).

    .. math:: E = 0.9\,\mathrm{pJ} \cdot \mathrm{SynOps} + 4.6\,\mathrm{pJ} \cdot \mathrm{MACs},
        \quad \mathrm{SynOps} = \sum_{l\ \mathrm{spiking}}\ \sum_t \sum_i s_{l,i}[t] \cdot f_{l,i}

    s are the spikes of input i of a layer, f its fan-out: the outputs that its weights lead to, fewer at a
    border. Both are counted, not estimated from a mean rate. A count of k is k accumulates, as k spikes
    would be on hardware with single spikes only.

    A layer is spiking where every value of its input is an integer, both on ``images`` and on a random
    grey image with random integers for the spikes of purespike's neurons: so neither a black-and-white
    image nor a unit that is zero by chance is taken for spikes. Spikes stay integers through max pooling,
    flattening and addition. After average pooling, a mean over time, a gate, or the addition of an analog
    current they are analog, and the layer costs all its multiply-accumulates, also where hardware might
    fold the mean into the weights. Neurons of other libraries are recognised by their integers, too,
    but layers after such neurons that never fire count as analog. The estimate excludes
    operations that :func:`complexity` does not count, updates of membranes, and memory, which costs more
    than arithmetic on most hardware.

    Args:
        model: any module; called twice in evaluation mode, its own mode is restored.
        images: ``[N, C, H, W]`` in [0, 1], N >= 1; firing rates, and so the result, depend on them.

    Raises:
        InputError: images of another shape or range, no images, or images on which the model fails.
    """
    check_images(images)
    if not len(images):
        raise InputError("images: energy is measured on at least one image, got none")
    # random values make no analog map integer by chance, and leave no layer after our neurons without input
    probed = _measure(model, _grey(*images.shape[1:]), force=True)
    return Energy(
        images=len(images),
        layers=tuple(meter.energy(probed.get(name)) for name, meter in _measure(model, images).items()),
    )


@dataclass(kw_only=True)
class _Meter:
    """Activity of one layer on a batch, summed over its runs."""

    name: str
    module: Any
    images: int
    outputs: int = 0
    macs: int = 0
    rows: int = 0
    all_macs: int = 0
    inputs: int = 0
    integers: bool = True
    spikes: int = 0
    synops: int = 0

    def record(self, inputs: Tensor, outputs: Tensor) -> None:
        module, weights = self.module, self.module.weight.numel()
        if isinstance(module, nn.Linear):
            rows = len(inputs) if inputs.ndim > 1 else 1
            macs = inputs.numel() // module.in_features * weights
        else:
            spatial = module.weight.ndim - 2
            rows = math.prod(inputs.shape[: -spatial - 1])
            # the full kernel is applied at each position of the output, of the input if transposed
            placed = inputs if isinstance(module, TRANSPOSED) else outputs
            macs = rows * math.prod(placed.shape[-spatial:]) * weights
        if not rows:
            return
        if not self.rows:
            self.outputs, self.macs = outputs.numel() // rows, macs // rows
        self.rows += rows
        self.all_macs += macs
        self.inputs += inputs.numel()
        # a difference, since infinity equals itself rounded
        self.integers = self.integers and bool((inputs - inputs.round() == 0).all())
        if self.integers:
            self._count(inputs.abs(), outputs)

    def _count(self, spikes: Tensor, outputs: Tensor) -> None:
        module = self.module
        if isinstance(module, nn.Linear):
            total = int(spikes.sum(dtype=torch.int64))
            synops = total * module.out_features
        else:
            spatial = module.weight.ndim - 2
            at = spikes.sum(tuple(range(spikes.ndim - spatial)), dtype=torch.int64).cpu()
            total = int(at.sum())
            synops = int((at * _fan_out(module, at.shape, outputs.shape[-spatial:])).sum())
        self.spikes += total
        self.synops += synops

    def layer(self) -> LayerComplexity:
        kinds = {CONVOLUTIONS: "convolution", TRANSPOSED: "transposed convolution"}
        return LayerComplexity(
            name=self.name,
            kind=next((kind for types, kind in kinds.items() if isinstance(self.module, types)), "linear"),
            parameters=sum(parameter.numel() for parameter in self.module.parameters()),
            weights=self.module.weight.numel(),
            outputs=self.outputs,
            macs=self.macs,
            steps=self.rows // self.images,
            macs_per_image=self.all_macs // self.images,
        )

    def energy(self, probe: "_Meter | None") -> LayerEnergy:
        spiking = probe is not None and self.integers and probe.integers and self.spikes + probe.spikes > 0
        # with one image, images cannot be mistaken for steps
        layer = (probe or self).layer()
        return LayerEnergy(
            name=self.name,
            spiking=spiking,
            steps=layer.steps,
            macs=layer.macs,
            macs_per_image=layer.macs_per_image,
            spikes=self.spikes / max(self.inputs, 1) if spiking else 0.0,
            synops=self.synops / self.images if spiking else 0.0,
        )


@torch.inference_mode()
def _measure(model: nn.Module, images: Tensor, *, force: bool = False) -> dict[str, _Meter]:
    """One forward of ``images``; the layers that ran, in the order of their first run.

    With ``force``, all neurons emit random positive integers.
    """
    generator = torch.Generator().manual_seed(0)
    meters: dict[str, _Meter] = {}
    names: dict[nn.Module, str] = {
        module: name
        for name, module in model.named_modules()
        if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear))
    }

    def hook(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], outputs: Tensor) -> None:
        name = names[module]
        meter = meters.setdefault(name, _Meter(name=name, module=module, images=len(images)))
        meter.record(given[0] if given else named["input"], outputs)

    def emit(_: nn.Module, __: tuple[Any, ...], spikes: Tensor) -> Tensor:
        # several levels also of LIF, or a mean over few neurons would often be an integer
        return torch.empty_like(spikes).copy_(torch.randint(1, 8, spikes.shape, generator=generator))

    hooks = [module.register_forward_hook(hook, with_kwargs=True) for module in names]
    if force:
        hooks += [module.register_forward_hook(emit) for module in spiking_neurons(model)]
    parameter = next((p for p in model.parameters() if p.is_floating_point()), images)
    try:
        with mode(model, training=False):
            model(images.to(parameter.device, parameter.dtype))
    except InputError:
        raise
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(
            f"{type(model).__name__} fails on images of shape {list(images.shape)}: {detail}; "
            "use the image size and channels that it takes"
        ) from error
    finally:
        for handle in hooks:
            handle.remove()
    return meters


def _grey(channels: int, height: int, width: int) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def _fan_out(layer: Any, inputs: torch.Size, outputs: torch.Size) -> Tensor:
    """Number of outputs that each input value reaches: ``[H, W]``, or ``[L]``, or ``[D, H, W]``."""
    fan = torch.tensor(layer.out_channels // layer.groups)
    for axis, (length, result) in enumerate(zip(inputs, outputs, strict=True)):
        fan = fan[..., None] * _taps(layer, axis, length, result)
    return fan


def _taps(layer: Any, axis: int, length: int, result: int) -> Tensor:
    """Number of times a kernel touches each of ``length`` inputs along one axis with ``result`` outputs."""
    kernel, stride, dilation = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
    offsets = torch.arange(kernel) * dilation
    if isinstance(layer, TRANSPOSED):
        reached = torch.arange(length)[:, None] * stride + offsets - layer.padding[axis]
        return ((reached >= 0) & (reached < result)).sum(1)
    total = dilation * (kernel - 1)
    known = {"valid": (0, 0), "same": (total // 2, total - total // 2)}
    before_after = known[layer.padding] if isinstance(layer.padding, str) else (layer.padding[axis],) * 2
    # input that each padded position copies, -1 for none
    source = torch.arange(length, dtype=torch.float64)[None, None]
    if layer.padding_mode == "zeros":
        source = functional.pad(source, before_after, value=-1)
    else:
        source = functional.pad(source, before_after, mode=layer.padding_mode)
    touched = source.flatten().long()[torch.arange(result)[:, None] * stride + offsets]
    return torch.bincount(touched[touched >= 0], minlength=length)
