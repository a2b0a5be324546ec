"""Cross-entropy of the network stopped after each time step."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models import SpikingClassifier
from purespike.training.objectives.batch import Batch, Step, count_correct, unwrap
from purespike.training.objectives.registry import Objective, Stage, objective


@objective("temporal_ce")
class TemporalCE(Objective):
    r"""The criterion after each time step, which moves temporal information to early or late steps.

    .. math:: L = \sum_t w_t\, L\big(\tfrac1t \textstyle\sum_{s \le t} z_s,\, y\big), \quad w_t \propto \rho^t

    z are the logits of a step. Kim et al. (AAAI 2023), who measure
    :func:`~purespike.explain.temporal_information`, move it by a loss that they did not publish; this one is
    ours.

    Args:
        rho: ρ, at least 0: 0 trains the first step alone, below 1 early steps count more, at 1 all count
            alike, and the larger it is, the nearer is plain training.
    """

    def __init__(self, *, rho: Annotated[float, Field(ge=0)] = 1.0) -> None:
        self.rho = rho

    def prepare(self, stage: Stage) -> None:
        if not isinstance(stage.model, SpikingClassifier):
            raise InputError(
                f"{stage.name}.objective: temporal_ce: needs the logits of each time step, which "
                f"{type(stage.model).__name__} does not give"
            )

    def weights(self, steps: int) -> list[float]:
        """w of the steps 1 to ``steps``."""
        last = steps if self.rho > 1 else 1
        powers = [self.rho ** (t - last) for t in range(1, steps + 1)]
        return [power / sum(powers) for power in powers]

    def __call__(self, batch: Batch) -> Step:
        classifier, kept = unwrap(batch.model), []
        assert isinstance(classifier, SpikingClassifier)

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], features: Tensor) -> None:
            # penalties make passes of their own, in evaluation mode
            if module.training:
                kept.append(features)

        # the forward must be that of the wrapped model, which gives the last logits only
        hook = classifier.head.register_forward_hook(keep)
        try:
            (view,) = batch.forward(batch.images)
        finally:
            hook.remove()
        cuts = classifier.cuts(kept[0].to(classifier.readout.weight.dtype))[:, : len(batch.images)]
        logits = [*cuts[:-1], view.logits]
        weights = self.weights(len(logits))
        losses = [w * batch.criterion(z, batch.labels) for w, z in zip(weights, logits, strict=True) if w > 0]
        return Step(sum(losses[1:], losses[0]), {"accuracy": count_correct(view.logits, batch.labels)})
