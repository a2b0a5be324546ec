"""Every command on every page is one that the command line takes, with values and files that exist."""

import pytest

from . import command_line
from .pages import PAGES, blocks, commands, read

CASES = [(page, words, whole) for page in PAGES for words, whole in commands(read(page))]
NAMES = [f"{page}: {' '.join(words)}" for page, words, _ in CASES]


def test_the_pages_have_commands():
    assert len(CASES) > 120
    assert {"docs/tutorial.md", "docs/howto/own-classifier.md"} <= {page for page, *_ in CASES}


@pytest.mark.parametrize(("page", "words", "whole"), CASES, ids=NAMES)
def test_a_command_is_understood(page, words, whole, monkeypatch):
    monkeypatch.setattr(command_line.options, "import_module", lambda *_, **__: None)
    files = [block.title for block in blocks(read(page)) if block.title]
    if words[0] == "purespike":
        command_line.check(words[1:], files, whole=whole)
    else:
        command_line.check_other(words)


@pytest.mark.parametrize(
    "wrong",
    [
        "evaluate runs/mine --atacks fgsm",
        "evaluate runs/mine --attacks fgmsm",
        "evaluate runs/mine --attacks pgd:stepps=2",
        "evaluate runs/mine --suite standrd",
        "run recipes/nothing.yaml",
        "run recipes/digits.yaml --set classifier.epoch=1",
        "train classifer recipes/digits.yaml",
        "evaluate missing.safetensors --data digits",
        "evaluate runs/mine --surrogates atna",
        "recipe classifier.epohcs",
        "reproduce table7",
    ],
)
def test_a_wrong_one_would_be_found(wrong):
    with pytest.raises(Exception):  # noqa: B017  the command line, a recipe, a registry or an assertion says so
        command_line.check(wrong.split())
