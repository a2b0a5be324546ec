"""An evaluation on clean and on corrupted images, side by side."""

from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from purespike.checks import as_float
from purespike.chunks import Json, Store
from purespike.data import ImageSet
from purespike.data.corrupted import SEVERITIES, Corruptions, read_corruptions
from purespike.errors import InputError
from purespike.evaluation.runner import Runner
from purespike.evaluation.threat import Scene
from purespike.models import Defended
from purespike.models.fit import check_fit
from purespike.models.guard import lent
from purespike.models.identity import identity
from purespike.modes import mode
from purespike.progress import bar
from purespike.results import CleanScores, Corrupted, CorruptionScore, Evaluation
from purespike.settings import EvaluationSettings


def open_fitting(place: str | Path | Corruptions, model: nn.Module) -> Corruptions:
    """The corrupted images of a folder, tried on ``model``.

    Raises:
        InputError: as :func:`~purespike.data.corrupted.read_corruptions` raises, or images that do not fit.
    """
    corruptions = place if isinstance(place, Corruptions) else read_corruptions(place)
    first = corruptions.images(corruptions.names[0], 1, torch.arange(min(2, len(corruptions.labels))))
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    try:
        with mode(model, training=False):
            check_fit(model, as_float(first.images.to(device)), corruptions.labels)
    except InputError as error:
        raise InputError(f"corrupted images {corruptions.name}: {error}") from error
    return corruptions


def with_corrupted(
    evaluation: Evaluation,
    model: nn.Module,
    corruptions: Corruptions,
    attack: Callable[[ImageSet, EvaluationSettings], Evaluation],
    settings: EvaluationSettings,
    *,
    seed: int,
    accelerator: Accelerator,
    folder: Path | None,
) -> Evaluation:
    """``evaluation`` with the same measured on corrupted images.

    Without an attack every corruption is measured at every severity, on as many images as were attacked
    clean. The attacks meet each of these images once, corrupted in one of all ways, which occur equally
    often: so many attacks as on clean images, not as many for each of 95 kinds. Nothing is escalated or
    examined.

    Args:
        evaluation: evaluation on clean images.
        model: the attacked model.
        corruptions: corrupted images.
        attack: function that evaluates ``model`` on other images.
        settings: settings of the evaluation.
        seed: seed of the evaluation.
        accelerator: device and processes.
        folder: place of finished pieces.
    """
    labels = torch.tensor(evaluation.labels)
    rows = corruptions.rows(len(labels), seed=seed)
    accuracies = _accuracies(model, corruptions, rows, settings, seed, accelerator, folder)
    plain = EvaluationSettings.of(settings, images=None, diagnose=0, curve=None, curve_eps=())
    attacked = attack(corruptions.mixed(rows, seed=seed), plain)
    corrupted = Corrupted(
        source=corruptions.name,
        accuracies=accuracies,
        data=attacked.data,
        same_images=len(rows) == len(labels) and torch.equal(corruptions.labels[rows], labels),
        clean=attacked.clean,
        cells=attacked.cells,
    )
    return evaluation.model_copy(update={"corrupted": corrupted})


def _accuracies(
    model: nn.Module,
    corruptions: Corruptions,
    rows: torch.Tensor,
    settings: EvaluationSettings,
    seed: int,
    accelerator: Accelerator,
    folder: Path | None,
) -> tuple[CorruptionScore, ...]:
    """Accuracy under each corruption at each severity; what an earlier run finished is read back."""
    store = Store(folder, "corruptions", identity(model), seed, settings.batch_size, [rows])
    runner = Runner(
        scene=Scene(model, (), settings.losses, None, {}),
        images=torch.empty(0),
        labels=torch.empty(0, dtype=torch.int64),
        threats=(),
        batch_size=settings.batch_size,
        seed=seed,
        passes=1,
        accelerator=accelerator,
        store=store,
    )
    found = []
    work = len(corruptions.names) * SEVERITIES * len(rows) * (2 if isinstance(model, Defended) else 1)
    speaks = accelerator.is_main_process
    with (
        lent({"the model": model}),
        mode(model.to(accelerator.device), training=False),
        bar("corrupted images", work, unit="passes", show=speaks) as progress,
    ):
        for name in corruptions.names:
            for severity in range(1, SEVERITIES + 1):
                images = corruptions.images(name, severity, rows)
                scores = store.get(
                    Json(CleanScores),
                    (name, severity, images.fingerprint()),
                    lambda images=images: runner.clean_whole(images),  # type: ignore[misc]
                    write=speaks,
                )
                progress.advance(work // len(corruptions.names) // SEVERITIES, name)
                parts = {"undefended": scores.undefended, "defended": scores.defended}
                found.append(CorruptionScore(corruption=name, severity=severity, **parts))
    return tuple(found)
