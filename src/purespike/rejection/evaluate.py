"""The protection that a gate gives, measured clean and under attack, once by an attacker who knows it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import pstdev
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from purespike.attacks.gate import GATES
from purespike.attacks.gradient import SignAttack
from purespike.attacks.protocol import has_setting, is_iterated, settings_of
from purespike.checks import as_float, check_seed
from purespike.chunks import accelerator_for
from purespike.data import ImageSet, given_images
from purespike.environment import provenance
from purespike.errors import InputError
from purespike.evaluation.inputs import Pair, check_fit, describe_model, is_stochastic, read_images
from purespike.evaluation.plan import AttackSpec, parse_budgets, passes_of, plan_jobs, resolve
from purespike.models.guard import lent
from purespike.modes import mode, normal, outside_inference_mode
from purespike.neurons import accepted
from purespike.progress import Bar, bar
from purespike.rejection.adversary import gate_routes
from purespike.rejection.findings import examine
from purespike.rejection.gated import Gated, threshold_of
from purespike.rejection.judging import Bench, Judged, store_for
from purespike.rejection.metrics import detection, risk_coverage
from purespike.rejection.rejecting import Rejecting
from purespike.results import AttackSettings, Provenance, Score
from purespike.results.rejection import CleanRejection, Rejection, RejectionCell, SlightlyPerturbed
from purespike.scalars import parse_number
from purespike.seeding import seeded
from purespike.settings import EvaluationSettings


@outside_inference_mode()
def evaluate_rejection(
    model: nn.Module,
    data: str | ImageSet | Pair,
    *,
    attacks: str | Sequence[AttackSpec] = ("pgd:steps=20",),
    eps: float | str | Sequence[float | str] = "8/255",
    norm: str = "linf",
    surrogates: str | Sequence[str] | None = None,
    losses: str | Sequence[str] = ("ce", "margin"),
    slight: float = 0.25,
    images: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    folder: Path | None = None,
) -> Rejection:
    """Measure a model with a gate: clean, attacked by who does not know it, and by who does.

    An attacker wins with an image that is accepted *and* misclassified. The oblivious one attacks the
    classifier alone, at full strength. The adaptive one attacks the whole over every surrogate, reset and
    loss, with a penalty on the gate of three weights and with the selective gradient, and of a ``Gated`` both
    branches; the worst of all per image counts.

    Args:
        model: a ``Rejecting`` or a ``Gated`` with a threshold.
        data: name of a source (its test split), an ``ImageSet``, a ``Dataset`` or ``DataLoader`` of pairs, or
            ``(images [N, C, H, W] in [0, 1], labels [N])``; none that the threshold was chosen on.
        attacks: attacks by gradient steps, as :class:`~purespike.settings.EvaluationSettings` takes them.
        eps: one or several budgets: L∞ in pixel units, or L2 radii.
        norm: ``"linf"`` or ``"l2"``.
        surrogates: surrogates of the adaptive attacker; by default those of :func:`purespike.evaluate`.
        losses: losses of the adaptive attacker.
        slight: share of each budget at which images accepted clean are attacked to be rejected, the price
            of rejecting; 0 leaves that out. A ``Gated`` rejects nothing.
        images: largest number of images, a stratified subset; ``None`` for all.
        batch_size: images per forward.
        seed: seed of every random draw.
        accelerator: device and processes; by default the device the model is on.
        folder: place of finished chunks, so that a killed evaluation resumes; ``None`` keeps none.

    Returns:
        The figures with their 95% intervals, image by image, with settings, findings and provenance.

    Raises:
        InputError: a model without a gate or a threshold, a stochastic model, clean scores that are all the
            same or not finite, an attack that cannot follow a gate, or budgets out of range.
    """
    if not isinstance(model, Rejecting | Gated):
        raise InputError(
            f"evaluate_rejection: {type(model).__name__} rejects nothing; give Rejecting(model, score) or "
            "Gated(purifier, classifier), calibrated"
        )
    threshold, seed, slight = threshold_of(model), check_seed(seed), _share(slight)
    given: dict[str, Any] = {} if surrogates is None else {"surrogates": surrogates}
    settings = resolve(
        EvaluationSettings.of(
            attacks=attacks, eps=eps, norm=norm, losses=losses, images=images, batch_size=batch_size, **given
        )
    )
    budgets = parse_budgets(settings.eps, settings.norm)
    plan = [_followable(job.attack) for job in plan_jobs(settings.attacks or (), budgets, norm=settings.norm)]
    accelerator = accelerator_for(model, accelerator)
    device = accelerator.device
    data = given_images(data, model)
    pixels, labels, description = read_images(data, limit=settings.images, seed=seed)
    pixels, labels = normal(pixels), normal(labels)
    inner = model.model if isinstance(model, Rejecting) else model
    with (
        mode(model.to(device), training=False),
        lent({"the model": inner}),
        seeded(seed, "rejection", device=device),
        torch.autocast(device.type, enabled=False),
    ):
        check_fit(model, pixels, labels, device)
        if is_stochastic(model, as_float(pixels[:8].to(device)), settings.thresholds.nondeterminism):
            raise InputError(
                "evaluate_rejection: the model is stochastic: the same image is accepted now and rejected "
                "then, and one pass judges neither; give a deterministic model"
            )
        known = accepted(model, settings.surrogates or ())
        bench = Bench(
            model=model,
            images=pixels,
            labels=labels,
            surrogates=known,
            losses=settings.losses,
            batch_size=settings.batch_size,
            seed=seed,
            accelerator=accelerator,
            store=store_for(folder, model, [pixels, labels], settings.batch_size, seed),
        )
        clean = bench.clean()
        unit = _spread(clean.scores)
        rejects = isinstance(model, Rejecting) and slight > 0
        routes = {attack: len(_routes(bench, attack)) for attack in plan}
        work = sum(passes_of(attack) * (1 + count) for attack, count in routes.items())
        work += sum(passes_of(attack) * len(known or (1,)) for attack in plan) if rejects else 0
        cells, slightly = [], []
        title, show = "rejection", accelerator.is_main_process
        with bar(title, work * len(labels), unit="passes", show=show, at_most=True) as progress:
            for attack in plan:
                each = passes_of(attack)
                told = _telling(progress, each, f"{attack.name}, oblivious")
                cells.append(_cell(attack, "oblivious", clean, bench.oblivious(attack, told)))
                progress.say(cells[-1].line())
                told = _telling(progress, each * routes[attack], f"{attack.name}, adaptive")
                cells.append(_cell(attack, "adaptive", clean, bench.adaptive(attack, unit, told)))
                progress.say(cells[-1].line())
                if rejects:
                    told = _telling(progress, each * len(known or (1,)), "made to be rejected")
                    slightly.append(_slight(attack, slight, bench, clean, unit, told))
        findings = examine(model, pixels, cells, description, device)
    return Rejection(
        schema_version=1,
        kind="rejecting" if isinstance(model, Rejecting) else "gated",
        model=describe_model(inner),
        score=model.score.text,
        threshold=threshold,
        data=description,
        norm=settings.norm,
        surrogates=tuple(known),
        losses=tuple(settings.losses),
        gates=GATES,
        clean=_clean(clean),
        cells=tuple(cells),
        slight=tuple(each for each in slightly if each is not None),
        findings=tuple(findings),
        labels=tuple(labels.tolist()),
        seed=seed,
        provenance=Provenance(**provenance(seed=seed, device=device)),
    )


def _share(value: float) -> float:
    share = parse_number(value, name="slight", example="0.25")
    if not 0 <= share <= 1:
        raise InputError(f"slight: a share of eps in [0, 1], got {value}")
    return share


def _followable(attack: Any) -> SignAttack:
    """``attack``, if it follows gradients and knows a gate."""
    if not (is_iterated(attack) and has_setting(attack, "gate")):
        raise InputError(
            f"evaluate_rejection: {attack.name} cannot follow a gate; use fgsm, ifgsm, mifgsm, pgd or sa_pgd"
        )
    return attack


def _spread(scores: Sequence[float]) -> float:
    """Standard deviation of the clean scores, the unit of the attacker's penalty."""
    limit = torch.finfo(torch.float32).max
    if broken := sum(score >= limit for score in scores):
        raise InputError(
            f"evaluate_rejection: the score is not finite on {broken} of {len(scores)} clean images"
        )
    if min(scores) == max(scores):
        raise InputError(
            f"evaluate_rejection: the score is {scores[0]:.4g} on all {len(scores)} clean images and tells "
            "nothing apart; train the purifier (a new one changes no image), or choose another score"
        )
    return max(pstdev(scores), torch.finfo(torch.float32).tiny)


def _routes(bench: Bench, attack: SignAttack) -> list[Any]:
    return gate_routes(bench.model, attack, surrogates=bench.surrogates, losses=bench.losses)


def _telling(progress: Bar, passes: int, note: str) -> Callable[[int], None]:
    return lambda count: progress.advance(count * passes, note)


def _selective(judged: Judged) -> Score | None:
    """Accuracy of the images that are answered."""
    kept = [right for right, answered in zip(judged.right, judged.answered, strict=True) if answered]
    return Score.of(kept) if kept else None


def _clean(judged: Judged) -> CleanRejection:
    return CleanRejection(
        coverage=Score.of(judged.passed),
        accuracy=Score.of(judged.right),
        selective=_selective(judged),
        curve=risk_coverage(judged.scores, judged.right),
        scores=tuple(judged.scores),
        right=tuple(judged.right),
    )


def _cell(attack: SignAttack, threat: str, clean: Judged, found: Judged) -> RejectionCell:
    # an attacker may leave an image as it is
    won = [
        int((a and not r) or (b and not s))
        for a, r, b, s in zip(found.answered, found.right, clean.answered, clean.right, strict=True)
    ]
    robust = [int(a and r and not lost) for a, r, lost in zip(clean.answered, clean.right, won, strict=True)]
    fooled = [
        score
        for score, before, after in zip(found.scores, clean.right, found.right, strict=True)
        if before and not after
    ]
    curve = {"curve": risk_coverage(found.scores, found.right)} if threat == "oblivious" else {}
    return RejectionCell(
        attack=attack.name,
        eps=attack.eps,
        norm=attack.norm,
        threat=threat,
        robust=Score.of(robust),
        won=Score.of(won),
        accepted=Score.of(found.passed),
        selective=_selective(found),
        outcomes=tuple(robust),
        scores=tuple(found.scores),
        right=tuple(found.right),
        detection=detection(clean.scores, fooled),
        settings=AttackSettings(**{k: v for k, v in settings_of(attack).items() if k != "name"}),
        components=tuple(found.components),
        forwards=found.forwards,
        backwards=found.backwards,
        seconds=found.seconds,
        warnings=found.warnings,
        **curve,
    )


def _slight(
    attack: SignAttack,
    share: float,
    bench: Bench,
    clean: Judged,
    unit: float,
    told: Callable[[int], None],
) -> SlightlyPerturbed | None:
    """Share of the images accepted clean that ``attack``, scaled to a share of its budget, makes rejected."""
    smaller = replace(attack, eps=share * attack.eps, step_size=share * attack.step_length)
    found = bench.refused(smaller, unit, told)
    rejected = [1 - after for before, after in zip(clean.passed, found.passed, strict=True) if before]
    if not rejected:
        return None
    return SlightlyPerturbed(
        attack=attack.name,
        eps=smaller.eps,
        norm=attack.norm,
        threat="adaptive",
        share=share,
        rejected=Score.of(rejected),
    )
