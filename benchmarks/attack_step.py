"""One step of PGD against a training step, and PGD-20 against foolbox's."""

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

import purespike
from benchmarks.measure import Settings, Side, times
from benchmarks.networks import batch, senet, training_step
from benchmarks.peers import available
from benchmarks.report import Result, timed
from purespike.attacks import SignAttack
from purespike.data import load_data
from purespike.models.predict import predict

VICTIM = "results/digits/classifier.safetensors"
EPS, STEPS, STEP_SIZE = 32 / 255, 20, 4 / 255


def run(settings: Settings) -> Result:
    device = settings.device
    result = Result(
        f"Attack steps: SENet18-SNN, {settings.batch} images; PGD-{STEPS} on the digits classifier"
    )
    images, labels = batch(settings.batch, device)
    trained, victim = senet(device), senet(device).eval()
    step = SignAttack(steps=1, eps=8 / 255, step_size=2 / 255)
    half = replace(step, precision="bf16")
    sides: dict[str, Side] = {
        "training": training_step(trained, images, labels),
        "training bf16": training_step(senet(device), images, labels, "bf16"),
        "PGD": lambda: step.perturb(victim, images, labels),
        "PGD bf16": lambda: half.perturb(victim, images, labels),
        "unfrozen": lambda: _unfrozen(victim, images, labels),
    }
    iterate = step.perturb(victim, images, labels)
    apart = (iterate - _unfrozen(victim, images, labels)).abs().max().item()
    same = f"iterates {apart:.1e} apart from those of .backward() on unfrozen parameters"
    agreeing = (half.perturb(victim, images, labels) == iterate).float().mean()
    rough = f"{agreeing.item():.0%} of the pixels take the same step as in fp32"
    seconds = times(sides, settings)
    result.rows = [
        timed("PGD step ÷ training step, fp32", seconds, "PGD", "training", bound=0.65, same=same),
        timed("PGD step bf16 ÷ training step fp32", seconds, "PGD bf16", "training", same=rough),
        timed("PGD step bf16 ÷ training step bf16", seconds, "PGD bf16", "training bf16", same=rough),
        timed(
            "PGD step with unfrozen parameters ÷ training step, fp32",
            seconds,
            "unfrozen",
            "training",
            same=same,
        ),
    ]
    _against_foolbox(result, settings)
    return result


def _unfrozen(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """A step as most code takes it: every parameter's gradient is computed, and thrown away."""
    leaf = images.clone().requires_grad_()
    functional.cross_entropy(model(leaf), labels, reduction="sum").backward()
    model.zero_grad()
    assert leaf.grad is not None
    moved = images + 2 / 255 * leaf.grad.sign()
    return moved.clamp(images - 8 / 255, images + 8 / 255).clamp(0, 1)


def _against_foolbox(result: Result, settings: Settings) -> None:
    reason = available("foolbox")
    if reason:
        result.skipped.append(reason)
        return
    import foolbox

    model = purespike.load(VICTIM).to(settings.device).eval()
    data = load_data("digits").test
    images, labels = data.to_float()[:64].to(settings.device), data.labels[:64].to(settings.device)
    right = predict(model, images).to(labels.device) == labels
    images, labels = images[right], labels[right]
    outer = foolbox.PyTorchModel(model, bounds=(0, 1), device=settings.device)
    foreign = foolbox.attacks.LinfPGD(abs_stepsize=STEP_SIZE, steps=STEPS, random_start=False)
    whole = SignAttack(eps=EPS, steps=STEPS, step_size=STEP_SIZE, keep="last")
    ours = replace(whole, keep="best", stop_early=True)

    def theirs() -> Tensor:
        return foreign(outer, images, labels, epsilons=EPS)[2]

    found = ours(model, images, labels)
    standing = {
        "ours": int((~found.success).sum()),
        "all steps": int((~whole(model, images, labels).success).sum()),
        "foolbox": int((~theirs()).sum()),
    }
    count = len(images)
    used = found.backwards / (count * STEPS)
    same = (
        f"robust under PGD-{STEPS}, L∞ eps 32/255, undefended, of {count} images: ours {standing['ours']}, "
        f"ours without leaving early {standing['all steps']}, foolbox {standing['foolbox']}"
    )
    seconds = times(
        {
            "ours": lambda: ours(model, images, labels),
            "all steps": lambda: whole(model, images, labels),
            "foolbox": theirs,
        },
        settings,
        warm=1,
    )
    result.extra["foolbox"] = {"standing": standing, "images": count}
    result.rows += [
        timed(
            f"PGD-{STEPS} ÷ foolbox's, most samples fall early",
            seconds,
            "ours",
            "foolbox",
            bound=0.7,
            same=same,
            note=f"{used:.0%} of the gradients that {STEPS} steps on all images take",
        ),
        timed(f"PGD-{STEPS} without leaving early ÷ foolbox's", seconds, "all steps", "foolbox"),
    ]
