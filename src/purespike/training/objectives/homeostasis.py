"""The usual membranes of a network on clean images, which adapting thresholds are held against (HoSNN)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from purespike.data import Data
from purespike.errors import InputError
from purespike.models import load
from purespike.models.predict import as_float
from purespike.modes import mode
from purespike.neurons import MLF, TALIF, SpikingNeuron, parse_dynamics, spiking_neurons
from purespike.neurons.adjoint import membrane_potentials
from purespike.training.objectives.layers import recording
from purespike.training.objectives.registry import Projection, Stage, projection
from purespike.training.optimiser import without_neurons

# images of one forward, whose currents are kept for all layers
TOGETHER = 100


@projection("homeostasis")
class Homeostasis(Projection):
    r"""The start of a network of :class:`~purespike.neurons.TALIF` neurons (HoSNN; Geng & Li, TMLR 2025).

    .. math:: u_i^*[t] = \frac{1}{N}\sum_n u_i^{\mathrm{LIF}}[t](x_n)

    Before the first epoch a network of plain LIF neurons with the same recipe is trained on clean images, or
    read. Its weights become those of this network, and the membrane of each neuron before its reset, at each
    step, on average over the clean training images of all classes, becomes the u* of this network. After each
    step ϑ is clipped at 0.

    The plain network is in the folder ``homeostasis`` of the run, and goes on from its own last epoch; its
    history watches training images.

    Args:
        source: checkpoint of a plain LIF network of the same architecture, threshold and decay; by default it
            is trained.
        epochs: epochs of the plain network; by default those of the recipe.
    """

    trains = True

    def __init__(
        self, *, source: str | None = None, epochs: Annotated[int, Field(ge=1)] | None = None
    ) -> None:
        if source is not None and epochs is not None:
            raise InputError("source: epochs are for a network that is trained here; give only one of them")
        self.source, self.epochs = source, epochs

    def prepare(self, stage: Stage) -> None:
        dynamics = parse_dynamics(getattr(stage.recipe, "dynamics", None) or "mlf")
        if stage.name != "classifier" or not isinstance(dynamics, TALIF):
            raise InputError(
                f"{stage.name}.objective: homeostasis: records membranes for classifier.dynamics talif, "
                f"got {dynamics.name}"
            )
        plain = self._plain(stage, dynamics)
        copy_weights(plain, stage.model)
        traces = usual_membranes(plain, stage.data.images, stage.accelerator.device)
        for name, trace in traces.items():
            neurons = stage.model.get_submodule(name)
            assert isinstance(neurons, SpikingNeuron)
            with torch.no_grad():
                neurons.get_buffer("recorded.trace").copy_(trace)
        if stage.average is not None:
            stage.average.module.load_state_dict(stage.model.state_dict())

    def _plain(self, stage: Stage, dynamics: TALIF) -> nn.Module:
        """The plain network, on the device of the stage."""
        device = stage.accelerator.device
        if self.source is not None:
            found = load(self.source).to(device)
            kinds = {str(each.dynamics) for each in spiking_neurons(found)}
            if kinds != {str(MLF((dynamics.threshold,), dynamics.decay))}:
                raise InputError(
                    f"classifier.objective: homeostasis: {self.source} has neurons of other thresholds or "
                    f"decay than talif has, ({dynamics.threshold:g},) and {dynamics.decay:g}"
                )
            return found
        # the room's own loop, which knows objectives
        from purespike.training.classifier import train_classifier

        settings = {"dynamics": None, "thresholds": (dynamics.threshold,), "decay": dynamics.decay}
        optimiser = without_neurons(stage.recipe.optimiser, stage.model)
        plain = stage.recipe.model_copy(
            update={
                **settings,
                "gates": "none",
                "care": 0.0,
                "optimiser": optimiser,
                "objective": ({"name": "none"},),
                "epochs": self.epochs or stage.recipe.epochs,
            }
        )
        data = Data(stage.data.name, train=stage.data, test=stage.data)
        folder = stage.folder / "homeostasis"
        return train_classifier(plain, data, folder=folder, seed=stage.seed, accelerator=stage.accelerator)

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        for neurons in spiking_neurons(model):
            if isinstance(neurons.dynamics, TALIF) and neurons.learned is not None:
                neurons.learned["rise"].clamp_(min=0)


def copy_weights(plain: nn.Module, model: nn.Module) -> None:
    """Give ``model`` the weights of ``plain``, which has all but what single neurons and gates have.

    Raises:
        InputError: another architecture.
    """
    given, own = plain.state_dict(), model.state_dict()
    further = [f"{name}." for name, module in model.named_modules() if isinstance(module, SpikingNeuron)]
    same = {name: value.shape for name, value in given.items()} == {
        name: value.shape for name, value in own.items() if not name.startswith(tuple(further))
    }
    if not same:
        raise InputError("classifier.objective: homeostasis: source is a network of another architecture")
    model.load_state_dict({**own, **given})


@torch.no_grad()
def usual_membranes(model: nn.Module, images: Tensor, device: torch.device) -> dict[str, Tensor]:
    """Mean membrane before the reset of every LIF neuron of ``model`` at each step, on images.

    Args:
        model: a network of LIF neurons, called in evaluation mode.
        images: uint8 ``[N, C, H, W]``.
        device: device of ``model``.

    Returns:
        Name of the layer to ``[T, C, H, W]``, float64 on the CPU.
    """
    totals: dict[str, Tensor] = {}
    with mode(model, training=False):
        for part in images.split(TOGETHER):
            with recording(model) as layers:
                model(as_float(part.to(device)))
            for layer in layers:
                (threshold,), decay = layer.neurons.thresholds, layer.neurons.dynamics.share_kept({})
                assert isinstance(decay, float)
                found, _ = membrane_potentials(list(layer.current.float().unbind(0)), threshold, decay)
                total = torch.stack(found).sum(1).cpu().double()
                totals[layer.name] = totals[layer.name] + total if layer.name in totals else total
    return {name: total / len(images) for name, total in totals.items()}
