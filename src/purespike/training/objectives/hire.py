"""HIRE-SNN: input noise crafted on the way, over periods of time that share their membranes."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from purespike.budget import parse_eps
from purespike.errors import InputError
from purespike.models.coding import Direct
from purespike.models.steps import fixed_steps, time_steps
from purespike.neurons import carrying
from purespike.training.objectives.adversarial import none
from purespike.training.objectives.batch import Batch, Step, count_correct, unwrap
from purespike.training.objectives.registry import Objective, Stage, objective

Eps = Annotated[float, BeforeValidator(parse_eps)]


@objective("hire")
class Hire(Objective):
    r"""Training in periods, each on noise from the input gradient of the one before (Kundu et al. 2021).

    The T steps are N periods of T/N. The first sees the image, and each later one

    .. math:: x + \epsilon\,\mathrm{sign}(\nabla L_{i-1}), \quad
        L_i = L\Big(\tfrac{1}{i}\textstyle\sum_{j \le i} f_j,\, y\Big)

    clipped to [0, 1], with f_j the logits of period j. After each the optimiser makes a step. Membranes go on
    from period to period, those of the output, the sum, among them; gradients end at the period's beginning.
    So a batch costs one pass. The input gradient is that of the step's own backward, before the weights
    change, where a note on the unpublished training code says after.

    Args:
        periods: N, a divisor of T; with one, this is plain training.
        eps: size of the noise in pixel units.
    """

    def __init__(self, *, periods: Annotated[int, Field(ge=1, le=1024)] = 2, eps: Eps = 4 / 255) -> None:
        self.periods, self.eps = periods, eps

    def prepare(self, stage: Stage) -> None:
        steps = stage.recipe.time_steps
        if steps % self.periods:
            raise InputError(f"hire: periods: must divide time_steps, {steps}, got {self.periods}")
        if self.periods > 1 and not isinstance(stage.model.coding, Direct):
            raise InputError("hire: the periods see images as they are: leave out coding, or set periods: 1")
        if self.periods > 1 and (fixed := fixed_steps(stage.model)):
            raise InputError(
                f"hire: {fixed} has a value for each of {steps} steps, of which a period has fewer; take "
                "another, or periods: 1"
            )

    def __call__(self, batch: Batch) -> Iterator[Step]:
        if self.periods == 1:
            yield none(batch)
            return
        check_alone(batch)
        network: Any = unwrap(batch.model)
        steps = network.neurons.time_steps // self.periods
        images, past = batch.images, batch.images.new_zeros(())
        with time_steps(network, steps), carrying(network) as carried:
            for period in range(1, self.periods + 1):
                last = period == self.periods
                images = images.detach().requires_grad_(not last)
                (view,) = batch.forward(images)
                carried.detach()
                total = past + view.logits
                past, logits = total.detach(), total / period
                # the periods are one pass of all steps, and its answer the one after the last
                right = {"accuracy": count_correct(logits, batch.labels)} if last else {}
                yield Step(batch.criterion(logits, batch.labels), right, passes=int(last))
                if not last:
                    assert images.grad is not None
                    images = (batch.images + self.eps * images.grad.sign()).clamp(0, 1)


def check_alone(batch: Batch) -> None:
    """Refuse penalties that know nothing of the membranes from the period before.

    Raises:
        InputError: there is one with images of its own, or one that computes membranes again.
    """
    for name, penalty, _ in batch.penalties:
        if penalty.further(batch, batch.images) is not None:
            raise InputError(f"hire: {name} needs further images, which have no membranes; leave one out")
        if penalty.layers:
            raise InputError(f"hire: {name} computes membranes from rest at each period; leave one out")
