"""Sections of the report page: a function each, registered under the heading that it fills."""

import base64
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from purespike.console import warn
from purespike.errors import InputError
from purespike.files import write_bytes
from purespike.reading import brief
from purespike.registration import registering
from purespike.reporting.drawing import png
from purespike.reporting.html import engine
from purespike.reporting.robustness import Table, robustness_tables
from purespike.results import Epoch, Evaluation, Provenance, Samples, read_history
from purespike.yaml_text import read_yaml


@dataclass(frozen=True)
class Report:
    """A run whose report is written: its evaluation, and what else its folder holds, read when asked for.

    Args:
        folder: folder of the run.
        evaluation: the measured evaluation.
    """

    folder: Path
    evaluation: Evaluation

    @functools.cached_property
    def tables(self) -> list[Table]:
        """The robustness table of every eps."""
        return robustness_tables(self.evaluation)

    @functools.cached_property
    def history(self) -> list[Epoch]:
        """The epochs of ``history.jsonl``.

        Raises:
            InputError: missing, empty or damaged.
        """
        path = self.folder / "history.jsonl"
        rows = read_history(path)
        if not rows:
            raise InputError(f"{path}: {'holds no epoch' if path.exists() else 'no such file'}")
        return rows

    @functools.cached_property
    def samples(self) -> Samples:
        """The example images of ``samples.npz``.

        Raises:
            InputError: missing or damaged.
        """
        return Samples.read(self.folder / "samples.npz")

    @functools.cached_property
    def environment(self) -> Provenance:
        """Origin of the run, of ``environment.json``.

        Raises:
            InputError: missing or damaged.
        """
        return Provenance.read(self.folder / "environment.json")

    @functools.cached_property
    def recipe(self) -> Mapping[str, Any]:
        """The settings of ``recipe.yaml``.

        Raises:
            InputError: missing or damaged.
        """
        path = self.folder / "recipe.yaml"
        value = read_yaml(path)
        if not isinstance(value, dict):
            raise InputError(f"{path}: not a mapping of settings")
        return value

    def fill(self, template: str, **values: Any) -> Markup:
        """A template of this package filled with values; text is escaped."""
        return Markup(engine().get_template(template).render(values))

    def draw(self, name: str, figure: Callable[[], Figure]) -> bytes:
        """Draw a figure and write it to ``figures/NAME.png``; the PNG is returned.

        Raises:
            InputError: whatever ``figure`` raises.
        """
        content = png(figure())
        write_bytes(self.folder / "figures" / f"{name}.png", content)
        return content

    def figure(self, name: str, alt: str, caption: str, figure: Callable[[], Figure]) -> Markup:
        """A figure with its caption, embedded in the page and written to ``figures/NAME.png``.

        Raises:
            InputError: whatever ``figure`` raises; the page shows it in place of the section.
        """
        uri = f"data:image/png;base64,{base64.b64encode(self.draw(name, figure)).decode('ascii')}"
        return self.fill("figure.html.j2", uri=uri, alt=alt, caption=caption)


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Args:
        name: anchor of the section.
        title: its heading.
        body: content of the section, given the report: HTML as ``Markup``, or text, which is escaped. An
            :class:`~purespike.errors.InputError` is shown in its place; any other error too, and on stderr.
    """

    name: str
    title: str
    body: Callable[[Report], str]

    def render(self, report: Report) -> Markup:
        """The body as HTML, or the reason why it is left out."""
        try:
            content = self.body(report)
            if not isinstance(content, str):
                raise TypeError(f"it returned {type(content).__name__}, not text")
        except InputError as error:
            return Markup('<p class="absent">Left out: {}.</p>').format(str(error))
        except (Exception, SystemExit) as error:
            # the other sections and the numbers are worth a page
            reason = f"section {self.name!r} failed, {type(error).__name__}: {brief(error)}"
            warn(f"report: {reason}; the page is written without it")
            return Markup('<p class="absent">Left out: {}.</p>').format(reason)
        return content if isinstance(content, Markup) else Markup("<p>{}</p>").format(content)


SECTIONS: list[Section] = []
"""The sections of the page, from top to bottom."""


@registering('@section("name", "Title")')
def section(
    name: str, title: str, *, before: str = ""
) -> Callable[[Callable[[Report], str]], Callable[[Report], str]]:
    """Register a function as a section of the page.

    Args:
        name: anchor of the section, unlike all others.
        title: its heading.
        before: name of the section that follows it; the last place if not given.

    Raises:
        InputError: the name is taken, or there is no section ``before``.
    """
    names = [one.name for one in SECTIONS]
    if name in names:
        raise InputError(f"report: section {name!r} is registered twice")
    if before and before not in names:
        raise InputError(f"report: no section {before!r}; there are {', '.join(names)}")

    def register(body: Callable[[Report], str]) -> Callable[[Report], str]:
        SECTIONS.insert(names.index(before) if before else len(SECTIONS), Section(name, title, body))
        return body

    return register
