"""Docstrings as Markdown: roles become references, literals code, formulas MathML without scripts."""

import re
from typing import Any

import griffe
from latex2mathml.converter import convert

_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc):`(~?)([\w.]+)`")
_TITLED = re.compile(r":\w+:`([^`<]+) <([^`>]+)>`")
_INLINE = re.compile(r":math:`([^`]+)`")
_BLOCK = re.compile(r"^([ \t]*)\.\. math:: (.*(?:\n\1[ \t]+\S.*)*)", re.MULTILINE)
_LITERAL = re.compile(r"``(.+?)``")


def markdown(text: str) -> str:
    """A docstring in which everything but Google's sections is Markdown."""
    # griffe knows the section of several examples, which it shows as code
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    text = _BLOCK.sub(_block, text)
    text = _INLINE.sub(lambda match: formula(match[1]), text)
    text = _TITLED.sub(r"\1", text)
    text = _ROLE.sub(_reference, text)
    return _LITERAL.sub(r"`\1`", text)


def formula(latex: str, *, display: bool = False) -> str:
    """A formula as MathML."""
    latex = re.sub(r"\\\[([0-9.]+\w+)\]", "", " ".join(latex.split()))
    return str(convert(latex, display="block" if display else "inline"))


def _block(match: re.Match[str]) -> str:
    return f"{match[1]}<div>{formula(match[2], display=True)}</div>"


def _reference(match: re.Match[str]) -> str:
    short, name = match[1], match[2]
    shown = name.rpartition(".")[2] if short or "." not in name else name
    # not every name has a place on the site; one without is plain code
    place = name if name.startswith("purespike.") else ""
    code = f"<code>{shown}</code>"
    return f'<autoref optional identifier="{place}">{code}</autoref>' if place else f"`{shown}`"


class Markdown(griffe.Extension):
    """Translates every docstring as it is read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for each object with its docstring."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
