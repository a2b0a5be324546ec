"""APGD, FAB, Square and their ensemble AutoAttack (Croce & Hein 2020): pyautoattack's, judged by us."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from purespike.attacks import ensemble
from purespike.attacks.objective import frozen_eval
from purespike.attacks.protocol import Attack, settle, settle_scalars
from purespike.attacks.result import AttackResult
from purespike.ball import Ball
from purespike.checks import check_images, check_labels, check_seed, check_steps
from purespike.errors import InputError, unknown
from purespike.modes import normal
from purespike.seeding import seeded

COMPONENTS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")
# the attacks of each version, and how many gradients they average
VERSIONS: dict[str, tuple[tuple[str, ...], int]] = {
    "standard": (("apgd-ce", "apgd-t", "fab-t", "square"), 1),
    "rand": (("apgd-ce", "apgd-dlr"), 20),
    "custom": ((), 1),
}


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Attack):
    """Settings of the ensemble or of some of its attacks; calling it attacks a model.

    Each attack meets only the images that the former ones did not break; a robust image is returned
    unchanged. The library judges by its own passes, this class once more, on exactly the images it returns.
    Its targeted attacks choose their own targets: each wrong class in turn.

    Args:
        name: name in reports.
        eps: budget: L∞ in pixel units, for ``norm="l2"`` a radius; text such as ``"8/255"`` becomes a float.
        norm: ``"linf"`` or ``"l2"``.
        version: ``"standard"``: APGD-CE, targeted APGD, targeted FAB and Square; ``"rand"``, for stochastic
            models: APGD-CE and APGD-DLR with gradients averaged over 20 passes; ``"custom"``: ``attacks``.
        attacks: attacks of the custom version, in this order: ``"apgd-ce"``, ``"apgd-dlr"``, ``"apgd-t"``,
            ``"fab"``, ``"fab-t"``, ``"square"``.
        steps: steps of APGD and FAB.
        restarts: starts in all of APGD, FAB and Square; targeted FAB always has one.
        queries: forwards of an image in each start of Square, from the clean image to the verdict on its
            result.
        eot: passes over which APGD averages its gradient; ``None`` is the version's number.
        seed: seed of the random starts and of Square.

    Raises:
        InputError: a setting out of range.
    """

    name: str = "autoattack"
    eps: float = 8 / 255
    norm: str = "linf"
    version: str = "standard"
    attacks: Sequence[str] = ()
    steps: int = 100
    restarts: int = 1
    queries: int = ensemble.QUERIES
    eot: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        settle_scalars(self, but=("eps",))
        check_seed(self.seed)
        if self.norm not in ensemble.NORMS:
            raise unknown("norm", self.norm, ensemble.NORMS)
        if self.version not in VERSIONS:
            raise unknown("version of AutoAttack", self.version, VERSIONS)
        attacks, eot = VERSIONS[self.version]
        settle(
            self,
            eps=Ball.parse(self.eps, self.norm).size,
            attacks=_check_attacks(self.attacks, self.version) or attacks,
            eot=eot if self.eot is None else self.eot,
        )
        for name in ("steps", "restarts", "queries", "eot"):
            check_steps(getattr(self, name), name=name)

    @property
    def differentiates(self) -> bool:
        """Whether any of its attacks follows gradients: all but Square do."""
        return any(name != "square" for name in self.attacks)

    @property
    def passes(self) -> int:
        each = {"square": self.queries, "apgd-t": 9 * self.steps, "fab-t": 18 * self.steps}
        return sum(each.get(name, self.steps) for name in self.attacks)

    def unfit(self, images: Tensor, classes: int) -> str:
        """Too few classes for the DLR loss, or images too small for Square in L2."""
        dlr = [name for name in self.attacks if name in ("apgd-dlr", "apgd-t")]
        if classes < 4 and dlr:
            return (
                f"the DLR loss of {' and '.join(dlr)} needs at least 4 classes, "
                f"the model has {classes}; use apgd_ce, square or fab"
            )
        if self.norm == "l2" and "square" in self.attacks and not _tiled(*images.shape[2:]):
            return (
                "Square in L2 begins with tiles of a fifth of the height, which its library cannot lay "
                f"out on {images.shape[2]} × {images.shape[3]} pixels; use apgd_ce or fab"
            )
        return ""

    def gradient_part(self) -> Attack | None:
        return self._without("square")

    def loss_ascent_part(self) -> Attack | None:
        """Neither Square nor FAB, which takes the gradient for the slope of the boundary."""
        return self._without("square", "fab", "fab-t")

    def _without(self, *members: str) -> Attack | None:
        rest = tuple(name for name in self.attacks if name not in members)
        if rest == tuple(self.attacks):
            return self
        return replace(self, version="custom", attacks=rest) if rest else None

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Perturb ``images`` so that ``model`` misclassifies them.

        Args:
            model: images to logits; attacked in evaluation mode, left as it was.
            images: ``[N, C, H, W]`` floats in [0, 1].
            labels: true classes, ``[N]``.

        Returns:
            The result; as the library reports no steps, ``best_step`` is 0 and ``loss_trace`` ``[1, N]`` the
            margin of the clean images.

        Raises:
            InputError: images or labels are not of that form, the model has too few classes for one of the
                attacks, or pyautoattack is missing.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        ensemble.library()
        # the library seeds the global generators, and a model may draw from them
        with frozen_eval(model), seeded(self.seed, "autoattack", device=images.device), torch.enable_grad():
            return ensemble.run(self, model, normal(images).detach(), normal(labels))


def _check_attacks(attacks: Sequence[str], version: str) -> tuple[str, ...]:
    attacks = (attacks,) if isinstance(attacks, str) else tuple(attacks)
    for name in attacks:
        if name not in COMPONENTS:
            raise unknown("attack of AutoAttack", name, COMPONENTS)
    if version == "custom" and not attacks:
        raise InputError(f"attacks: the custom version needs at least one of {', '.join(COMPONENTS)}")
    if version != "custom" and attacks and attacks != VERSIONS[version][0]:
        raise InputError(f"attacks: the {version} version has its own; choose yours with version='custom'")
    return attacks


def _tiled(height: int, width: int) -> bool:
    """Whether the tiles with which Square in L2 begins lie within the image; those of one pixel always do."""
    side = height // 5
    first = (height - 5 * side) // 2
    return side == 1 or (
        side > 1 and all(first + length // side * side <= length for length in (height, width))
    )
