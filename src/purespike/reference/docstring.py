"""Docstrings as text: their first paragraph, and what they say about arguments."""

import inspect
import re

# :class:`~purespike.neurons.MultiLevelFiring`, with the last name shown
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?([\w]+)`")
_MATH = re.compile(r":math:`([^`]*)`")
_LITERAL = re.compile(r"``(.+?)``")


def plain(text: str) -> str:
    """``text`` on one line, as Markdown: roles and literals are code."""
    text = _MATH.sub(r"`\1`", " ".join(text.split()))
    return _LITERAL.sub(r"`\1`", _ROLE.sub(r"`\1`", text))


def summary(docstring: str | None) -> str:
    """The first paragraph."""
    return plain(inspect.cleandoc(docstring or "").split("\n\n")[0])


def arguments(docstring: str | None) -> dict[str, str]:
    """The entries of the section ``Args:`` by name."""
    text = inspect.cleandoc(docstring or "")
    match = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in (match.group(1) if match else "").splitlines():
        if begun := re.match(r"    (\w+): (.*)", line):
            name, found[begun.group(1)] = begun.group(1), begun.group(2)
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return {key: _sentence(plain(value)) for key, value in found.items()}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if re.match(r"[a-z]+[ ,.;:]", text) else text
