"""What all figures share: colours, a clean set of axes, labels that do not overlap, PNG and SVG."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.results.vocabulary import THREATS

INK, FAINT, GRID = "#22262b", "#6b7280", "#e4e6ea"
RIGHT, WRONG = "#00695c", "#b3261e"
EDGE = "#b9bec5"

SERIES = ("#0077bb", "#b5174b", "#e08a00", "#009988", "#7b4fb5", "#7a828c")

# widths in inches; a wide figure fills the column of a page on a desk, a narrow one a phone of 390 pixels
WIDE, NARROW = 10.0, 4.6
# sizes in points: at least 11 pixels in either figure, where the page is as narrow as it may be for it
TITLE, TEXT = 12.0, 11.0

_VARIABLES = {
    INK: "ink",
    FAINT: "soft",
    GRID: "line",
    EDGE: "edge",
    "#ffffff": "card",
    RIGHT: "right",
    WRONG: "wrong",
}


def new_figure(width: float, height: float) -> Figure:
    """A white figure of ``width`` by ``height`` inches with constrained layout."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def dress(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: str = "y", text: float = 9) -> None:
    """Give ``axes`` a left-aligned title, quiet labels, light grid lines along one axis and no box.

    Args:
        axes: axes to dress.
        title: title.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        grid: axis whose ticks have grid lines, ``"x"``, ``"y"`` or ``"both"``.
        text: size of the tick labels in points; labels and title are slightly larger.
    """
    axes.patch.set_visible(False)
    axes.set_title(
        title, loc="left", fontsize=max(11, text + 1), color=INK, fontweight="bold", pad=10, parse_math=False
    )
    axes.set_xlabel(x, fontsize=max(9.5, text), color=FAINT)
    axes.set_ylabel(y, fontsize=max(9.5, text), color=FAINT)
    axes.tick_params(which="both", colors=FAINT, labelsize=text, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(EDGE)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart to at least ``gap`` inside ``[low, high]``, keeping their order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    placed = [values[index] for index in order]
    for _ in range(50):
        for index in range(1, len(placed)):
            lack = gap - (placed[index] - placed[index - 1])
            if lack > 0:
                placed[index - 1] -= lack / 2
                placed[index] += lack / 2
        placed = [min(max(value, low), high) for value in placed]
    result = [0.0] * len(values)
    for index, value in zip(order, placed, strict=True):
        result[index] = value
    return result


def lay_out(figure: Figure) -> Figure:
    """Lay the figure out once, however often it is saved afterwards."""
    with _no_word_of_glyphs():
        if engine := figure.get_layout_engine():
            engine.execute(figure)
    figure.set_layout_engine("none")
    return figure


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    _save(figure, buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element of a page, the same text for the same figure.

    Words stay text. The colours of this module and of the threat models become the page's variables, so
    that the figure is legible on a dark page too; its background is transparent.

    Args:
        figure: figure.
        name: word before every identifier, unlike those of all other figures of the page.
    """
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        _save(figure, buffer, format="svg", facecolor="none", metadata=no_metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # styles of an element inside a page would hold for all of it; the page's own say the same
    text = re.sub(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>\s*", "", text, count=1)
    text = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*" ', r"\1", text, count=1)
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)
    text = re.sub(r'(<\w+ (?:xlink:)?(?:id="|href="#)|clip-path="url\(#)', rf"\g<1>{name}-", text)
    variables = _VARIABLES | {words.color: words.name for words in THREATS.values()}
    return re.sub(
        r"\b(fill|stroke): (#[0-9a-f]{6})",
        lambda found: f"{found[1]}: {_variable(found[2], variables)}",
        text,
    )


def _save(figure: Figure, buffer: io.StringIO | io.BytesIO, **settings: Any) -> None:
    with _no_word_of_glyphs():
        figure.savefig(buffer, **settings)


@contextlib.contextmanager
def _no_word_of_glyphs() -> Iterator[None]:
    """A name in letters that the font lacks is drawn as boxes, without a line for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def _variable(color: str, variables: dict[str, str]) -> str:
    return f"var(--{variables[color]}, {color})" if color in variables else color
