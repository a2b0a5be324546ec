"""Attacks on the event list itself: events dropped, injected and moved in time, then counted again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from purespike.attacks.objective import OBJECTIVES, finite, frozen_eval, input_gradient
from purespike.attacks.precision import misclassified
from purespike.checks import check_labels, check_seed, check_steps
from purespike.errors import InputError, unknown
from purespike.events.binning import Binning
from purespike.events.formats import EVENT, Events, as_events, check_sensor
from purespike.models.answer import logits_of
from purespike.scalars import check_number, check_whole
from purespike.seeding import derive


@dataclass(frozen=True, eq=False)
class EventAttackResult:
    """Attacked recordings, as a camera could have sent them.

    Args:
        events: events of each recording in order of time: whole µs, on the sensor, in the recording's window.
        images: their frames ``[N, 2T, H, W]``, floats in [0, 1], counted from exactly these events
            in the window of the clean recording (``binning.window(clean)``).
        success: bool ``[N]``: the model misclassifies exactly these frames.
        dropped: events left out, of each recording.
        injected: events added.
        shifted: events moved.
    """

    events: list[Events]
    images: Tensor
    success: Tensor
    dropped: tuple[int, ...]
    injected: tuple[int, ...]
    shifted: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EventListAttack:
    """The attacker's means on the event list; calling it attacks a model.

    Each step differentiates the loss in the frames, and rates every change of the list by the difference that
    it makes there to first order, gradients summed with momentum: an event that leaves its bin, one that
    enters a bin, one that moves to another bin in reach. It makes the best changes within all three budgets
    and counts the events again. The recording that the model errs on, or whose loss is highest, is kept.

    Args:
        drop: largest share of a recording's events that may be left out, in [0, 1].
        inject: largest number of events that may be added anywhere on the sensor.
        shift: largest change of an event's time, in µs.
        steps: gradient steps.
        momentum: decay of the sum of gradients.
        loss: ``"ce"`` or ``"margin"``.
        seed: seed of the random start: half of the drops and injections at random places.

    Raises:
        InputError: a setting out of range, or none of the three means.
    """

    drop: float = 0.0
    inject: int = 0
    shift: int = 0
    steps: int = 20
    momentum: float = 0.75
    loss: str = "margin"
    seed: int = 0

    def __post_init__(self) -> None:
        if check_number(self.drop, name="drop") > 1:
            raise InputError(f"drop: must be a share of the events in [0, 1], got {self.drop}")
        check_whole(self.inject, name="inject", least=0)
        check_whole(self.shift, name="shift (µs)", least=0)
        check_steps(self.steps)
        check_number(self.momentum, name="momentum")
        check_seed(self.seed)
        if self.loss not in OBJECTIVES:
            raise unknown("attack loss", self.loss, OBJECTIVES)
        if not (self.drop or self.inject or self.shift):
            raise InputError("event list: give drop, inject or shift; all three are 0")

    def __call__(
        self, model: nn.Module, recordings: Sequence[Events], labels: Tensor, binning: Binning
    ) -> EventAttackResult:
        """Change ``recordings`` so that ``model`` misclassifies their frames.

        Args:
            model: frames ``[N, 2T, H, W]`` in [0, 1] to logits.
            recordings: events of each recording.
            labels: true classes, ``[N]``.
            binning: the counting that makes frames of events. The window of a recording is that of its clean
                events; no event leaves it.

        Raises:
            InputError: events that are not of that form or off the sensor, or labels of another number.
        """
        lists = [
            _List(as_events(events, name=f"recording {row}"), binning, self, row)
            for row, events in enumerate(recordings)
        ]
        labels = check_labels(labels, count=len(lists))
        if not lists:
            raise InputError("event list: no recordings")
        with frozen_eval(model):
            return self._attack(model, lists, labels)

    def _attack(self, model: nn.Module, lists: "list[_List]", labels: Tensor) -> EventAttackResult:
        device = next((each.device for each in model.parameters()), torch.device("cpu"))
        labels, loss = labels.to(device), OBJECTIVES[self.loss]
        best, slopes = torch.full((len(lists),), -torch.inf), torch.zeros(())
        for step in range(self.steps + 1):
            images = torch.stack([each.image() for each in lists]).to(device).requires_grad_()
            with torch.enable_grad():
                logits = logits_of(model, images)
                check_labels(labels, count=len(lists), classes=logits.shape[1])
                losses = loss(logits, labels)
                gradient, _ = finite(input_gradient(losses, images))
            wrong = misclassified(model, images.detach(), labels)
            # a recording that is misclassified beats all that are not
            scores = (losses.detach() + torch.where(wrong, 1e6, 0.0)).float().cpu()
            for row in (scores > best).nonzero().flatten().tolist():
                lists[row].keep()
            best = torch.maximum(best, scores)
            if step < self.steps:
                size = gradient.abs().sum((1, 2, 3), keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
                slopes = self.momentum * slopes + (gradient / size).cpu()
                for each, slope in zip(lists, slopes.double().numpy(), strict=True):
                    each.change(slope)
        for each in lists:
            each.restore()
        images = torch.stack([each.image() for each in lists])
        success = misclassified(model, images.to(device), labels).cpu()
        dropped, injected, shifted = zip(*(each.counted() for each in lists), strict=True)
        return EventAttackResult(
            [each.events() for each in lists], images, success, dropped, injected, shifted
        )


class _List:
    """The clean events of one recording with the present changes, and the best ones so far."""

    def __init__(self, clean: Events, binning: Binning, attack: EventListAttack, row: int) -> None:
        check_sensor(clean, height=binning.height, width=binning.width, name=f"recording {row}")
        self.clean, self.binning, self.attack = clean, binning, attack
        self.window = binning.window(clean)
        self.most = math.floor(attack.drop * len(clean) + 1e-9)
        self.times = clean["t"].copy()
        self.dropped = np.zeros(len(clean), bool)
        self.added = np.empty(0, EVENT)
        self._start(np.random.default_rng(derive(attack.seed, "event list", clean.tobytes().hex())))
        self.best = self.times, self.dropped, self.added

    def _start(self, draws: np.random.Generator) -> None:
        self.dropped[draws.permutation(len(self.clean))[: self.most // 2]] = True
        count = self.attack.inject // 2
        self.added = self._events_at(draws.integers(0, int(np.prod(self.binning.shape)), count))

    def _events_at(self, bins: np.ndarray) -> Events:
        """One event in each of the flat ``bins``: in the middle of its frame and of its square of pixels."""
        channel, row, column = np.unravel_index(bins, self.binning.shape)
        (start, end), pool = self.window, self.binning.pool
        made = np.empty(len(bins), EVENT)
        made["x"], made["y"], made["p"] = column * pool + pool // 2, row * pool + pool // 2, channel % 2
        made["t"] = start + (2 * (channel // 2) + 1) * (end - start) // (2 * self.binning.steps)
        return made

    def _moved(self) -> Events:
        moved = self.clean.copy()
        moved["t"] = self.times
        return moved

    def events(self) -> Events:
        """The present recording, in order of time."""
        found = np.concatenate((self._moved()[~self.dropped], self.added))
        return np.sort(found, order="t", kind="stable")

    def image(self) -> Tensor:
        return self.binning.image(self.events(), window=self.window).float() / 255

    def keep(self) -> None:
        self.best = self.times.copy(), self.dropped.copy(), self.added.copy()

    def restore(self) -> None:
        self.times, self.dropped, self.added = self.best

    def counted(self) -> tuple[int, int, int]:
        """Events that are dropped, injected and, of the others, shifted."""
        moved = (self.times != self.clean["t"]) & ~self.dropped
        return int(self.dropped.sum()), len(self.added), int(moved.sum())

    def change(self, slope: np.ndarray) -> None:
        """The best changes of the clean recording where the loss rises by ``slope`` per unit of a bin."""
        flat = slope.reshape(-1)
        places, inside = self.binning.places(self.clean, self.window)
        own = np.where(inside, flat[places], 0.0)
        self.times = self._shifted(flat, own) if self.attack.shift else self.clean["t"].copy()
        moved = self._moved()
        places, inside = self.binning.places(moved, self.window)
        loss = np.where(inside, -flat[places], 0.0)
        order = np.argsort(-loss, kind="stable")[: self.most]
        self.dropped = np.zeros(len(self.clean), bool)
        self.dropped[order[loss[order] > 0]] = True
        self.added = self._injected(flat, self.binning.counts(moved[~self.dropped], window=self.window))

    def _shifted(self, flat: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Times within reach at which each event raises the loss most; its own where none does better."""
        start, end = self.window
        best, times = own.copy(), self.clean["t"].copy()
        for frame in range(self.binning.steps):
            # the time of the frame nearest to the event's own
            first = start - (-frame * (end - start) // self.binning.steps)
            last = start - (-(frame + 1) * (end - start) // self.binning.steps) - 1
            nearest = self.clean["t"].clip(first, last)
            reach = np.abs(nearest - self.clean["t"]) <= self.attack.shift
            moved = self.clean.copy()
            moved["t"] = nearest
            places, inside = self.binning.places(moved, self.window)
            value = np.where(inside & reach, flat[places], -np.inf)
            better = value > best
            best[better], times[better] = value[better], nearest[better]
        return times

    def _injected(self, flat: np.ndarray, counts: np.ndarray) -> Events:
        """Events in the bins of steepest rise; a bin takes them until it holds the cap."""
        room = np.maximum(self.binning.cap - counts.reshape(-1), 0)
        order = np.argsort(-flat, kind="stable")[: self.attack.inject]
        order = order[flat[order] > 0]
        bins = np.repeat(order, room[order])[: self.attack.inject]
        return self._events_at(bins)
