"""The blocks of every page run in the order in which they stand, at tiny settings, in one folder."""

import dataclasses
import functools
import importlib
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

import purespike as ps
from purespike import cli
from purespike.evaluation import plan
from purespike.text import parse_attack

from . import tiny, workspace
from .pages import SHELL, blocks, lines, read

# CONTRIBUTING has a test of its own (tests/extending), docs/events.md has one in tests/events, and the
# programs of the README have theirs
RUN = {
    "README.md": (),
    "docs/certifying.md": (),
    "docs/checking.md": (),
    "docs/defending.md": (),
    "docs/demo.md": (),
    "docs/evaluating.md": (),
    "docs/exporting.md": (),
    "docs/peers.md": (),
    "docs/recipes.md": (),
    "docs/rejecting.md": (),
    "docs/tutorial.md": (),
    "docs/zoo.md": (),
    "docs/howto/own-attack.md": (),
    "docs/howto/own-classifier.md": ("spikingjelly", "snntorch"),
    "docs/howto/own-data.md": (),
    "docs/howto/own-defence.md": (),
    "docs/howto/own-neuron.md": (),
    "docs/howto/paper-table.md": (),
    "docs/howto/verdict.md": (),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    before = Path.cwd()
    os.chdir(folder)
    try:
        workspace.make(folder)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def place(prepared, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    cheap = {name: _cheap(suite) for name, suite in plan.SUITES.items()}
    monkeypatch.setattr(plan, "SUITES", cheap)
    return folder


def _cheap(suite):
    """The first attacks of a suite, each at its cheapest: tests/evaluation has the suites themselves."""
    written = [each if isinstance(each, str) else written_attack(each) for each in suite.attacks]
    texts = dict.fromkeys(tiny.attacks(text) for text in written if text != "autoattack")
    attacks = tuple(parse_attack(text) for text in [*texts][:3])
    return dataclasses.replace(suite, attacks=attacks, surrogates=suite.surrogates[:2])


def written_attack(attack):
    return ":".join([attack["name"], *(f"{key}={value}" for key, value in attack.items() if key != "name")])


def call(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["purespike", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr()
    # an evaluation or a table with objections ends with 3 where --strict asks for it
    allowed = (0, None, 3) if "--strict" in words else (0, None)
    assert stop.value.code in allowed, f"purespike {' '.join(words)}\n{said.err[-2000:]}"


def names():
    """What the programs of a page take for granted."""
    model, test = ps.load("runs/mine"), ps.data.load_data("npz:arrays/mine").test
    found = {
        "ps": ps,
        "torch": torch,
        "model": model,
        "other": ps.load("other.safetensors"),
        "small_evaluate": functools.partial(ps.evaluate, max_cost=1),
    }
    return found | {"images": test.to_float()[:4], "labels": test.labels[:4], "data": test}


@pytest.mark.parametrize("page", RUN)
def test_a_page_works_from_top_to_bottom(page, place, monkeypatch, capsys):
    missing = [each for each in RUN[page] if importlib.util.find_spec(each) is None]
    namespace, ran, made = names(), 0, set()
    for block in blocks(read(page)):
        if block.title:
            Path(block.title).write_text(block.text)
            if block.title.endswith(".yaml"):
                workspace.small_recipe(block.title)
            elif "def network" in block.text and not any(each in block.text for each in missing):
                module = block.title.removesuffix(".py")
                weights = next(word for word in block.text.split('"') if word.endswith(".pt"))
                workspace.save_weights(module, weights)
                assert importlib.import_module(module).my_classifier()(torch.rand(2, 1, 16, 16)).shape == (
                    2,
                    10,
                )
        elif block.language == "python" and page != "README.md":
            exec(compile(tiny.program(block.text), page, "exec"), namespace)
            ran += 1
        elif block.language in SHELL:
            for words in lines(block):
                if words[0] == "purespike" and words[1] != "--version" and not tiny.too_long(words):
                    written = tiny.folder(words[1:])
                    if written is not None and written not in made:
                        # the workspace has what other pages begin with
                        shutil.rmtree(written, ignore_errors=True)
                        made.add(written)
                    call(tiny.command(words[1:]), monkeypatch, capsys)
                    ran += 1
    assert ran
    if missing:
        pytest.skip(f"the rest of the page ran; without {', '.join(missing)} its networks were not built")


def test_every_page_with_blocks_runs():
    from .pages import PAGES

    with_blocks = {
        page
        for page in PAGES
        for block in blocks(read(page))
        if block.language == "python" or (block.language in SHELL and "purespike " in block.text)
    }
    elsewhere = {"CONTRIBUTING.md", "docs/events.md"}
    only_long = {"docs/reproduction.md", "docs/howto/several-machines.md"}
    assert with_blocks - elsewhere - only_long == set(RUN), (
        "a page with commands or programs belongs into RUN"
    )
