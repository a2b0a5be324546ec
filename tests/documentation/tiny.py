"""The commands and programs of the documentation at settings so small that a test can run them."""

import re
from pathlib import Path

from purespike.attacks.registry import describe_attack, list_attacks
from purespike.text import parse_attacks

# a setting that costs time, and what it becomes
CHEAP = {"steps": 1, "queries": 2, "restarts": 1, "samples": 1, "search_steps": 1, "eot": 1}
TRAINING = [
    *("data.train_limit=20", "data.test_limit=10", "data.source=npz:arrays/mine"),
    *("classifier.width=0.03", "classifier.time_steps=1", "classifier.epochs=1", "classifier.batch_size=20"),
    *(
        "purifier.width=0.1",
        "purifier.time_steps=2",
        "purifier.epochs=1",
        "purifier.batch_size=5",
        "purifier.learning_rate=0.01",
    ),
    *("evaluation.attacks=fgsm", "evaluation.images=4", "evaluation.diagnose=0", "evaluation.max_cost=1"),
    *("evaluation.curve=null", "evaluation.curve_eps=[]"),
]
# for each command, options that come last and so win
SETTINGS = {
    "evaluate": ["--images", "4", "--batch-size", "4", "--max-cost", "1"],
    "transfer": ["--images", "4", "--batch-size", "4", "--data", "npz:arrays/mine"],
    "reject": ["--images", "4", "--batch-size", "4", "--calibration-images", "10", "--attacks", "fgsm"],
    "certify": ["--images", "2", "--n", "20", "--n0", "2"],
}
# of a program in Python
WORDS = {
    "steps=20": "steps=1",
    "images=64": "images=4",
    "ps.evaluate(": "small_evaluate(",
    "images=100": "images=2",
    "n=10_000": "n=20",
    "steps=4": "steps=1",
    "**entry.evaluation": 'attacks=["fgsm"], images=2, diagnose=0',
    # the models of the workspace see images of one channel
    '"digits"': '"npz:arrays/mine"',
}
# long on any machine, a GPU, downloads, a page that waits, models of another size, or the noise that only a
# trained estimator tells apart: read by the command line, but not run here
LONG = (
    *("--device cuda", "reproduce ", "--temporal cifar10", "results/", "reject runs/joint"),
    *("purespike demo", "export mymodule"),
)


def too_long(words):
    return any(part in " ".join(words) for part in LONG)


def attacks(text):
    """Attacks as written, each at its cheapest."""
    found = []
    for each in parse_attacks(text):
        name = each["name"]
        known = describe_attack(name).settings if name in list_attacks() else ()
        settings = {key: value for key, value in each.items() if key != "name"}
        settings |= {key: value for key, value in CHEAP.items() if key in known or key in settings}
        found.append(":".join([name, *(f"{key}={str(value).lower()}" for key, value in settings.items())]))
    return ",".join(dict.fromkeys(found))


def command(words):
    """The arguments of ``purespike``, shrunk."""
    start = 2 * words.count("--import")
    before, name, rest = words[:start], words[start], words[start + 1 :]
    rest = [attacks(word) if at and rest[at - 1] == "--attacks" else word for at, word in enumerate(rest)]
    if name in ("run", "train"):
        # first, so that what the page sets comes after it and holds; its epochs are small, or shrunk below
        at = 1 if name == "run" else 2
        sets = [word for setting in _fitting(rest) for word in ("--set", setting)]
        return [*before, name, *rest[:at], *sets, *rest[at:]]
    if name == "evaluate":
        # a verdict needs an examination, whose least is four images
        rest += SETTINGS[name] + ["--diagnose", "4" if "--strict" in rest else "0"]
        return [*before, name, *rest]
    return [*before, name, *rest, *SETTINGS.get(name, [])]


def folder(words):
    """The run folder that a command of purespike writes, if it trains."""
    name, *rest = words[2 * words.count("--import") :]
    if name not in ("run", "train"):
        return None
    if "--out" in rest:
        return Path(rest[rest.index("--out") + 1])
    return Path("runs") / Path(rest[0 if name == "run" else 1]).stem


def _fitting(rest):
    source = next((word for word in rest if word.startswith("data.source=")), "")
    kept = [each for each in TRAINING if not (source and each.startswith("data.source="))]
    if any("dynamics" in word for word in rest):
        kept = [each for each in kept if "thresholds" not in each]
    return kept


def program(text):
    for long, short in WORDS.items():
        text = text.replace(long, short)
    return re.sub(r"pgd:steps=\d+", "pgd:steps=1", text)
