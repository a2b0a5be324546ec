"""The pages of the documentation, their blocks and commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *("README.md", "CONTRIBUTING.md", "results/README.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
_FENCE = re.compile(r"^```([\w-]*)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`((?:purespike|make|accelerate|torchrun|python)\s[^`]+)`(?!`)")
SHELL = ("sh", "bash", "console", "shell")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is (``title="…"``), and its text."""

    language: str
    title: str
    text: str


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text):
    found = []
    for language, rest, content in _FENCE.findall(text):
        title = re.search(r'title="([^"]+)"', rest)
        found.append(Block(language, title[1] if title else "", content))
    return found


def lines(block):
    """The commands of a shell block, without comments, as lists of words."""
    text = block.text.replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def commands(text):
    """All commands of a page, with whether they are whole: shell blocks; inline code may not be."""
    found = [(words, True) for block in blocks(text) if block.language in SHELL for words in lines(block)]
    for code in _INLINE.findall(_FENCE.sub("", text)):
        words = " ".join(code.split())
        if "…" not in words and not re.search(r"\b[A-Z]{3,}\b", words):
            found.append((shlex.split(words), False))
    return found
