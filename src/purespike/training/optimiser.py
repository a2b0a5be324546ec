"""The optimiser of a recipe, and the learning rate of every step."""

import torch
from torch import nn
from torch.optim import lr_scheduler

from purespike.errors import InputError
from purespike.models.parameters import NAMES, found_in, named_twice
from purespike.neurons import SpikingNeuron
from purespike.optimisation import Constant, Cosine, Milestones, OneCycle, Optimiser, ParameterGroup, Schedule

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def create_optimiser(settings: Optimiser, model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """PyTorch's optimiser for the parameters of ``model``, in the groups that ``settings`` asks for.

    Raises:
        InputError: a pattern that no parameter matches.
    """
    options = settings.model_dump(exclude={"name", "groups"})
    if settings.name != "sgd":
        # a third of the time on a CPU, where PyTorch's choice is one by one; its fused kernel goes wrong on
        # averages that come back from a file in another memory order than their parameters
        options["foreach"] = True
    groups = parameter_groups(model, settings.groups)
    return OPTIMISERS[settings.name](groups, lr=learning_rate, **options)  # type: ignore[call-arg]


def parameter_groups(model: nn.Module, groups: tuple[ParameterGroup, ...]) -> list[dict[str, object]]:
    """Parameter groups for PyTorch: those that match no pattern, then one for each of ``groups``.

    Besides PyTorch's own settings, each has ``rate``, its factor of the learning rate.

    Raises:
        InputError: a pattern that no parameter matches.
    """
    members: list[list[nn.Parameter]] = [[] for _ in range(len(groups) + 1)]
    for parameter, names in named_twice(model):
        found = (number for number, group in enumerate(groups, start=1) if found_in(group.pattern, names))
        members[next(found, 0)].append(parameter)
    for group, matched in zip(groups, members[1:], strict=True):
        if not matched:
            raise InputError(
                f"optimiser.groups: no parameter matches the pattern {group.pattern!r}, or an earlier group "
                f"has them all; {NAMES}"
            )
    result: list[dict[str, object]] = [{"params": members[0], "rate": 1.0}] if members[0] else []
    for group, matched in zip(groups, members[1:], strict=True):
        decay = {} if group.weight_decay is None else {"weight_decay": group.weight_decay}
        result.append({"params": matched, "rate": group.rate, **decay})
    return result


def without_neurons(settings: Optimiser, model: nn.Module) -> Optimiser:
    """``settings`` for ``model`` with plain neurons: without groups that hold parameters of neurons alone."""
    neurons = {
        parameter
        for module in model.modules()
        if isinstance(module, SpikingNeuron)
        for parameter in module.parameters()
    }
    others = [names for parameter, names in named_twice(model) if parameter not in neurons]
    kept = tuple(g for g in settings.groups if any(found_in(g.pattern, names) for names in others))
    return settings if kept == settings.groups else settings.model_copy(update={"groups": kept})


def learning_rates(schedule: Schedule, learning_rate: float, *, epochs: int, steps: int) -> list[float]:
    """The learning rate of every batch, ``epochs * steps`` of them, by PyTorch's schedulers.

    A table needs no state on disk: a resumed run reads on where it stopped.

    Args:
        schedule: the recipe's; all but ``one_cycle`` change the rate between epochs alone.
        learning_rate: the highest rate.
        epochs: epochs of the whole training.
        steps: batches of an epoch.
    """
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=learning_rate)
    scheduler = _scheduler(schedule, optimiser, epochs=epochs, steps=steps)
    rates = []
    for step in range(epochs * steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if isinstance(schedule, OneCycle):
            if step + 1 < epochs * steps:
                scheduler.step()
        elif (step + 1) % steps == 0:
            scheduler.step()
    return rates


def _scheduler(
    schedule: Schedule, optimiser: torch.optim.Optimizer, *, epochs: int, steps: int
) -> lr_scheduler.LRScheduler:
    rate = optimiser.param_groups[0]["lr"]
    match schedule:
        case Constant():
            return lr_scheduler.LambdaLR(optimiser, lambda done: 1.0)
        case Milestones(milestones=milestones, decay_factor=factor):
            # one product, where MultiStepLR multiplies again and again and so rounds differently
            return lr_scheduler.LambdaLR(
                optimiser, lambda done: factor ** sum(done >= milestone for milestone in milestones)
            )
        case Cosine(final=final):
            return lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs, eta_min=final * rate)
        case OneCycle(warm_up=warm_up, initial=initial, final=final):
            return lr_scheduler.OneCycleLR(
                optimiser,
                max_lr=rate,
                total_steps=epochs * steps,
                pct_start=warm_up,
                div_factor=1 / initial,
                final_div_factor=initial / final,
                cycle_momentum=False,
            )


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)
