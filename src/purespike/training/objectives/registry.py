"""Objectives, penalties and projections by name, registered where they are defined."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from accelerate import Accelerator
from pydantic import BaseModel, Field, ValidationError, create_model
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from purespike.data import ImageSet
from purespike.errors import InputError, unknown
from purespike.neurons.watched import Statistic
from purespike.registration import registering
from purespike.section import Section, explain
from purespike.training.objectives.batch import Batch, Step, View

Kind = Literal["objective", "penalty", "projection"]
STAGES = ("classifier", "purifier")
Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of a run, as a part of its objective sees it before and after training.

    Args:
        name: ``"classifier"`` or ``"purifier"``.
        model: the network being trained, not wrapped.
        data: training images.
        recipe: section of the recipe.
        folder: run folder; a stage before this one may keep its own in ``folder / NAME``.
        seed: seed of the run.
        accelerator: device, precision and processes.
        classifier: the frozen classifier behind a purifier.
        held_out: training images that no step sees, for :meth:`Part.after_epoch`; those that the objective
            asked for.
        average: the moving average of the weights, if the recipe asks for one.
        test: test images, to watch a training by; where a classifier is trained.
        released: parameters of the classifier that are trained along.
    """

    name: str
    model: nn.Module
    data: ImageSet
    recipe: Any
    folder: Path
    seed: int
    accelerator: Accelerator
    classifier: nn.Module | None = None
    held_out: ImageSet | None = None
    average: AveragedModel | None = None
    test: ImageSet | None = None
    released: nn.Module | None = None

    @functools.cached_property
    def trained(self) -> nn.Module:
        """All that is trained: the network, and what is released of the classifier behind it."""
        return self.model if self.released is None else nn.ModuleList([self.model, self.released])


class Part:
    """Base of objectives, penalties and projections that do more than their call; all of it is optional.

    The settings of a recipe are the keyword-only parameters of the constructor (fields of a dataclass), or
    of a plain function, and are checked against their annotations.
    """

    trains = False
    """Whether :meth:`prepare` trains a network: then the other parts of an objective prepare themselves
    first, so that what has no meaning is refused at once."""

    def prepare(self, stage: Stage) -> None:
        """Work before the first epoch of a run: train a teacher, calibrate. The generators are seeded."""

    def after_epoch(self, stage: Stage, epoch: int) -> dict[str, float]:
        """Work after each epoch, before its state is saved; returns figures for the history.

        Every process does it. The generators are seeded.
        """
        return {}

    def finish(self, stage: Stage) -> None:
        """Work after the last epoch, on ``stage.model``, which is saved then. The generators are seeded."""

    def state(self) -> dict[str, Tensor]:
        """Tensors to keep with every checkpoint."""
        return {}

    def restore(self, stage: Stage, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`state` returned; called in a resumed run instead of :meth:`prepare`."""


class Objective(Part):
    """A loss to train by; at most one is named in a recipe."""

    crafted = True
    """Whether a purifier's batches hold examples against the classifier alone (``purifier.attack``)."""
    reaches_classifier = False
    """Whether its gradient reaches the classifier behind a purifier, which may then be trained along."""
    held_out = 0
    """Number of training images to keep from the batches, for :meth:`Part.after_epoch`."""

    def __call__(self, batch: Batch) -> Step | Iterator[Step]:
        """The step of a batch; or several, each made as soon as it is asked for, after the step before."""
        raise NotImplementedError


class Penalty(Part):
    """A term that any objective adds, times its weight; one of weight 0 is not computed at all."""

    layers = False
    """Whether its views hold the layers of neurons."""
    statistics: tuple[Statistic, ...] = ()
    """What it asks of their membranes, which the forward then leaves where it can."""
    passes = 0
    """Passes of an image through the network besides those of :meth:`Batch.forward`."""

    def further(self, batch: Batch, images: Tensor) -> Tensor | None:
        """Further images that the forward of the step is to take along, if any.

        Args:
            batch: the batch; passes of its own go through ``batch.network`` under ``attacked``.
            images: images that the criterion meets, ``[N, C, H, W]``.
        """
        return None

    def __call__(self, view: View) -> Tensor:
        """The scalar to add."""
        raise NotImplementedError


class Projection(Part):
    """A change of the parameters after each step of the optimiser, without gradients."""

    def __call__(self, model: nn.Module) -> None:
        """Change the parameters of ``model``, which is not wrapped, in place.

        The global generators are seeded alike in every process, whose copies of the model so stay equal.
        """
        raise NotImplementedError


_BASES: dict[Kind, type[Part]] = {"objective": Objective, "penalty": Penalty, "projection": Projection}


@dataclass(frozen=True)
class Entry:
    """A registered part: its kind, the stages it can train, its constructor and the form of its settings."""

    name: str
    kind: Kind
    stages: tuple[str, ...]
    make: Callable[..., Any]
    settings: type[BaseModel]
    about: str = ""
    """The docstring of what was registered."""

    def create(self, settings: dict[str, Any], *, place: str) -> tuple[Any, float]:
        """The part with these settings, and its weight.

        Raises:
            InputError: an unknown setting, or one out of range.
        """
        try:
            checked = self.settings.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                known = self.settings.model_fields
                raise InputError(f"{place}: {unknown(f'setting of {self.name}', key, known)}") from error
            raise InputError(f"{place}: {self.name}: {explain(error)}") from error
        values = {name: getattr(checked, name) for name in checked.model_fields_set}
        weight = values.pop("weight", 1.0) if self.kind == "penalty" else 1.0
        try:
            return self.make(**values), weight
        except InputError as error:
            raise InputError(f"{place}: {self.name}: {error}") from error


_entries: dict[str, Entry] = {}


@registering('@objective("name")')
def objective(
    name: str, *, stage: str = "classifier", settings: tuple[str, ...] = ()
) -> Callable[[Made], Made]:
    """Register an :class:`Objective`, or a function ``(batch, *, settings) -> Step``, under ``name``.

    Args:
        name: name in recipes.
        stage: the stage it can train, ``"classifier"`` or ``"purifier"``.
        settings: names of settings that the constructor takes as ``**settings`` and checks itself.

    Raises:
        InputError: the name is taken, or an unknown stage.
    """
    if stage not in STAGES:
        raise unknown("stage", str(stage), STAGES)
    return partial(_register, name, "objective", (stage,), settings, False)


@registering('@penalty("name")')
def penalty(name: str, *, layers: bool = False) -> Callable[[Made], Made]:
    """Register a :class:`Penalty`, or a function ``(view, *, settings) -> Tensor``, under ``name``.

    Besides its own, it gets the setting ``weight``, 1 unless given.

    Args:
        name: name in recipes.
        layers: whether a function's view holds the layers of neurons.

    Raises:
        InputError: the name is taken.
    """
    return partial(_register, name, "penalty", STAGES, (), layers)


@registering('@projection("name")')
def projection(name: str) -> Callable[[Made], Made]:
    """Register a :class:`Projection`, or a function ``(model, *, settings) -> None``, under ``name``.

    Raises:
        InputError: the name is taken.
    """
    return partial(_register, name, "projection", STAGES, (), False)


def entries(stage: str) -> dict[str, Entry]:
    """Everything that ``stage`` can be trained with, by name."""
    return {name: entry for name, entry in _entries.items() if stage in entry.stages}


def _register(
    name: str, kind: Kind, stages: tuple[str, ...], loose: tuple[str, ...], layers: bool, made: Made
) -> Made:
    if name in _entries:
        raise InputError(f"{kind} {name!r} is registered twice")
    base = _BASES[kind]
    if isinstance(made, type):
        if not issubclass(made, base):
            raise InputError(f"{kind} {name!r}: {made.__name__} is no {base.__name__}")
        make: Callable[..., Any] = made
    else:
        make = partial(_from_function, base, made, layers)
    _entries[name] = Entry(name, kind, stages, make, _settings_of(made, kind, loose), made.__doc__ or "")
    return made


def _from_function(base: type[Part], function: Callable[..., Any], layers: bool, **settings: Any) -> Part:
    """An instance of ``base`` whose call is ``function`` with these settings."""
    members = {"__call__": lambda self, seen: function(seen, **settings), "layers": layers}
    return type(function.__name__, (base,), members)()


def _settings_of(made: Callable[..., Any], kind: Kind, loose: tuple[str, ...]) -> type[BaseModel]:
    hints = get_type_hints(made.__init__ if isinstance(made, type) else made, include_extras=True)  # type: ignore[misc]
    fields: dict[str, Any] = dict.fromkeys(loose, (Any, None))
    for parameter in inspect.signature(made).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints.get(parameter.name, Any), default)
    if kind == "penalty":
        if "weight" in fields:
            raise InputError(f"penalty {made.__name__}: weight is every penalty's setting, not its own")
        fields["weight"] = (Annotated[float, Field(ge=0, allow_inf_nan=False)], 1.0)
    return create_model(made.__name__, __base__=Section, **fields)
