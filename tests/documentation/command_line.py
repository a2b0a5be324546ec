"""Commands of the documentation, read by the real command line, their values checked, nothing run."""

import importlib
import itertools
import re
from pathlib import Path

import typer

from purespike.attacks import create_attack
from purespike.cli import app, options
from purespike.cli.names import check_source
from purespike.evaluation.plan import resolve
from purespike.evaluation.threat import THREATS
from purespike.recipe import load_recipe
from purespike.reference import find
from purespike.rejection.registry import SCORES
from purespike.reproduction import EXPERIMENTS, SCALES
from purespike.settings import EvaluationSettings

from .pages import ROOT

__all__ = ["check", "check_other", "options", "parse"]

# what the pages say there is: models, modules and files of the reader's own
MODELS = {"model.safetensors", "other.safetensors", "a.safetensors", "b.safetensors"}


def parse(words, *, whole=True):
    """The name of a purespike command and its parameters, as the command line reads them.

    One that is not ``whole`` may lack arguments.
    """
    group = typer.main.get_group(app)
    context = group.make_context("purespike", list(words), resilient_parsing=True)
    rest = [*getattr(context, "_protected_args", []), *context.args]
    name = ""
    while hasattr(group, "commands") and (rest or (whole and "--version" not in words)):
        part, *rest = rest
        assert part in group.commands, f"no command {part}"
        name, group = f"{name} {part}".strip(), group.commands[part]
        context = group.make_context(part, rest, parent=context, resilient_parsing=not whole)
        rest = [*getattr(context, "_protected_args", []), *context.args]
    return name, context.params


def check(words, page_files=(), *, whole=True):
    """Check a command of purespike: its options, recipe, settings, names and files, by what reads them."""
    try:
        name, given = parse(words, whole=whole)
    except SystemExit as stop:
        # --help and --version are told at once
        assert stop.code in (0, None)
        return
    except typer.Exit:
        return
    imports = "--import" in words
    if given.get("recipe") and name != "recipe":
        path = Path(given["recipe"])
        if path.name not in page_files:
            recipe = ROOT / path
            assert recipe.is_file(), f"{recipe} is missing"
            own = [
                text
                for text in given["settings"]
                if not imports or ("dynamics" not in text and "source" not in text)
            ]
            check_source(load_recipe(recipe, own).data.source)
    if name == "recipe" and given.get("name"):
        assert find(given["name"])
    evaluated = {
        key: value for key, value in given.items() if key in EvaluationSettings.model_fields and value
    }
    if name in ("evaluate", "reject", "transfer"):
        settings = EvaluationSettings.of(**evaluated)
        if not imports:
            for attack in resolve(settings).attacks:
                create_attack(**({"name": attack} if isinstance(attack, str) else attack))
        for threat in settings.threats:
            assert threat in (*THREATS, "all")
    if given.get("score"):
        assert given["score"].partition(":")[0] in SCORES
    if given.get("data") and isinstance(given["data"], str):
        check_source(given["data"])
    for place in _models(name, given):
        known = place in MODELS or ":" in place or place.startswith("runs/") or (ROOT / place).exists()
        assert known, f"{place}: nothing on the pages makes it"
    if name == "reproduce" and given["experiments"]:
        assert set(given["experiments"]) <= {*EXPERIMENTS, "all"}
        assert given["scale"] in SCALES


def _models(name, given):
    places = [given.get("model"), given.get("purifier"), given.get("classifier")]
    for several in ("substitutes", "targets", "beside", "compare"):
        places += [text.rpartition("=")[2] for text in given.get(several) or ()]
    return [str(place) for place in places if place]


def check_other(words):
    """Check a command that is not purespike's: target, launcher or module exist and take these options."""
    match words:
        case ["make", target, *rest]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
            for assignment in rest:
                assert re.search(rf"^{assignment.partition('=')[0]} \?=", makefile, re.MULTILINE), assignment
        case ["accelerate", "launch"]:
            pass  # mentioned by name
        case ["accelerate", "launch", *rest]:
            from accelerate.commands.launch import launch_command_parser

            given = launch_command_parser().parse_args(rest)
            assert given.module and given.training_script == "purespike"
            check(given.training_script_args)
        case ["torchrun", *rest]:
            from torch.distributed.run import get_args_parser

            given = get_args_parser().parse_args(rest)
            assert given.module and given.training_script == "purespike"
            check(given.training_script_args)
        case ["python" | "python3", "-m", module, *rest]:
            if module in ("benchmarks", "shipping", "torture"):
                own = importlib.import_module(f"{module}.__main__").app
                typer.main.get_command(own).make_context(module, rest)
            else:
                assert module in ("venv", "http.server"), module
        case ["pip", "install", *rest]:
            assert all((ROOT / word).exists() for before, word in itertools.pairwise(rest) if before == "-c")
        case [".", place]:
            assert place == ".venv/bin/activate"
        case _:
            raise AssertionError(f"nobody knows how to check: {' '.join(words)}")
