"""Certified accuracy by randomised smoothing (Cohen et al. 2019), with or without a purifier as denoiser."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from purespike.certification.draws import BLOCK, count_votes
from purespike.certification.inputs import check_independent, named_models
from purespike.checks import as_float, check_seed, check_steps
from purespike.chunks import Json, Store, accelerator_for, gathered, shares
from purespike.data import ImageSet, given_images
from purespike.environment import provenance
from purespike.errors import InputError
from purespike.evaluation.inputs import Pair, describe_model, read_images
from purespike.models.fit import check_fit, precision_of
from purespike.models.guard import ModelFailure, lent
from purespike.models.identity import identity
from purespike.modes import mode, normal, outside_inference_mode
from purespike.progress import Bar, bar
from purespike.results import DataDescription, Provenance
from purespike.results.certification import Certificate, Certification, CertifiedModel
from purespike.results.record import Count, Number, Record
from purespike.seeding import digest, seeded
from purespike.smoothing import Smoothing

PIECE = 100 * BLOCK
"""Draws of an image that are kept in one file; a killed command loses no more."""


@outside_inference_mode()
def certify(
    model: nn.Module | Callable[[Tensor], Tensor],
    data: str | ImageSet | Pair,
    *,
    sigma: float | str = 0.25,
    n: int = 10_000,
    alpha: float = 0.001,
    n0: int = 100,
    compare: Mapping[str, nn.Module | Callable[[Tensor], Tensor]] | None = None,
    alone: bool = False,
    name: str | None = None,
    images: int | None = None,
    batch_size: int = 100,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    folder: str | Path | None = None,
) -> Certification:
    r"""Certify each image: the smoothed prediction, and an L2 radius in which no attack can change it.

    The smoothed classifier answers with the class that :math:`f(x + \varepsilon)`,
    :math:`\varepsilon \sim N(0, \sigma^2 I)`, takes most often, f being ``model``: a purifier in front of a
    frozen classifier makes it denoised smoothing (Salman et al. 2020). ``n0`` draws select a class, ``n`` new
    ones bound its probability, :math:`R = \sigma\,\Phi^{-1}(\underline{p})`. Each certificate is false with a
    probability of at most ``alpha``. The noise is added to the raw pixels and never clipped; one draw is
    shown at all time steps. Draws depend on seed, image and number alone, and memory not on ``n``.

    Args:
        model: images to logits, a module or a function, which must take values outside [0, 1].
        data: name of a source (its test split), an ``ImageSet``, a ``Dataset`` or ``DataLoader`` of pairs, or
            ``(images [N, C, H, W] in [0, 1], labels [N])``.
        sigma: standard deviation of the noise, in pixel units (1 = full range).
        n: draws that estimate the probability of the selected class.
        alpha: probability that the certificate of an image is false.
        n0: draws that select the class.
        compare: further models to certify on the same images and draws, by name.
        alone: whether to leave out the bare classifier of a ``Defended``, certified beside it otherwise.
        name: name of ``model`` in the result; by default ``"defended model"`` or ``"model"``.
        images: largest number of images, a stratified subset; ``None`` for all.
        batch_size: draws per forward.
        seed: seed of every random draw.
        accelerator: device and processes; by default the device the model is on.
        folder: place of the counts, so that a killed command resumes and a larger ``n`` goes on from them;
            ``None`` keeps none.

    Returns:
        A certificate per image and model, certified accuracies, settings and provenance.

    Raises:
        InputError: settings that can certify nothing, a model in training mode, one that keeps state or
            whose images change each other's logits, or images or labels that do not fit it.
    """
    smoothing = Smoothing(sigma=sigma, n=n, n0=n0, alpha=alpha)
    seed, size = check_seed(seed), check_steps(batch_size, name="batch_size")
    limit = None if images is None else check_steps(images, name="images")
    models = named_models(model, compare, name=name, alone=alone)
    question = next(iter(models.values()))
    accelerator = accelerator_for(question, accelerator)
    pixels, labels, description = read_images(given_images(data, question), limit=limit, seed=seed)
    pixels, labels = normal(pixels), normal(labels)
    if not len(labels):
        raise InputError("certify: no images")
    device = accelerator.device
    with contextlib.ExitStack() as modes:
        for each in models.values():
            modes.enter_context(mode(each.to(device), training=False))
        modes.enter_context(lent(models))
        modes.enter_context(seeded(seed, "certify", device=device))
        # the caller's own would be certified in its precision, and used in another one
        modes.enter_context(torch.autocast(device.type, enabled=False))
        first = as_float(pixels[:8].to(device))
        classes = {key: check_fit(each, first, labels, name=key) for key, each in models.items()}
        stochastic = {key: check_independent(each, first, name=key) for key, each in models.items()}
        total = len(models) * len(labels) * (smoothing.n0 + smoothing.n)
        store = Store(folder, "certify", smoothing.sigma, seed)
        found = {}
        with bar("certification", total, unit="draws", show=accelerator.is_main_process) as progress:
            for key, each in models.items():
                smoothed = _Smoothed(
                    each, classes[key], smoothing, size, seed, stochastic[key], identity(each), store
                )
                try:
                    found[key] = smoothed.certify(pixels, labels, accelerator, progress)
                except ModelFailure as failure:
                    kept = "" if folder is None else f"; the counts before stay finished in {folder}"
                    raise ModelFailure(f"{failure}{kept}") from failure.__cause__
                progress.say(_line(key, found[key], description))
        return Certification(
            schema=1,  # type: ignore[call-arg]
            smoothing=smoothing,
            models=found,
            data=description,
            shape=tuple(pixels.shape[1:]),
            settings={
                "batch_size": size,
                "precision": precision_of(*models.values()),
                "processes": accelerator.num_processes,
            },
            seed=seed,
            provenance=Provenance(**provenance(seed=seed, device=device)),
        )


class Votes(Record):
    """Counts of some draws of one image by class, and last those of no class."""

    counts: tuple[Count, ...]
    seconds: Number = 0.0


@dataclass(frozen=True, eq=False)
class _Smoothed:
    """A model smoothed by noise.

    Args:
        model: images to logits.
        classes: K.
        smoothing: noise, draws and confidence.
        size: draws per forward.
        seed: seed of the draws.
        stochastic: whether the model draws numbers of its own, which depend on ``size``.
        identity: digest of the model.
        store: finished counts.
    """

    model: nn.Module
    classes: int
    smoothing: Smoothing
    size: int
    seed: int
    stochastic: bool
    identity: str
    store: Store

    def certify(
        self, pixels: Tensor, labels: Tensor, accelerator: Accelerator, progress: Bar
    ) -> CertifiedModel:
        """The certificates of all images, which the processes share."""
        rows = []
        for row in shares(len(labels), 1, accelerator):
            image = as_float(pixels[row].to(accelerator.device))
            rows.append((row, self._of_image(image, progress, accelerator.num_processes)))
        found = gathered(rows)
        certificates = [
            Certificate.of(label=label, selected=selected, n_a=n_a, smoothing=self.smoothing)
            for label, (selected, n_a, _) in zip(labels.tolist(), found, strict=True)
        ]
        return CertifiedModel(
            model=describe_model(self.model),
            certificates=tuple(certificates),
            seconds=round(sum(seconds for *_, seconds in found), 3),
            **({"stochastic": True} if self.stochastic else {}),
        )

    def _of_image(self, image: Tensor, progress: Bar, processes: int) -> tuple[int, int, float]:
        """Selected class of an image, its count among the n draws, and the seconds they took."""
        name = digest(image)

        def votes(stage: str, first: int, count: int) -> Votes:
            begun, counted = time.monotonic(), 0

            def done(draws: int) -> None:
                nonlocal counted
                counted += draws
                progress.advance(draws * processes)

            def compute() -> Votes:
                counts = count_votes(
                    self.model,
                    image,
                    self.seed,
                    stage,
                    name,
                    sigma=self.smoothing.sigma,
                    classes=self.classes,
                    first=first,
                    count=count,
                    size=self.size,
                    done=done,
                )
                return Votes(counts=tuple(counts), seconds=time.monotonic() - begun)

            def valid(kept: Votes) -> bool:
                return len(kept.counts) == self.classes + 1 and sum(kept.counts) == count

            key = self.identity, name, stage, first, count, self.size if self.stochastic else None
            found = self.store.get(Json(Votes), key, compute, valid=valid)
            progress.advance((count - counted) * processes)
            return found

        # the draws that select a class must not estimate it: it would be the luckiest one
        select = votes("select", 0, self.smoothing.n0)
        selected = max(range(self.classes), key=select.counts.__getitem__)
        n_a, seconds = 0, select.seconds
        for first in range(0, self.smoothing.n, PIECE):
            found = votes("estimate", first, min(PIECE, self.smoothing.n - first))
            n_a, seconds = n_a + found.counts[selected], seconds + found.seconds
        return selected, n_a, seconds


def _line(name: str, found: CertifiedModel, data: DataDescription) -> str:
    score = found.accuracy()
    return (
        f"{name}: smoothed accuracy {score.text}% {score.interval} of {data.n}, average certified L2 radius "
        f"{found.average_radius:.3f}, {found.abstained} abstained"
    )
