"""The work behind the page: an image seen, attacked step by step, certified; plain Python, no page."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks.routes import Route, run_routes
from purespike.attacks.run import from_outside
from purespike.attacks.watching import Sighting, watching
from purespike.certification import Certification, certify
from purespike.checks import check_images
from purespike.demo.attacker import Attacker
from purespike.demo.jobs import Jobs
from purespike.demo.lineup import Lineup
from purespike.demo.moments import Moment
from purespike.demo.views import View, view
from purespike.errors import InputError, unknown
from purespike.models.guard import lent
from purespike.progress import quiet
from purespike.rejection import SCORES, Rejecting
from purespike.seeding import seeded

Tell = Callable[[Moment], None]
# draws that select the class of a certificate, beside those that estimate its probability
SELECTING = 100


class Session:
    """One lineup at work.

    Args:
        lineup: models side by side.
        jobs: queue that its work goes through; of its own by default.
        device: device of the models.
    """

    def __init__(
        self, lineup: Lineup, *, jobs: Jobs | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.lineup, self.jobs, self.device = lineup, jobs or Jobs(), torch.device(device)
        self._models = {title: model.to(self.device).eval() for title, model in lineup.models.items()}
        # an attack exchanges derivatives and freezes weights: what shows a step is not what is attacked
        self._shown = {title: copy.deepcopy(model) for title, model in self._models.items()}
        self._gates: dict[tuple[str, str, float], Rejecting | None] = {}

    def look(
        self, image: Tensor, label: int | None = None, *, score: str = "", coverage: float = 0.95
    ) -> dict[str, Moment]:
        """Every model on an image as it is.

        Args:
            image: ``[C, H, W]`` in [0, 1].
            label: true class; ``None`` for the one that the bare classifier sees.
            score: score of a gate; empty for none.
            coverage: share of clean images that the gate accepts.

        Raises:
            InputError: an image or a label that does not fit, an unknown score, or the time limit.
        """

        def work(tell: Tell) -> None:
            self._look(image, label, score, coverage, tell)

        return {moment.title: moment for moment in self.jobs.run(work)}

    def attack(
        self,
        image: Tensor,
        label: int | None = None,
        attacker: Attacker | None = None,
        *,
        score: str = "",
        coverage: float = 0.95,
    ) -> Iterator[Moment]:
        """Attack every model with the same image, one after another, and tell each step.

        Args are those of :meth:`look`, and the attacker.

        Yields:
            First the clean image before each model. Then, model by model, the iterates of the attack if it
            takes gradient steps, and the image that it keeps.

        Raises:
            InputError: as :meth:`look`, or an attack that makes no sense for this attacker.
        """
        chosen = attacker or Attacker()

        def work(tell: Tell) -> None:
            clean = self._look(image, label, score, coverage, tell)
            for title, model in self._models.items():
                _Climber(self, title, model, clean[title], chosen, score, coverage, tell).climb()

        return self.jobs.run(work)

    def certify(
        self, image: Tensor, label: int | None = None, *, sigma: float | str = 0.25, n: int = 200
    ) -> Certification:
        """Certificates of one image from every model: an L2 radius in which its smoothed prediction stays.

        Args:
            image: ``[C, H, W]`` in [0, 1].
            label: true class; ``None`` for the one that the bare classifier sees.
            sigma: standard deviation of the noise in pixel units.
            n: draws that estimate; few draws prove a small radius only.

        Raises:
            InputError: as :meth:`look`, settings that can certify nothing, or the time limit.
        """

        def work(tell: Callable[[Certification], None]) -> None:
            place, true = self._check(image, label)
            (title, first), *others = self._models.items()
            pair = place[None], torch.tensor([true], device=self.device)
            with quiet():
                found = certify(
                    first, pair, sigma=sigma, n=n, n0=SELECTING, compare=dict(others), alone=True, name=title
                )
            tell(found)

        return next(self.jobs.run(work))

    def _look(
        self, image: Tensor, label: int | None, score: str, coverage: float, tell: Tell
    ) -> dict[str, Moment]:
        place, true = self._check(image, label)
        found = {}
        for title in self._models:
            seen = self._view(title, place, place, score, coverage)
            found[title] = Moment(title=title, view=seen, label=true, stage="clean")
            tell(found[title])
        return found

    def _check(self, image: Tensor, label: int | None) -> tuple[Tensor, int]:
        """The image on the device, and its class."""
        check_images(image[None] if isinstance(image, Tensor) else image, name="image")
        if tuple(image.shape) != self.lineup.shape:
            raise InputError(
                f"image: has the shape {list(image.shape)}, the models take {list(self.lineup.shape)}"
            )
        place, classes = image.float().to(self.device), len(self.lineup.class_names)
        if label is None:
            bare = next(iter(self._shown.values()))
            with torch.no_grad(), seeded(0, "demo", device=self.device):
                return place, int(bare(place[None]).argmax())
        if not 0 <= label < classes:
            raise InputError(f"label: a class from 0 to {classes - 1}, got {label}")
        return place, int(label)

    def _view(self, title: str, image: Tensor, clean: Tensor, score: str, coverage: float) -> View:
        gate = self._gate(title, score, coverage)
        # a stochastic model draws the same numbers for every step, and the attack's are left alone
        with seeded(0, "demo", title, device=self.device):
            return view(self._shown[title], image, clean, gate)

    def _gate(self, title: str, score: str, coverage: float) -> Rejecting | None:
        """The model with a gate that is calibrated; ``None`` where its score has no meaning for it."""
        if not score:
            return None
        name = score.partition(":")[0]
        if name not in SCORES:
            raise unknown("score", name, SCORES)
        if self.lineup.clean is None:
            raise InputError(
                "reject or accept: the threshold is set on clean images of the models' own data, which are "
                "not at hand; name them with --data"
            )
        key = title, score, coverage
        if key not in self._gates:
            bare = self.lineup.models[title] is next(iter(self.lineup.models.values()))
            gate = None if bare and SCORES[name].needs_purifier else Rejecting(self._shown[title], score)
            if gate is not None:
                gate.calibrate(self.lineup.clean, coverage)
            self._gates[key] = gate
        return self._gates[key]


class _Climber:
    """One attack on one model."""

    def __init__(
        self,
        session: Session,
        title: str,
        model: nn.Module,
        clean: Moment,
        attacker: Attacker,
        score: str,
        coverage: float,
        tell: Tell,
    ) -> None:
        self.session, self.title, self.model, self.clean = session, title, model, clean
        self.attacker, self.score, self.coverage, self.tell = attacker, score, coverage, tell
        self.route, self.steps = "", 0

    def climb(self) -> None:
        """Attack, and tell every step."""
        image = self.clean.view.clean.to(self.session.device)[None]
        labels = torch.tensor([self.clean.label], device=image.device)
        attack = self.attacker.build()
        routes = [self._named(route) for route in self.attacker.routes(self.model)]
        with (
            lent({f"the {self.title}": self.model}),
            seeded(attack.seed, attack.name, "model", device=image.device),
            watching(self._seen),
        ):
            judge = self.model if any(from_outside(route.run) for route in routes) else None
            result, _ = run_routes(routes, image, labels, attack=attack, judge=judge)
        self._say("end", self.steps, result.images[0], note="; ".join(result.warnings))

    def _named(self, route: Route) -> Route:
        """The route, which says its name before it is followed."""
        words = [word for word in (route.name, route.loss, route.reset or "own") if word != "own"]
        words = [f"{word} reset" if word == route.reset else word for word in words]

        def run(*given: object) -> object:
            self.route = ", ".join(words)
            return route.run(*given)  # type: ignore[arg-type]

        return replace(route, run=run)  # type: ignore[arg-type]

    def _seen(self, sighting: Sighting) -> None:
        self.steps = sighting.step
        self._say("step", sighting.step, sighting.images[0])

    def _say(self, stage: str, step: int, image: Tensor, note: str = "") -> None:
        seen = self.session._view(
            self.title, image, self.clean.view.clean.to(image.device), self.score, self.coverage
        )
        self.tell(
            Moment(
                title=self.title,
                view=seen,
                label=self.clean.label,
                stage=stage,
                step=step,
                route=self.route,
                note=note,
            )
        )
