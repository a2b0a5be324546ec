"""Attacks of an evaluation whose passes are shown while they run."""

from collections.abc import Sequence

from purespike.evaluation.cell import Outcomes, units
from purespike.evaluation.plan import Job, passes_of
from purespike.evaluation.runner import Runner
from purespike.evaluation.threat import THREATS, Scene
from purespike.models.answer import passes_told
from purespike.progress import Bar
from purespike.results import Cell


def most_passes(job: Job, scene: Scene, threats: Sequence[str]) -> int:
    """Passes that an image takes at most in an attack."""
    return sum(_costs(job, scene, threats).values())


def _costs(job: Job, scene: Scene, threats: Sequence[str]) -> dict[str, int]:
    """Passes that an image takes at most under each unit of threat models, by the last of the unit."""
    return {
        unit[-1]: passes_of(job.attack) * len(THREATS[unit[0]].routes(scene, job.attack))
        for unit in units(job, scene, threats)
    }


def followed(runner: Runner, job: Job, before: Outcomes, threats: Sequence[str], progress: Bar) -> list[Cell]:
    """The cells of one attack, as :meth:`Runner.attack` gives them; shown by ``progress``, line by line.

    Args:
        runner: runs the attack.
        job: attack and budget.
        before: outcomes before the attack; images that are misclassified there are not attacked.
        threats: threat models of the attacker.
        progress: display whose units are passes.
    """
    each = _costs(job, runner.scene, threats)
    shown = 0
    """Passes of the chunk in progress that were shown: an estimate, which its end corrects."""

    def tell(images: int, differentiated: bool) -> None:
        nonlocal shown
        shown += images
        progress.advance(images, job.attack.name)

    def done(threat: str, images: int) -> None:
        nonlocal shown
        took = images * each[threat]
        progress.advance(max(took - shown, 0), f"{job.attack.name}, {threat}")
        shown = max(shown - took, 0)

    with passes_told(tell):
        cells = runner.attack(job, before, threats, done)
    for cell in cells:
        progress.say(cell.line())
    return cells
