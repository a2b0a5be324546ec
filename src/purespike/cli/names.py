"""Names that the shell completes, and checks before the heavy imports; tests compare the registries."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from purespike.errors import unknown
from purespike.reading import regular_file
from purespike.settings import EvaluationSettings
from purespike.zoo.names import PREFIX, check_zoo

SUITES = ("quick", "standard", "full", "table4")
ATTACKS = (
    *("apgd_ce", "apgd_dlr", "autoattack", "autoattack_rand", "cw", "fab", "fgsm", "gaussian_noise"),
    *(
        "flips",
        "flips_add",
        "flips_remove",
        "ifgsm",
        "mifgsm",
        "pgd",
        "pgd_counts",
        "sa_pgd",
        "sparse_search",
    ),
    *("spsa", "square"),
)
THREATS = ("undefended", "oblivious", "bpda", "adaptive", "seed_known", "transfer", "query")
SOURCES = (
    *("digits", "digits16", "digits-events", "digits-events-counts"),
    *("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"),
    *("hub:OWNER/NAME", "folder:/path", "npz:/path/NAME", "idx:/path", "events:/path"),
)
EXPERIMENTS = (
    *("table1", "table2", "table3", "table4", "fig1", "fig4", "fig5", "transfer", "ablation"),
    *("holding", "holding-ablation", "peers", "peers-sweep"),
)
SCALES = ("paper", "gpu", "cpu")
NORMS = ("linf", "l2", "l0")
SURROGATES = (
    *("assg", "atan", "bptr", "exponential", "gaussian", "hart", "pdsg", "ratebased", "rectangle"),
    *("sigmoid", "straightthrough", "triangle"),
)
LOSSES = ("ce", "margin")
DEVICES = ("auto", "cpu", "cuda", "mps")
SPLITS = ("test", "train", "all")
SCORES = (
    *("disagreement", "firing_rate", "noise_max", "noise_mean", "prediction_change"),
    "purification_distance",
)
VALUES: dict[str, Sequence[str]] = {
    "suite": SUITES,
    "attacks": ATTACKS,
    "curve": ATTACKS,
    "threats": (*THREATS, "all"),
    "norm": NORMS,
    "surrogates": SURROGATES,
    "losses": LOSSES,
    "score": SCORES,
    # typed up to the colon
    "data": [name[: name.find(":") + 1] or name for name in SOURCES],
    "device": DEVICES,
    "precision": ("fp32", "bf16", "fp16"),
    "track": ("tensorboard",),
}


def completion(option: str) -> Callable[[str], list[str]] | None:
    """Completion of an option's values, the last of a list with commas; ``None`` without any."""
    if option not in VALUES:
        return None

    def complete(incomplete: str) -> list[str]:
        *before, last = incomplete.split(",")
        prefix = "".join(f"{part}," for part in before)
        return [f"{prefix}{name}" for name in VALUES[option] if name.startswith(last)]

    return complete


def check_names(
    settings: dict[str, Any], models: Sequence[str], *, data: str | None = None, split: str = "test"
) -> None:
    """Check the settings of a command, and the names in them, before PyTorch is imported.

    Args:
        settings: settings as text.
        models: models of the command; code of the user's own (``module:function``) may register further
            attacks, threat models and data sources.
        data: data source; ``None`` if the run's own is taken.
        split: split of the data.

    Raises:
        InputError: a value out of range, an unknown suite, attack, threat model, norm, data source or split,
            or a checkpoint that is missing.
    """
    checked = EvaluationSettings.of(**settings)
    if checked.suite is not None and checked.suite not in SUITES:
        raise unknown("suite", checked.suite, SUITES)
    own = any(map(_of_the_user, models))
    if not own:
        for attack in checked.attacks or ():
            if isinstance(attack.get("name"), str):
                _check("attack", attack["name"], ATTACKS)
        for threat in checked.threats:
            _check("threat model", threat, (*THREATS, "all"))
        _check("norm", checked.norm, NORMS)
        for surrogate in checked.surrogates or ():
            _check("surrogate", surrogate.partition("(")[0].strip().lower(), SURROGATES)
        for loss in checked.losses or ():
            _check("attack loss", loss, LOSSES)
    _check("split", split, SPLITS)
    check_models(*models)
    if data is not None and not own:
        check_source(data)


def check_device(device: str) -> None:
    """Check the name of a device.

    Raises:
        InputError: an unknown one.
    """
    _check("device", device, DEVICES)


def check_score(score: str | None, models: Sequence[str]) -> None:
    """Check the name of a score before PyTorch is imported; code of the user's own may register further ones.

    Raises:
        InputError: an unknown one.
    """
    if score is not None and not any(map(_of_the_user, models)):
        _check("score", score.partition(":")[0].strip(), SCORES)


def check_models(*models: str) -> None:
    """Check that models exist, but for those of ``module:function``.

    Raises:
        InputError: no such checkpoint, or no such model of the zoo.
    """
    for model in models:
        if model.startswith(PREFIX):
            check_zoo(model)
        elif ":" not in model and not Path(model).is_dir():
            regular_file(model, kind="checkpoint")


def _of_the_user(model: str) -> bool:
    """Whether a model is made by code of the user's own, which may register further names."""
    return ":" in model and not model.startswith(PREFIX)


def check_source(source: str) -> None:
    """Check the name of a data source.

    Raises:
        InputError: an unknown one.
    """
    name, colon, _ = source.partition(":")
    if name + colon not in VALUES["data"]:
        _check("data set", source, SOURCES)


def check_experiments(experiments: Sequence[str], scale: str) -> None:
    """Check the names of the paper's experiments, and of a scale.

    Raises:
        InputError: an unknown one.
    """
    for experiment in experiments:
        _check("experiment", experiment, (*EXPERIMENTS, "all"))
    if not Path(scale).is_file():
        _check("scale", scale, (*SCALES, "a YAML file"))


def _check(kind: str, name: str, known: Sequence[str]) -> None:
    # a module of --import may have registered more; with PyTorch imported, the registries answer at once
    if name not in known and "torch" not in sys.modules:
        raise unknown(kind, name, known)
