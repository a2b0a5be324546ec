"""Sections of the report page: a function each, registered under the heading that it fills."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from purespike.console import warn
from purespike.errors import Absent, InputError
from purespike.files import write_bytes
from purespike.reading import brief
from purespike.registration import registering
from purespike.reporting.drawing import lay_out, png, svg
from purespike.reporting.html import engine
from purespike.reporting.robustness import Table, robustness_tables
from purespike.results import Comparison, Epoch, Evaluation, Provenance, Samples, read_history
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
            Absent: missing or empty.
            InputError: damaged.
        """
        rows = read_history(self._file("history.jsonl"))
        if not rows:
            raise Absent(f"{self.folder / 'history.jsonl'}: holds no epoch")
        return rows

    @functools.cached_property
    def samples(self) -> Samples:
        """The example images of ``samples.npz``.

        Raises:
            Absent: missing.
            InputError: damaged.
        """
        return Samples.read(self._file("samples.npz"))

    @functools.cached_property
    def comparison(self) -> Comparison:
        """The comparison with other runs, of ``comparison.json``.

        Raises:
            Absent: missing.
            InputError: damaged.
        """
        return Comparison.read(self._file("comparison.json"))

    @functools.cached_property
    def environment(self) -> Provenance:
        """Origin of the run, of ``environment.json``.

        Raises:
            Absent: missing.
            InputError: damaged.
        """
        return Provenance.read(self._file("environment.json"))

    @functools.cached_property
    def recipe(self) -> Mapping[str, Any]:
        """The settings of ``recipe.yaml``.

        Raises:
            Absent: missing.
            InputError: damaged.
        """
        path = self._file("recipe.yaml")
        value = read_yaml(path)
        if not isinstance(value, dict):
            raise InputError(f"{path}: not a mapping of settings")
        return value

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise Absent(f"{path}: no such file")
        return path

    def fill(self, template: str, **values: Any) -> Markup:
        """A template of this package filled with values; text is escaped."""
        return Markup(engine().get_template(template).render(values))

    def draw(self, name: str, figure: Callable[[], Figure]) -> Figure:
        """Draw a figure and write it to ``figures/NAME.png``.

        Raises:
            InputError: whatever ``figure`` raises.
        """
        drawn = lay_out(figure())
        write_bytes(self.folder / "figures" / f"{name}.png", png(drawn))
        return drawn

    def figure(
        self,
        name: str,
        alt: str,
        caption: str,
        figure: Callable[[], Figure],
        narrow: Callable[[], Figure] | None = None,
    ) -> Markup:
        """A figure with its caption, embedded in the page and written to ``figures/NAME.png``.

        Args:
            name: name of the file, unlike those of all other figures.
            alt: content of the figure in a few words, for those who do not see it.
            caption: sentences below.
            figure: function that draws it, ten inches wide.
            narrow: function that draws it for screens too narrow for the other, 4.6 inches wide; those see
                the wide one if not given.

        Raises:
            InputError: whatever ``figure`` raises; the page shows it in place of the section, or nothing if
                it is an :class:`~purespike.errors.Absent`.
        """
        drawn = self.draw(name, figure)
        wide = Markup(svg(drawn, name))
        slim = Markup(svg(narrow(), f"{name}-narrow")) if narrow else None
        return self.fill("figure.html.j2", wide=wide, narrow=slim, alt=alt, caption=caption)


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Args:
        name: anchor of the section.
        title: its heading.
        body: content of the section, given the report: HTML as ``Markup``, or text, which is escaped. An
            :class:`~purespike.errors.InputError` is shown in its place; after an
            :class:`~purespike.errors.Absent`, or without any content, the section does not appear. Any other
            error is shown as well, and on stderr.
    """

    name: str
    title: str
    body: Callable[[Report], str]

    def render(self, report: Report) -> Markup:
        """The body as HTML, empty if there is nothing to show, or the reason why it is left out."""
        try:
            content = self.body(report)
            if not isinstance(content, str):
                raise TypeError(f"it returned {type(content).__name__}, not text")
        except Absent:
            return Markup()
        except InputError as error:
            return Markup('<p class="absent">Left out: {}.</p>').format(str(error))
        except (Exception, SystemExit) as error:
            # the other sections and the numbers are worth a page
            reason = f"section {self.name!r} failed, {type(error).__name__}: {brief(error)}"
            warn(f"report: {reason}; the page is written without it")
            return Markup('<p class="absent">Left out: {}.</p>').format(reason)
        if not content or isinstance(content, Markup):
            return Markup(content)
        return Markup("<p>{}</p>").format(content)


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
