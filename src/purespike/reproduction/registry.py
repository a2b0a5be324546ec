"""Every experiment by name; one file of ``experiments/`` defines and registers it."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from purespike.errors import InputError, unknown
from purespike.registration import registering
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft

Run = Callable[[ExperimentContext], Draft]


@dataclass(frozen=True)
class Experiment:
    """A table or figure that can be measured.

    Args:
        name: name on the command line and of its folder.
        run: function from a context to the rows.
        order: place among the experiments.
        needs: optional package without which it cannot run.
        extra: extra of purespike that installs the package.
        printed: whether the paper shows it; ``all`` means those.
        choice: whether a command may ask for some of its rows.
    """

    name: str
    run: Run
    order: int
    needs: str = ""
    extra: str = ""
    printed: bool = True
    choice: bool = False


EXPERIMENTS: dict[str, Experiment] = {}
"""The experiments in their order."""


@registering('@experiment("name")')
def experiment(
    name: str,
    *,
    order: int = 1000,
    needs: str = "",
    extra: str = "",
    printed: bool = True,
    choice: bool = False,
) -> Callable[[Run], Run]:
    """Register the decorated function as the experiment ``name``; see :class:`Experiment`.

    Raises:
        InputError: the name is taken.
    """

    def register(run: Run) -> Run:
        if name in EXPERIMENTS:
            raise InputError(f"experiment {name!r} is registered twice")
        known = [*EXPERIMENTS.values(), Experiment(name, run, order, needs, extra, printed, choice)]
        EXPERIMENTS.clear()
        EXPERIMENTS.update((each.name, each) for each in sorted(known, key=lambda each: each.order))
        return run

    return register


def find_experiment(name: str) -> Experiment:
    """The experiment called ``name``.

    Raises:
        InputError: unknown name.
    """
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def check_experiments(names: Sequence[str]) -> list[str]:
    """The names of the chosen experiments; ``all`` is all of the paper's.

    Raises:
        InputError: no name, an unknown one, or a package that an experiment needs is missing.
    """
    if not names:
        raise InputError(f"name an experiment: {', '.join(EXPERIMENTS)} or all")
    for name in names:
        if name not in EXPERIMENTS and name != "all":
            raise unknown("experiment", name, [*EXPERIMENTS, "all"])
    every = [each.name for each in EXPERIMENTS.values() if each.printed]
    # ``all`` may have company that it does not contain
    chosen = list(dict.fromkeys(each for name in names for each in (every if name == "all" else [name])))
    # before hours of training, not after them
    for each in (EXPERIMENTS[name] for name in chosen):
        if each.needs and importlib.util.find_spec(each.needs) is None:
            raise InputError(f"{each.name} needs {each.needs}: pip install 'purespike[{each.extra}]'")
    return chosen
