"""Random search in L0 by outputs alone, after Sparse-RS (Croce et al. 2022): what Square is in L∞."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.attacks.objective import frozen_eval, margin
from purespike.attacks.precision import is_reduced_precision, misclassified
from purespike.attacks.protocol import Attack, settings_of, settle, settle_scalars
from purespike.attacks.registry import attack, attacking
from purespike.attacks.result import AttackResult
from purespike.ball import L0
from purespike.checks import check_images, check_labels, check_seed, check_steps
from purespike.models.answer import correct, logits_of
from purespike.modes import normal
from purespike.seeding import ImageDraws

# share of the turned pixels that the first query exchanges
_FIRST = 0.5


@attack(title="Sparse search", order=115, stepwise=False, norms=("l0",))
@dataclass(frozen=True, kw_only=True)
class SparseSearch(Attack):
    """Turns ``eps`` random pixels to the far end of their range, then exchanges some of them, query by query.

    An exchange is kept where the margin of the best wrong class does not fall. At first half of the pixels
    are exchanged, in the end one. An image leaves at its first success. Sparse-RS turns all channels of a
    pixel together; here each value counts by itself, as a bin of event frames does.

    Args:
        name: name in reports.
        eps: number of pixels.
        norm: ``"l0"``.
        queries: forwards of an image.
        seed: seed of the draws.

    Raises:
        InputError: a setting out of range.
    """

    name: str = "sparse_search"
    eps: float = 20
    norm: str = "l0"
    queries: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        settle_scalars(self, but=("eps",))
        check_seed(self.seed)
        settle(self, eps=L0.parse_size(self.eps), queries=check_steps(self.queries, name="queries"))

    @property
    def differentiates(self) -> bool:
        return False

    @property
    def passes(self) -> int:
        return self.queries

    @torch.no_grad()
    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Perturb ``images`` so that ``model`` misclassifies them.

        Args:
            model: images to logits.
            images: ``[N, C, H, W]`` floats in [0, 1].
            labels: true classes, ``[N]``.

        Raises:
            InputError: images or labels are not of that form.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        with frozen_eval(model):
            return self._search(model, normal(images), normal(labels))

    def _search(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        draws = ImageDraws(images, self.seed, "sparse")
        rows = torch.arange(len(images), device=images.device)
        far = (images < 0.5).to(images)
        found, best, forwards = images.clone(), torch.full((len(images),), -torch.inf), 0
        best = best.to(images.device)
        turned = torch.zeros_like(images, dtype=torch.bool)
        won = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        # successes in half precision are judged once more, which is a query as well
        verify = is_reduced_precision("fp32", images)
        for query in range(self.queries - verify if len(images) else 0):
            tried = self._exchanged(turned[rows], draws.uniform(0, 1, images.shape[1:]), query)
            points = torch.where(tried, far[rows], images[rows])
            logits = logits_of(model, points)
            check_labels(labels, count=len(images), classes=logits.shape[1])
            losses, forwards = margin(logits, labels[rows]).to(best), forwards + len(rows)
            success = ~correct(logits, labels[rows])
            better = success | (losses >= best[rows])
            kept = rows[better]
            turned[kept], found[kept], best[kept] = tried[better], points[better], losses[better]
            won[rows[success]] = True
            draws.keep(~success)
            rows = rows[~success]
            if not len(rows):
                break
        if verify and len(images):
            won, forwards = misclassified(model, found, labels), forwards + len(images)
        return AttackResult(
            images=found,
            success=won,
            best_step=torch.zeros(len(images), dtype=torch.long, device=images.device),
            loss_trace=best[None],
            forwards=forwards,
            backwards=0,
            config=settings_of(self),
            seed=self.seed,
        )

    def _exchanged(self, turned: Tensor, noise: Tensor, query: int) -> Tensor:
        """``turned``, bool ``[N, C, H, W]``, with some pixels of each image exchanged for others."""
        noise = noise.to(turned.device)
        count = min(round(self.eps), turned[0].numel())
        if query == 0:
            return _among(noise, count)
        left = 1 - query / self.queries
        swapped = min(max(1, round(_FIRST * count * left**2)), turned[0].numel() - count)
        if swapped <= 0:
            return turned
        out = _among(noise.masked_fill(~turned, -1), swapped)
        return (turned & ~out) | _among(noise.masked_fill(turned, -1), swapped)


def _among(values: Tensor, count: int) -> Tensor:
    """Where the ``count`` largest values of each image are, bool."""
    flat = values.flatten(1)
    chosen = flat.topk(count, dim=1).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True).view_as(values)


sparse_search = attacking("sparse_search")
