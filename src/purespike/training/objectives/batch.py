"""A batch on its way to a gradient: the images, one forward of the network, and the loss that comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from purespike.errors import InputError, kind_of
from purespike.training.objectives.layers import Layer, recording

if TYPE_CHECKING:
    from purespike.training.objectives.registry import Penalty

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Logits ``[N, K]`` and labels ``[N]`` to a scalar: cross-entropy, or with smoothed labels."""


@dataclass(frozen=True, eq=False)
class Step:
    """One optimiser step.

    Args:
        loss: scalar to minimise.
        right: number of images classified correctly in training mode, by name (``"accuracy"`` for clean
            images, ``"adversarial_accuracy"``).
        terms: parts of the loss by name, for the history.
        passes: forward and backward passes of one image through the network, crafting included.
    """

    loss: Tensor
    right: dict[str, Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)
    passes: int = 1


@dataclass(frozen=True, eq=False)
class View:
    """Images as the network saw them in the forward of a step; a penalty is a function of one.

    Args:
        batch: the batch they belong to.
        images: ``[N, C, H, W]``.
        outputs: outputs of the network being trained: logits ``[N, K]``, or a purifier's ``Purified``.
        layers: input currents and spikes of every layer of neurons, where they were asked for.
        further: the further images that the penalty asked for, as the same forward saw them.
    """

    batch: "Batch"
    images: Tensor
    outputs: Any
    layers: Sequence[Layer] = ()
    further: "View | None" = None

    @property
    def labels(self) -> Tensor:
        """True classes, ``[N]``."""
        return self.batch.labels

    @property
    def logits(self) -> Tensor:
        """Logits ``[N, K]``; where a purifier is trained, those of the frozen classifier for its images."""
        classifier = self.batch.classifier
        return self.outputs if classifier is None else classifier(self.outputs.images)


class _Added(NamedTuple):
    """What the penalties add to a step."""

    loss: Tensor | None
    terms: dict[str, Tensor]
    passes: int


@dataclass(eq=False)
class Batch:
    """One batch, and the forward through which objective and penalties see it.

    Args:
        model: the network being trained, in training mode; wrapped for several processes or not.
        images: images to train on, ``[N, C, H, W]`` floats in [0, 1]; a purifier's are adversarial.
        labels: true classes, ``[N]``.
        recipe: section of the recipe that is trained by.
        epoch: epoch, counted from 1.
        step: batches of the training before this one.
        progress: share of the training that is over, in [0, 1).
        seed: seed of an attack's draws; the global generators are seeded, too.
        criterion: loss of logits and labels.
        clean: images before any attack, same shape; by default ``images``.
        classifier: the frozen classifier behind a purifier; ``None`` where a classifier is trained.
        network: images to logits, unwrapped, for passes that train nothing; by default the bare ``model``.
        penalties: penalties of the objective, by name with their weights.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    recipe: Any = None
    epoch: int = 1
    step: int = 0
    progress: float = 0.0
    seed: int = 0
    criterion: Criterion = functional.cross_entropy
    clean: Tensor = None  # type: ignore[assignment]
    classifier: nn.Module | None = None
    network: nn.Module = None  # type: ignore[assignment]
    penalties: Sequence[tuple[str, "Penalty", float]] = ()

    def __post_init__(self) -> None:
        self.clean = self.images if self.clean is None else self.clean
        self.network = unwrap(self.model) if self.network is None else self.network
        self._added: _Added | None = None

    def forward(self, *sets: Tensor, layers: bool = False) -> list[View]:
        """Pass sets of images through the network together, once a step.

        One forward, so that all share the statistics of batch norms, and several processes exchange buffers
        and gradients once. The penalties apply to the first set; the further images they ask for go along.

        Args:
            sets: images ``[N, C, H, W]``, those that the criterion meets first.
            layers: whether the views hold the layers of neurons, also where no penalty asks for them.

        Returns:
            One view for each of ``sets``.
        """
        if self._added is not None:
            raise RuntimeError("one forward a step: give all images of the step to it")
        further = [penalty.further(self, sets[0]) for _, penalty, _ in self.penalties]
        shown = [*sets, *(images for images in further if images is not None)]
        wanted = layers or any(penalty.layers for _, penalty, _ in self.penalties)
        asked = [statistic for _, penalty, _ in self.penalties for statistic in penalty.statistics]
        # of several sets together a statistic would be that of all
        statistics = tuple(dict.fromkeys(asked)) if len(shown) == 1 else ()
        with recording(unwrap(self.model), wanted=wanted, statistics=statistics) as record:
            outputs = self.model(torch.cat(shown) if len(shown) > 1 else shown[0])
        sizes = [len(images) for images in shown]
        parts = zip(shown, _split(outputs, sizes), record.split(sizes), strict=True)
        views = [View(self, *part) for part in parts]
        self._added = self._penalise(views[0], further, views[len(sets) :])
        return views[: len(sets)]

    def _penalise(self, view: View, further: list[Tensor | None], views: list[View]) -> _Added:
        total, terms, passes, rest = None, {}, 0, iter(views)
        for (name, penalty, weight), asked in zip(self.penalties, further, strict=True):
            value = penalty(view if asked is None else replace(view, further=next(rest)))
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise InputError(f"penalty {name}: must return a scalar tensor, got {kind_of(value)}")
            total = weight * value if total is None else total + weight * value
            terms[name] = value.detach()
            passes += penalty.passes + (asked is not None)
        return _Added(total, terms, passes)

    def penalised(self, step: Step) -> Step:
        """``step`` with the penalties of its forward; the next one may follow."""
        added, self._added = self._added, None
        if not self.penalties:
            return step
        if added is None or added.loss is None:
            names = ", ".join(name for name, *_ in self.penalties)
            raise InputError(f"objective: it calls the network itself, so leave out its penalties ({names})")
        return Step(
            step.loss + added.loss, step.right, {**step.terms, **added.terms}, step.passes + added.passes
        )


def _split(outputs: Any, sizes: list[int]) -> list[Any]:
    if len(sizes) == 1:
        return [outputs]
    if isinstance(outputs, Tensor):
        return list(outputs.split(sizes))
    return [type(outputs)(*parts) for parts in zip(*(part.split(sizes) for part in outputs), strict=True)]


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of rows whose largest logit is at the label."""
    return (logits.argmax(1) == labels).sum()


def unwrap(model: nn.Module) -> nn.Module:
    """``model`` without the wrapper of several processes, which an attack's passes do not concern."""
    return model.module if isinstance(model, DistributedDataParallel) else model
