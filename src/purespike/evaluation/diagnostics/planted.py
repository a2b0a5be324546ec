"""Planted adversarial images: does the attack find them? (group C; Zimmermann et al. 2022)."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC
from torch import Tensor, nn

from purespike.attacks import SignAttack
from purespike.attacks.objective import frozen_eval
from purespike.ball import Ball
from purespike.checks import copy_for
from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.results import Finding, Level
from purespike.seeding import generator

ZIMMERMANN = "Zimmermann et al. 2022, Increasing Confidence in Adversarial Robustness Evaluations"
# random points of the inner ball beside the image; share of eps of the inner ball; points of the full ball
INNER, SHRUNK, CONTROLS = 64, 0.95, 64
# points that the replaced model is asked about: those that the readout finds likest the planted one
CLOSEST = 8
# fewer images say nothing about a share of 95%
FEWEST = 4
# points in one forward
BATCH = 256
# images to plant beside
PLANTED = 12


class Readouts(NamedTuple):
    """One linear readout per image: ``features @ weight + bias`` is positive on the planted side.

    Args:
        anchors: the images, ``[N, C, H, W]``.
        weights: ``[N, F]``.
        biases: ``[N]``.
        norm: norm of the balls around the anchors.
    """

    anchors: Tensor
    weights: Tensor
    biases: Tensor
    norm: str


class Binarised(nn.Module):
    """A model whose last linear layer is replaced by a readout of two classes, one for each anchor.

    The layers after it stay. The nearest anchor decides which readout an image meets: the model is a function
    of the image, whatever batch an attack makes.

    Args:
        model: images ``[N, C, H, W]`` to logits.
        linear: its last linear layer.
        readouts: readouts of images farther apart than twice the budget.
    """

    def __init__(self, model: nn.Module, linear: nn.Linear, readouts: Readouts) -> None:
        super().__init__()
        self.model = model
        self.linear = [linear]  # not a submodule a second time
        self.readouts = readouts

    def forward(self, images: Tensor) -> Tensor:
        anchors, weights, biases, norm = self.readouts
        nearest = _distances(images.detach(), anchors, norm).argmin(1)

        def readout(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            features, last = _time_first(inputs[0], len(images))
            half = ((features * weights[nearest].to(features)).sum(-1) + biases[nearest].to(features)) / 2
            logits = torch.stack([-half, half], -1)
            return logits.transpose(0, 1) if last else logits.reshape(*inputs[0].shape[:-1], 2)

        hook = self.linear[0].register_forward_hook(readout)
        try:
            return self.model(images)
        finally:
            hook.remove()


def _passes(e: Examination) -> int:
    count = min(len(e), PLANTED)
    points = (2 + INNER + CONTROLS) + (2 + CLOSEST)
    return 1 + points * count + e.cost(e.attack, count, routes=e.routes)


@rule(order=190, passes=_passes)
def check_planted(e: Examination) -> Iterator[Finding]:
    """Does the attack find adversarial images that provably exist?

    On the features before the last linear layer a readout is trained that tells one point on the boundary of
    the image's ball, a random corner in L∞, from the image and random points of the inner ball (95% of eps).
    As in the paper, the readout replaces the last layer, and the attack has to find a point of the planted
    side. The planted one is such a point. The direction is that of the widest margin, to which the paper's
    logistic regression converges. Its threshold lies midway between the planted point and the nearest of the
    others, among them 64 random points of the full ball: a random search must not do. Its scale is that of
    the model's own logits at the image.

    An image is left out where no readout does this, in the features or in the model, whatever follows
    its last linear layer. One image may be missed in any case.
    """
    model, images, _ = e.first(PLANTED)
    images = _apart(images, 2 * e.attack.eps, e.attack.norm)
    with frozen_eval(model), torch.no_grad():
        linear = _last_linear(model, images[:1])
        if linear is None:
            yield _inapplicable("the model does not end in a linear layer (nn.Linear)")
            return
        try:
            binarised = _plant(model, linear, images, e.attack)
        except (RuntimeError, ValueError, IndexError):
            yield _inapplicable("what follows the last linear layer takes all classes")
            return
    victims = binarised.readouts.anchors
    count, skipped = len(victims), len(images) - len(victims)
    if count < FEWEST:
        yield _inapplicable(f"of {len(images)} images {skipped} admit no such readout")
        return
    zeros = torch.zeros(count, dtype=torch.long, device=images.device)
    found = int(e.attacker(e.attack)(binarised, victims, zeros).success.sum())
    missed = count - found > e.thresholds.allowed(count, 1 - e.thresholds.planted)
    yield _finding(
        "unreliable" if missed else "reliable",
        f"the attack finds {found} of {count} planted adversarial images ({skipped} more images admit none)",
    )


def _plant(model: nn.Module, linear: nn.Linear, images: Tensor, attack: SignAttack) -> Binarised:
    """``model`` with a readout for each of ``images`` that admits one."""
    draw = generator(attack.seed, "planted")
    planted = _near(images, attack, draw, corner=True)
    inner = [images, *(_near(images, attack, draw, share=SHRUNK) for _ in range(INNER))]
    controls = [_near(images, attack, draw) for _ in range(CONTROLS)]
    points = [*inner, *controls, planted]
    features = _each(lambda batch: _features(model, linear, batch), points)
    fitted = [_readout(features[:, row].double().cpu().numpy()) for row in range(len(images))]
    rows = [row for row, fit in enumerate(fitted) if fit is not None]
    if not rows:
        return Binarised(
            model, linear, Readouts(images[:0], features[0, :0], features[0, :0, 0], attack.norm)
        )
    best = linear(features[0, rows]).float().topk(2, 1).values
    weights = torch.tensor(np.stack([fit[0] for fit in fitted if fit is not None])).to(features.device)
    biases = torch.tensor([fit[1] for fit in fitted if fit is not None]).to(weights)
    # at each image the two logits are as far apart as the model's own two best
    scores = (weights * features[0, rows]).sum(1) + biases
    factors = (best[:, 0] - best[:, 1]).clamp(min=1e-6) / scores.abs()
    readouts = Readouts(
        images[rows], (weights * factors[:, None]).float(), (biases * factors).float(), attack.norm
    )
    binarised = Binarised(model, linear, readouts).eval()
    scores = (features[:-1, rows] * readouts.weights.to(features)).sum(-1)
    closest = torch.stack(points)[scores.topk(CLOSEST, dim=0).indices, rows]
    sides = _each(lambda batch: binarised(batch).argmax(1), [images[rows], *closest, planted[rows]])
    kept = (sides[:-1] == 0).all(0) & (sides[-1] == 1)
    anchors, weights, biases, norm = readouts
    return Binarised(model, linear, Readouts(anchors[kept], weights[kept], biases[kept], norm)).eval()


def _each(ask: Callable[[Tensor], Tensor], points: list[Tensor]) -> Tensor:
    """The answers of ``ask`` to each batch of ``points``, stacked; several batches in one forward."""
    size, together = len(points[0]), max(1, BATCH // len(points[0]))
    parts = [ask(torch.cat(points[first : first + together])) for first in range(0, len(points), together)]
    return torch.cat(parts).unflatten(0, (-1, size))


def _finding(level: Level, message: str) -> Finding:
    return Finding(
        name="planted adversarial images",
        group="optimisation",
        level=level,
        message=message,
        advice="attack too weak, the number is not reportable: more steps, other surrogates and losses",
        source=ZIMMERMANN,
    )


def _inapplicable(reason: str) -> Finding:
    return _finding("reliable", f"not applicable: {reason}")


def _distances(images: Tensor, anchors: Tensor, norm: str) -> Tensor:
    return torch.cdist(images.float().flatten(1), anchors.float().flatten(1), p=Ball.named(norm).order)


def _apart(images: Tensor, distance: float, norm: str) -> Tensor:
    """The ``images`` farther than ``distance`` from all kept before."""
    apart = _distances(images, images, norm).cpu()
    kept: list[int] = []
    for row in range(len(images)):
        if all(apart[row, other] > distance for other in kept):
            kept.append(row)
    return images[kept]


def _near(
    images: Tensor, attack: SignAttack, draw: torch.Generator, *, share: float = 1.0, corner: bool = False
) -> Tensor:
    """One random point of each ball: a corner, or in L2 one of the sphere, or one inside ``share`` of it."""
    return attack.ball.point(images, draw, share=share, corner=corner)


def _last_linear(model: nn.Module, image: Tensor) -> nn.Linear | None:
    """The ``nn.Linear`` that runs last."""
    ran: list[nn.Linear] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        assert isinstance(module, nn.Linear)
        ran.append(module)

    hooks = [
        module.register_forward_hook(note) for module in model.modules() if isinstance(module, nn.Linear)
    ]
    try:
        model(copy_for(model, image))
    finally:
        for hook in hooks:
            hook.remove()
    return ran[-1] if ran else None


def _features(model: nn.Module, linear: nn.Linear, images: Tensor) -> Tensor:
    """The features that ``linear`` reads of each image, mean over time steps and calls, ``[N, F]``."""
    seen: list[Tensor] = []
    hook = linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        model(copy_for(model, images))
    finally:
        hook.remove()
    parts = [_time_first(features, len(images))[0].mean(0) for features in seen]
    return torch.stack(parts).mean(0)


def _time_first(features: Tensor, count: int) -> tuple[Tensor, bool]:
    """``features`` of ``count`` images as ``[T, N, F]``, and whether their time steps came second."""
    if features.ndim == 2:
        return features.unflatten(0, (-1, count)), False
    if features.ndim == 3 and features.shape[1] == count:
        return features, False
    if features.ndim == 3 and features.shape[0] == count:
        return features.transpose(0, 1), True
    raise ValueError(f"features of shape {list(features.shape)} for {count} images")


def _readout(points: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], float] | None:
    """Weight and bias that tell the last of ``points``, the planted one, from all others, if any do.

    The weight is that of the widest margin to the first ones, the inner points. The bias is midway between
    the planted point and the nearest of all others.
    """
    inner = np.concatenate([points[: 1 + INNER], points[-1:]])
    spread = np.abs(inner - points[0]).max()
    if not np.isfinite(points).all() or spread == 0:
        return None
    sides = np.array([0] * (len(inner) - 1) + [1])
    machine = SVC(kernel="linear", C=1e6, max_iter=100_000)
    with warnings.catch_warnings():
        # where nothing separates the points it gives up, and is found out below
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit((inner - points[0]) / spread, sides)
    weight = machine.coef_[0] / spread
    scores = points @ weight
    if not scores[-1] > scores[:-1].max():
        return None
    return weight, -(scores[-1] + scores[:-1].max()) / 2
