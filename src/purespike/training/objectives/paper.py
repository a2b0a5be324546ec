"""The paper's objective of the purifier: its images as they were, its noise level as it is (Algorithm 1)."""

from purespike.losses import beta_schedule, purification_loss
from purespike.training.objectives.batch import Batch, Step
from purespike.training.objectives.registry import objective


@objective("paper", stage="purifier")
def paper(batch: Batch) -> Step:
    """Equation 10 (:func:`purespike.losses.purification_loss`) with the weights of the recipe."""
    recipe = batch.recipe
    (view,) = batch.forward(batch.images)
    loss = purification_loss(
        view.outputs.images,
        view.outputs.noise_level,
        batch.clean,
        batch.images,
        beta=beta_schedule(batch.epoch, beta=recipe.beta, switch_epoch=recipe.switch_epoch),
        asymmetric_weight=recipe.asymmetric_weight,
        variation_weight=recipe.variation_weight,
        gamma=recipe.gamma,
        level=recipe.noise_level,
    )
    terms = {name: term.detach() for name, term in loss._asdict().items() if name != "total"}
    return Step(loss.total, terms=terms)
