"""An objective with penalties and projections, from the list in a recipe."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError, kind_of, unknown
from purespike.seeding import seeded
from purespike.training.objectives.batch import Batch, Step
from purespike.training.objectives.registry import Entry, Objective, Part, Penalty, Projection, Stage, entries

DEFAULTS = {"classifier": "none", "purifier": "paper"}


class Composition:
    """One objective, any number of penalties and projections; made by :func:`create_objective`.

    Args:
        name: name of the objective.
        objective: the objective.
        penalties: penalties by name with their weights.
        projections: projections by name.
    """

    def __init__(
        self,
        name: str,
        objective: Objective,
        penalties: list[tuple[str, Penalty, float]],
        projections: dict[str, Projection],
    ) -> None:
        self.name = name
        self.objective, self.penalties, self.projections = objective, penalties, projections
        self.parts: dict[str, Part] = {
            name: objective,
            **{name: penalty for name, penalty, _ in penalties},
            **projections,
        }

    def steps(self, batch: Batch) -> Iterator[Step]:
        """The steps of a batch; the optimiser must make one before the next is asked for.

        Raises:
            InputError: the objective returns anything but steps with a scalar loss.
        """
        batch.penalties = self.penalties
        found = self.objective(batch)
        for step in found if isinstance(found, Iterator | list | tuple) else (found,):
            loss = step.loss if isinstance(step, Step) else step
            if not isinstance(step, Step) or not isinstance(loss, Tensor) or loss.numel() != 1:
                raise InputError(
                    f"objective {self.name}: must return a Step with a scalar loss, or several one by one, "
                    f"got {kind_of(loss)}"
                )
            yield batch.penalised(step)

    @torch.no_grad()
    def project(self, model: nn.Module, *stream: object, device: torch.device) -> None:
        """Project the parameters of ``model``, not wrapped, after a step.

        Args:
            model: the network being trained.
            stream: name of the step's random stream, the same in every process.
            device: device of the model.
        """
        for name, projection in self.projections.items():
            with seeded(*stream, name, device=device):
                projection(model)

    def begin(self, stage: Stage, state: dict[str, Tensor] | None) -> None:
        """Let every part prepare itself, or take back its part of the ``state`` of a resumed run."""
        for name, part in sorted(self.parts.items(), key=lambda item: item[1].trains):
            if state is not None:
                prefix = f"{name}/"
                own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                part.restore(stage, own)
            else:
                with seeded(stage.seed, stage.name, "prepare", name, device=stage.accelerator.device):
                    part.prepare(stage)

    def after_epoch(self, stage: Stage, epoch: int) -> dict[str, float]:
        """Let every part do its work after an epoch; figures for the history by name."""
        figures: dict[str, float] = {}
        for name, part in self.parts.items():
            with seeded(stage.seed, stage.name, "after", epoch, name, device=stage.accelerator.device):
                figures |= part.after_epoch(stage, epoch)
        return figures

    def finish(self, stage: Stage) -> None:
        """Let every part do its work after the last epoch."""
        for name, part in self.parts.items():
            with seeded(stage.seed, stage.name, "finish", name, device=stage.accelerator.device):
                part.finish(stage)

    def state(self) -> dict[str, Tensor]:
        """The state of all parts, as a checkpoint keeps it."""
        return {
            f"{name}/{key}": value for name, part in self.parts.items() for key, value in part.state().items()
        }


def create_objective(
    parts: str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]], *, stage: str = "classifier"
) -> Composition:
    """The objective of a recipe: at most one objective proper, penalties and projections, by name.

    For a classifier, ``none`` trains on clean images. ``fgsm`` and ``pgd`` train on adversarial ones in their
    place (:mod:`~purespike.training.objectives.adversarial`), with the defaults of
    :func:`purespike.attacks.create_attack`: eps 8/255, PGD of 7 steps of 2/255 from a random start.
    ``trades`` takes the settings of PGD and ``beta``, 6 unless given
    (:mod:`~purespike.training.objectives.trades`); its 10 steps of 2/255 start at random, since at the image
    itself the divergence has no gradient. For a purifier, ``paper`` is Algorithm 1.

    Penalties (``input_gradient``) have a ``weight`` besides their settings; projections (``parseval``) change
    the parameters after each step. Both go with any objective and either stage.

    Args:
        parts: ``classifier.objective`` of a recipe, e.g. ``{"name": "pgd", "eps": "8/255"}``, a name, or a
            list of them, e.g. ``["trades", {"name": "input_gradient", "weight": 0.1}]``.
        stage: ``"classifier"`` or ``"purifier"``.

    Raises:
        InputError: an unknown name or setting, a setting out of range, two objectives, or a part named twice.
    """
    place = f"{stage}.objective"
    known = entries(stage)
    found: dict[str, tuple[Entry, Any, float]] = {}
    for part in (parts,) if isinstance(parts, str | Mapping) else parts:
        settings = {"name": part} if isinstance(part, str) else dict(part)
        name = settings.pop("name", None)
        if not isinstance(name, str) or name not in known:
            raise InputError(f"{place}: {unknown('objective', str(name), known)}")
        if name in found:
            raise InputError(f"{place}: {name} is named twice; give its settings in one place")
        found[name] = (known[name], *known[name].create(settings, place=place))
    named = [name for name, (entry, *_) in found.items() if entry.kind == "objective"]
    if len(named) > 1:
        raise InputError(
            f"{place}: {' and '.join(named)} are objectives, of which there is one; "
            "penalties and projections may be added to it"
        )
    if not named:
        named = [DEFAULTS[stage]]
        found[named[0]] = (known[named[0]], *known[named[0]].create({}, place=place))
    return Composition(
        named[0],
        found[named[0]][1],
        # a penalty of weight 0 would still change batch statistics, by the images that it takes along
        [
            (name, part, weight)
            for name, (entry, part, weight) in found.items()
            if entry.kind == "penalty" and weight > 0
        ],
        {name: part for name, (entry, part, _) in found.items() if entry.kind == "projection"},
    )
