"""Text from files, made harmless; names of models are whatever their authors like."""

import re

from purespike.console import plain

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # after the end of a row these two would be read as its arguments
    "[": "{[}",
    "*": "{*}",
    "∞": r"$\infty$",
    "σ": r"$\sigma$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "†": r"$\dagger$",
}


def latex(text: str) -> str:
    """``text`` as LaTeX that prints it: special characters escaped, line breaks blank."""
    return "".join(_LATEX.get(character, character) for character in _one_line(text))


def markdown(text: str, *, readable: bool = False) -> str:
    """``text`` as it is in a cell of a Markdown table: no emphasis, no link, no HTML, no further cell.

    Args:
        text: any text.
        readable: whether brackets that begin no link and ampersands that begin no entity stay as they are.
    """
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~$#!])", r"\\\1", text)
    if readable:
        text = re.sub(r"&amp;(?!#?\w+;)", "&", text)
        text = re.sub(r"(?<![\\!\]])\\\[([^\[\]\\]*)\\\](?!\(|:|\\\[)", r"[\1]", text)
    return text


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\u2028\u2029]", " ", plain(text, " ")).split())
