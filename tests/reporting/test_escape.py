"""Names of models are whatever their authors like, and stay harmless."""

import re

import markupsafe
import pytest

from purespike.reporting import escape
from purespike.reporting.grid import csv_text
from purespike.reporting.html import engine

NASTY = r"a&b_c%d$x^2~#{}\ <script> | [x] * `y` ∞ −"


def unescaped(text: str) -> str:
    """LaTeX read back by hand: braces that group vanish, commands become what they print."""
    commands = {
        r"\textbackslash{}": "\\",
        r"\textasciicircum{}": "^",
        r"\textasciitilde{}": "~",
        r"\textless{}": "<",
        r"\textgreater{}": ">",
        r"\textbar{}": "|",
        r"$\infty$": "∞",
        "$-$": "−",
        "{[}": "[",
        "{*}": "*",
    }
    pattern = "|".join(re.escape(command) for command in commands) + r"|\\[&%$#_{}]"
    return re.sub(pattern, lambda match: commands.get(match[0], match[0][-1:]), text)


def test_latex_escapes_and_reads_back() -> None:
    text = escape.latex(NASTY)
    assert unescaped(text) == NASTY
    # what is left after every escape holds no character that TeX would act on
    bare = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\$[^$]*\$|\{[\[*]\}", "", text)
    assert not re.search(r"[\\{}$&#%_^~<>|*\[]", bare)


@pytest.mark.parametrize("text", ["two\nlines", "tab\tbed", "null\0byte", "sep\u2028arated"])
def test_a_name_stays_on_its_line(text: str) -> None:
    for made in (escape.latex(text), escape.markdown(text)):
        assert made == re.sub(r"[\n\t\0\u2028]", " ", text)


@pytest.mark.parametrize("readable", [False, True])
def test_markdown_is_inert(readable: bool) -> None:
    shown = escape.markdown("a|b <b> **c** [d](e) [![f]] [g]: h `f` \\| &amp; ~~g~~ $h$", readable=readable)
    assert not re.search(r"(?<!\\)[|*`\[\]~$]", shown)
    assert "<" not in shown and "&amp;amp;" in shown and r"\\\|" in shown


@pytest.mark.parametrize("text", ["50.0 [37.5, 62.5]", "C&W-50", "Accuracy in % [95% Wilson interval] on x"])
def test_readable_text_keeps_what_means_nothing(text: str) -> None:
    assert escape.markdown(text, readable=True) == text != escape.markdown(text)


STEERING = "\x1b[31mred\x07\x9b\x7f \u202egnp.exe\u2066 \0"


@pytest.mark.parametrize(
    "written",
    [
        escape.latex,
        escape.markdown,
        lambda text: csv_text(["head"], [[text]]),
        lambda text: engine().from_string("<b title='{{ text }}'>{{ text }}</b>").render(text=text),
    ],
    ids=["latex", "markdown", "csv", "html"],
)
def test_no_text_steers_a_terminal_or_turns_the_direction(written) -> None:
    made = written(STEERING)
    assert "red" in made and "gnp.exe" in made
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", made)


def test_marked_up_text_of_a_page_stays_so() -> None:
    assert engine().from_string("{{ text }}").render(text=markupsafe.Markup("<b>\0a</b>")) == "<b>a</b>"
