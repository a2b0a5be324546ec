"""Command lines: misspelt, contradictory, out of range, and made of random pieces."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from torture.inputs.made import Input, Oracle
from torture.scenes import Desk

BEGIN = "evaluate {run} --device cpu"
SETTINGS: dict[str, tuple[str, ...]] = {
    "--eps": ("", ",", "-1", "8", "nan", "inf", "1e999999999", "8/0", "8/255/2", "８/255", "8/255,,", "0x1"),
    "--attacks": ("", ",", "pgd:", "pgd:steps", "pgd:steps=", "pgd:steps=0", "pgd:steps=1e99", "pgd:=3", ":"),
    "--threat": ("", "al", "adaptive,adaptve", ",", "\x1b[31m"),
    "--images": ("0", "-1", "1.5", "", "many", "9" * 400),
    "--batch-size": ("0", "-3", "nan", "1e9"),
    "--seed": ("-1", "x", "9" * 400, "1.0"),
    "--surrogates": (
        "",
        "atn",
        "atan(alpha=)",
        "atan(alpha=nan)",
        "atan(alpha=-1)",
        "atan((",
        "rectangle(a=1)",
    ),
    "--losses": ("", "mse", "ce,", "ce ce"),
    "--norm": ("", "l3", "LINF"),
    "--suite": ("", "standrd", "full "),
    "--diagnose": ("-1", "many"),
    "--max-cost": ("-5", "x"),
    "--data": (
        "",
        "digist",
        "npz:",
        "npz:/nowhere/x",
        "folder:",
        "folder:/nowhere",
        "digits:x",
        "hub:",
        ":",
        "\x00",
    ),
    "--split": ("", "tests", "../test"),
    "--device": ("", "gpu", "cuda:99", "meta"),
    "--purifier": ("", "nowhere", "{run}", "{run}/classifier.safetensors"),
    "--substitute": ("", "=", "a=", "=b", "a=nowhere"),
    "--out": ("{run}", "{run}/recipe.yaml", "/dev/null", "/proc/x", "x" * 300, "{run}/recipe.yaml/deeper"),
    "--name": ("",),
}
# with these the evaluation itself is small, and may well be right
ALLOWED = {
    ("--eps", "８/255"),
    ("--seed", "1.0"),
    ("--images", "9" * 400),
    ("--batch-size", "1e9"),
    ("--norm", "LINF"),
    ("--name", ""),
}
ALLOWED |= {("--surrogates", ""), ("--losses", "ce,"), ("--losses", "ce ce"), ("--threat", "adaptive,")}
LINES: dict[str, tuple[Oracle, str]] = {
    "unknown command": ("bad", "evalute {run}"),
    "unknown option": ("bad", "evaluate {run} --image 3"),
    "no model": ("bad", "evaluate"),
    "two models": ("bad", "evaluate {run} {run}"),
    "option without value": ("bad", "evaluate {run} --eps"),
    "help": ("good", "evaluate --help"),
    "version": ("good", "--version"),
    "no model of that name": ("bad", "info nowhere"),
    "model of spaces": ("bad", "info  "),
    "folder without models": ("bad", "info {run}/figures"),
    "info of a page": ("bad", "info {run}/report.html"),
    "transfer without target": ("bad", "transfer --substitute {run}"),
    "transfer of one name": ("bad", "transfer --substitute a={run} --substitute a={run} --target b={run}"),
    "noise has no substitute": (
        "bad",
        "transfer --substitute a={run} --target b={run} --attacks gaussian_noise --images 2",
    ),
    "leaderboard of nothing": ("bad", "leaderboard nowhere"),
    "leaderboard of a file": ("bad", "leaderboard {run}/report.html"),
    "leaderboard without cards": ("bad", "leaderboard {run}/figures"),
    "leaderboard into a file": ("bad", "leaderboard {run} --out {run}/recipe.yaml"),
    "reproduce nothing": ("bad", "reproduce"),
    "reproduce a misspelling": ("bad", "reproduce tabel1"),
    "reproduce at no scale": ("bad", "reproduce table1 --scale cup"),
    "reproduce at a recipe": ("bad", "reproduce table1 --scale {desk}/tiny.yaml"),
    "reproduce from nowhere": ("bad", "reproduce table1 --scale {desk}/scale.yaml --data cifar10"),
    "no seeds": ("bad", "reproduce table1 --seeds 0"),
    "run of a run": ("bad", "run {run}"),
    "run into another's folder": ("bad", "run {desk}/tiny.yaml --out {run} --seed 9"),
    "classifier takes no classifier": ("bad", "train classifier {desk}/tiny.yaml --classifier {run}"),
    "purifier of no classifier": ("bad", "train purifier {desk}/tiny.yaml --classifier nowhere"),
    "train what": ("bad", "train {desk}/tiny.yaml"),
    "precision": ("bad", "run {desk}/tiny.yaml --precision fp31"),
    "purify nothing": ("bad", "purify --model {run} nowhere.png out.png"),
    "purify without model": ("bad", "purify in.png out.png"),
}
OVERRIDES = (
    *("seed", "seed=", "=3", "seed.a=3", ".=1", "classifier=5", "classifier.epochs=[", "classifier.epoch=3"),
    *("purifier.gamma=0.5", "classifier.width=.inf", "classifier.width=1e9", "seed=2020-99-99", "seed=*a"),
    *("data.source=" + "x" * 5000, "seed=" + "9" * 6000, "a" * 200_000 + "=1", "classifier..epochs=2"),
    *("seed=!!python/name:os.system", "evaluation.eps=[1e999999999]", "\u202eseed=1", "seed=" + "[" * 3000),
)
PIECES = (
    *(
        "evaluate",
        "run",
        "train",
        "transfer",
        "{run}",
        "{desk}/tiny.yaml",
        "--out",
        "--eps",
        "--set",
        "-",
        "--",
    ),
    *(
        "--images",
        "--data",
        "digist",
        "1e400",
        "-1",
        "=",
        "\udcff",
        "é" * 50,
        "--help ",
        "*",
        "../..",
        "\n",
        "'",
    ),
)


def generate() -> Iterator[Input]:
    """Every command line."""
    for option, values in SETTINGS.items():
        for value in values:
            oracle: Oracle = "may pass" if (option, value) in ALLOWED else "bad"
            yield Input(f"evaluate {option}", oracle, partial(_option, option, value))
    for name, (oracle, line) in LINES.items():
        yield Input(name, oracle, partial(_line, line))
    for override in OVERRIDES:
        yield Input(
            "--set", "bad", partial(_line, f"train classifier {{desk}}/tiny.yaml --out out --set {override}")
        )
    for _ in range(15):
        yield Input("random pieces", "may pass", _pieces)


def _filled(part: str, desk: Desk) -> str:
    return part.replace("{run}", str(desk.run)).replace("{desk}", str(desk.folder))


def _option(option: str, value: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    small = {
        "--attacks": "fgsm",
        "--images": "2",
        "--diagnose": "0",
        "--threat": "adaptive",
        "--losses": "ce",
    }
    small |= {"--surrogates": "rectangle(width=1)"} | {option: _filled(value, desk)}
    if option == "--suite":
        del small["--attacks"]
    # an empty value would end the line early with a separate word
    return [*_filled(BEGIN, desk).split(" "), *(f"{key}={text}" for key, text in small.items())]


def _line(line: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    return [_filled(part, desk) for part in line.split(" ")] if line else []


def _pieces(folder: Path, desk: Desk, draw: Random) -> list[object]:
    return [_filled(draw.choice(PIECES), desk) for _ in range(draw.randint(1, 6))]
