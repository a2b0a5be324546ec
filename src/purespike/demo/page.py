"""The page: a thin layer of gradio over :class:`~purespike.demo.session.Session`."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor

from purespike.checks import as_float
from purespike.demo.attacker import MOST_STEPS, Attacker, fitting_attacks, threat_names
from purespike.demo.markup import TEMPLATES, certificate_numbers, certificates, chooser, stage
from purespike.demo.moments import Climb, Moment
from purespike.demo.pictures import EXTENT, data_url, extent_of, fit, fit_drawing, read_data_url
from purespike.demo.session import Session
from purespike.errors import InputError
from purespike.importing import optional
from purespike.rejection import SCORES
from purespike.results.vocabulary import attack_words, threat_words

UNKNOWN = -1
"""The label of an image whose true class is not given."""
COVERAGE = 0.95
_NO_GATE = ""
# seconds between two pictures of a running attack: a browser draws no more
_PAUSE = 0.1


def library() -> ModuleType:
    """The package gradio.

    Raises:
        InputError: it is missing.
    """
    return optional("gradio", "the demo")


def build(sessions: Mapping[str, Session]) -> Any:
    """The page as gradio's ``Blocks``.

    Args:
        sessions: lineups at work, by name, at least one.
    """
    return _Page(sessions, library()).blocks()


class _Page:
    """Components and what happens when they are used."""

    def __init__(self, sessions: Mapping[str, Session], gradio: Any) -> None:
        self.sessions, self.gradio = sessions, gradio
        self.first = next(iter(sessions))

    def blocks(self) -> Any:
        gr = self.gradio
        # one job at a time: whatever computes shares one place
        job = {"concurrency_limit": 1, "concurrency_id": "job"}
        with gr.Blocks(title="purespike demo", analytics_enabled=False, fill_width=True) as blocks:
            gr.HTML(_HEAD, elem_classes=["ps-head"], apply_default_css=False)
            climb, image = gr.State(Climb(), time_to_live=3600), gr.Textbox(visible=False, label="image")
            with gr.Row():
                with gr.Column(scale=2, min_width=280):
                    model, picker, label, invert = self._picture()
                    threat, attack, eps, steps, seed = self._attacker()
                    ready = self.sessions[self.first].lineup.clean is not None
                    with gr.Accordion("Reject or accept", open=False, elem_id="gate", visible=ready) as gate:
                        score, coverage = self._gate()
                with gr.Column(scale=5, min_width=300):
                    with gr.Row():
                        go = gr.Button("Attack", variant="primary", elem_id="attack")
                        stop = gr.Button("Stop", elem_id="stop")
                    place = gr.Slider(
                        0,
                        1,
                        0,
                        step=1,
                        label="Moment of the attack (0: the image as it is)",
                        elem_id="step",
                        interactive=True,
                    )
                    shown = gr.HTML(elem_id="stage", apply_default_css=False)
                    with gr.Accordion("Numbers", open=False):
                        numbers = gr.JSON(show_label=False, elem_id="numbers")
                    with gr.Accordion("Certificate of this image", open=False, elem_id="certificate"):
                        sigma = gr.Slider(0.05, 1.0, 0.25, step=0.05, label="σ of the noise")
                        draws = gr.Slider(
                            50, 2000, 200, step=50, label="Draws (more prove more, and take longer)"
                        )
                        prove = gr.Button("Certify", elem_id="certify")
                        proof = gr.HTML(elem_id="proof", apply_default_css=False)
                        proof_numbers = gr.JSON(visible=False)
            about = [image, label, model, score, coverage]
            seen = [climb, shown, place, numbers]
            private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
            refit = {"inputs": [model, threat], "outputs": [attack]}
            chosen = picker.submit(self._told(self._choose), [model, invert], [image, label], **private)
            looked = [chosen.then(self._look, about, seen, **private, **job)]
            inverted = invert.input(self._invert, [image], [image], **private)
            looked.append(inverted.then(self._look, about, seen, **private, **job))
            started = [picker, image, label, threat, gate, score]
            loaded = blocks.load(self._start, [model], started, **private)
            switched = model.input(self._start, [model], started, **private)
            for begun in (loaded, switched):
                looked.append(begun.then(self._look, about, seen, **private, **job))
                begun.then(self._attacks, **refit, **private)
            threat.input(self._attacks, **refit, **private)
            for part in (label, score, coverage):
                event = part.release if part is coverage else part.input
                looked.append(event(self._look, about, seen, **private, **job))
            given = [*about, threat, attack, eps, steps, seed]
            self._pressed(go, self._attack, given, seen, api_name="attack", **job)
            stop.click(self._stop, queue=False, **private)
            place.input(
                self._turn, [climb, model, place], [shown, numbers], trigger_mode="always_last", **private
            )
            given, told = [image, label, model, sigma, draws], [proof, proof_numbers]
            self._pressed(prove, self._certify, given, told, api_name="certify", **job)
        # nothing waits for minutes behind a dozen others
        blocks.queue(max_size=12, default_concurrency_limit=4)
        return blocks

    def _picture(self) -> tuple[Any, ...]:
        gr, names = self.gradio, list(self.sessions)
        model = gr.Dropdown(names, value=self.first, label="Models", visible=len(names) > 1, elem_id="models")
        picker = gr.HTML(
            chooser(self.sessions[self.first].lineup),
            js_on_load=(TEMPLATES / "chooser.js").read_text(encoding="utf-8"),
            elem_id="chooser",
            apply_default_css=False,
        )
        invert = gr.Checkbox(False, label="Invert: dark on light becomes light on dark", elem_id="invert")
        label = gr.Dropdown(
            self._labels(self.first), value=UNKNOWN, label="True class", elem_id="label", filterable=False
        )
        return model, picker, label, invert

    def _attacker(self) -> tuple[Any, ...]:
        gr, usual = self.gradio, Attacker()
        threats = self._threats(self.first)
        threat = gr.Radio(threats, value=threats[0][1], label="The attacker knows", elem_id="threat")
        attack = gr.Dropdown(
            self._names(self.first, threats[0][1]),
            value=usual.attack,
            label="Attack",
            elem_id="attacks",
            filterable=False,
        )
        eps = gr.Slider(1, 64, 16, step=1, label="L∞ budget eps, in 255ths", elem_id="eps")
        steps = gr.Slider(
            1, MOST_STEPS, usual.steps, step=1, label="Steps (of attacks that have them)", elem_id="steps"
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, visible=False)
        return threat, attack, eps, steps, seed

    def _gate(self) -> tuple[Any, ...]:
        gr = self.gradio
        scores = [("no gate", _NO_GATE), *((entry.title, name) for name, entry in SCORES.items())]
        score = gr.Dropdown(
            scores,
            value=_NO_GATE,
            label="Score that looks for attacks",
            elem_id="score",
            filterable=False,
        )
        coverage = gr.Slider(0.5, 1.0, COVERAGE, step=0.01, label="Share of clean images to accept")
        return score, coverage

    def _labels(self, model: str) -> list[tuple[str, int]]:
        names = self.sessions[model].lineup.class_names
        return [("as the bare classifier sees it", UNKNOWN), *((name, k) for k, name in enumerate(names))]

    def _threats(self, model: str) -> list[tuple[str, str]]:
        words = map(threat_words, threat_names(self.sessions[model].lineup.models))
        return [(f"{each.name}: {each.short}", each.name) for each in words]

    def _names(self, model: str, threat: str) -> list[tuple[str, str]]:
        judged = list(self.sessions[model].lineup.models.values())[-1]
        return [(attack_words(name).title, name) for name in fitting_attacks(threat, judged)]

    def _pressed(
        self, button: Any, work: Callable[..., Any], inputs: list[Any], outputs: list[Any], **event: Any
    ) -> None:
        """Work that a button begins; until its end the button waits, since a click would be lost silently."""
        gr = self.gradio
        switch: dict[str, Any] = {"outputs": button, "queue": False, "api_visibility": "private"}
        switch["show_progress"] = "hidden"
        pressed = button.click(lambda: gr.Button(interactive=False), **switch)
        worked = pressed.then(work, inputs, outputs, show_progress="minimal", **event)
        worked.then(lambda: gr.Button(interactive=True), **switch)

    def _told(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """A handler that is given the event as well, which gradio knows by an annotation of its own type."""

        def run(model, invert, event):  # type: ignore[no-untyped-def]
            return handler(model, invert, event)

        run.__annotations__ = {"event": self.gradio.EventData}
        return run

    # what happens

    def _start(self, model: str) -> tuple[Any, ...]:
        """A lineup is shown with its first example, or nothing where it has none."""
        gr, session = self.gradio, self._session(model)
        picture, label = "", UNKNOWN
        if (examples := session.lineup.examples) is not None:
            picture, label = data_url(examples.to_float()[0]), int(examples.labels[0])
        threats = self._threats(model)
        return (
            chooser(session.lineup),
            picture,
            gr.Dropdown(self._labels(model), value=label),
            gr.Radio(threats, value=threats[0][1]),
            # without clean images there is no threshold
            gr.Accordion(visible=session.lineup.clean is not None),
            _NO_GATE,
        )

    def _attacks(self, model: str, threat: str) -> Any:
        """The attacks that make sense for an attacker."""
        names = self._names(model, threat)
        usual = Attacker().attack
        known = [name for _, name in names]
        return self.gradio.Dropdown(names, value=usual if usual in known else known[0])

    def _choose(self, model: str, invert: bool, event: Any) -> tuple[str, int]:
        """A picture comes in; from here on it is as large as the model's images."""
        sent = getattr(event, "_data", None) or {}
        with self._said():
            kind, text = str(sent.get("kind")), str(sent.get("image"))
            session = self._session(model)
            if kind == "example":
                return self._example(session, text)
            picture, shape = read_data_url(text), session.lineup.shape
            if kind == "drawing":
                return data_url(fit_drawing(picture, shape, extent=_extent(session))), UNKNOWN
            return data_url(fit(picture, shape, invert=invert)), UNKNOWN

    def _example(self, session: Session, place: str) -> tuple[str, int]:
        examples = session.lineup.examples
        if examples is None or not place.isdecimal() or int(place) >= len(examples):
            raise InputError(f"example {place[:20]!r}: there is no such one")
        return data_url(examples.to_float()[int(place)]), int(examples.labels[int(place)])

    def _invert(self, image: str) -> str:
        with self._said():
            return data_url(1 - _exactly(image)) if image else ""

    def _look(
        self, image: str, label: int, model: str, score: str, coverage: float
    ) -> tuple[Climb, str, Any, Any]:
        """The image before every model, before any attack."""
        if not image:
            return Climb(), _EMPTY, self._slider(1), None
        climb = Climb()
        with self._said():
            session = self._session(model)
            found = session.look(_image(session, image), _label(label), score=score, coverage=coverage)
        for moment in found.values():
            climb.add(moment)
        return climb, *self._shown(session, climb.latest, 1, 0)

    def _attack(
        self,
        image: str,
        label: int,
        model: str,
        score: str,
        coverage: float,
        threat: str,
        attack: str,
        eps: float,
        steps: int,
        seed: int,
    ) -> Iterator[tuple[Climb, str, Any, Any]]:
        """Attack every model, and show it step by step."""
        climb, shown = Climb(), 0.0
        with self._said():
            session = self._session(model)
            attacker = Attacker(attack=attack, threat=threat, eps=eps / 255, steps=steps, seed=int(seed))
            picture = _image(session, image)
            for moment in session.attack(picture, _label(label), attacker, score=score, coverage=coverage):
                climb.add(moment)
                if (now := time.monotonic()) - shown > _PAUSE:
                    shown = now
                    yield climb, *self._shown(session, climb.latest, climb.length, climb.length - 1)
        yield climb, *self._shown(session, climb.latest, climb.length, climb.length - 1)

    def _stop(self) -> None:
        """Whatever runs comes to its end."""
        for session in self.sessions.values():
            session.jobs.stop()

    def _turn(self, climb: Climb, model: str, place: float) -> tuple[Any, Any]:
        """An earlier step."""
        session = self._session(model)
        if not climb.moments or set(climb.moments) != set(session.lineup.models):
            return self.gradio.skip(), self.gradio.skip()
        shown, _, numbers = self._shown(session, climb.at(int(place)), climb.length, int(place))
        return shown, numbers

    def _certify(self, image: str, label: int, model: str, sigma: float, draws: int) -> tuple[str, Any]:
        """Certificates of the image as it is."""
        with self._said():
            session = self._session(model)
            picture = _image(session, image)
            found = session.certify(picture, _label(label), sigma=sigma, n=int(draws))
        return certificates(session.lineup, found), certificate_numbers(session.lineup, found)

    def _shown(
        self, session: Session, moments: Mapping[str, Moment], length: int, place: int
    ) -> tuple[str, Any, dict[str, Any]]:
        names = session.lineup.class_names
        numbers = {title: moment.numbers(names) for title, moment in moments.items()}
        return stage(session.lineup, moments), self._slider(length, place), numbers

    def _slider(self, length: int, place: int = 0) -> Any:
        # a slider without a way to go would divide by zero
        return self.gradio.Slider(0, max(length - 1, 1), place, step=1)

    def _session(self, model: str) -> Session:
        if model not in self.sessions:
            raise InputError(f"models: no {str(model)[:80]!r}; known: {', '.join(self.sessions)}")
        return self.sessions[model]

    def _said(self) -> "_Said":
        return _Said(self.gradio)


class _Said:
    """What cannot be used is said on the page in one line."""

    def __init__(self, gradio: Any) -> None:
        self.gradio = gradio

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError):
            raise self.gradio.Error(" ".join(str(error).split()), print_exception=False) from None


def _image(session: Session, text: str) -> Tensor:
    if not text:
        raise InputError("no image yet: choose an example, a picture or a drawing")
    return fit(read_data_url(text), session.lineup.shape)


def _exactly(text: str) -> Tensor:
    """A picture in its own size."""
    picture = read_data_url(text)
    return fit(picture, (len(picture.getbands()), picture.height, picture.width))


def _label(label: int) -> int | None:
    return None if label == UNKNOWN else label


@functools.cache
def _extent(session: Session) -> float:
    clean = session.lineup.clean
    return EXTENT if clean is None else extent_of(as_float(clean))


_HEAD = (
    "<h1>An attack, step by step</h1>"
    "<p>One spiking classifier, bare and behind purifiers. Every model is attacked by itself, by an attacker "
    "with the same budget and the same knowledge. A single image proves nothing: "
    "<code>purespike evaluate</code> measures robustness, with intervals and a verdict.</p>"
)
_EMPTY = "<p class='ps-soft'>Choose an example, a picture or a drawing.</p>"
