"""purespike: adversarial purification for spiking neural networks, measured honestly."""

import importlib
import random
from typing import TYPE_CHECKING, Any

from purespike.errors import InputError

if TYPE_CHECKING:
    from purespike import attacks, data, events, models, neurons, zoo
    from purespike.certification import Certification, certify
    from purespike.evaluation import Evaluation, evaluate
    from purespike.explain import temporal_information
    from purespike.exporting import export
    from purespike.models import Defended, Logits, Resetting, load, save
    from purespike.rejection import Gated, Rejecting, evaluate_rejection
    from purespike.zoo import from_pretrained, save_pretrained

__version__ = "0.1.0"

__all__ = [
    "Certification",
    "Defended",
    "Evaluation",
    "Gated",
    "InputError",
    "Logits",
    "Rejecting",
    "Resetting",
    "attacks",
    "certify",
    "data",
    "evaluate",
    "evaluate_rejection",
    "events",
    "export",
    "from_pretrained",
    "load",
    "models",
    "neurons",
    "save",
    "save_pretrained",
    "temporal_information",
    "zoo",
]

_HOMES = {
    "Certification": "purespike.certification",
    "Evaluation": "purespike.evaluation",
    "certify": "purespike.certification",
    "export": "purespike.exporting",
    "evaluate": "purespike.evaluation",
    "temporal_information": "purespike.explain",
    "Defended": "purespike.models",
    "Logits": "purespike.models",
    "Resetting": "purespike.models",
    "load": "purespike.models",
    "save": "purespike.models",
    "Gated": "purespike.rejection",
    "Rejecting": "purespike.rejection",
    "evaluate_rejection": "purespike.rejection",
    "from_pretrained": "purespike.zoo",
    "save_pretrained": "purespike.zoo",
}


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import; the command line's help and its errors need none of it
    if name not in _HOMES and name not in __all__:
        raise AttributeError(f"module 'purespike' has no attribute {name!r}")
    # rich draws a number when it is imported
    drawn = random.getstate()
    try:
        home = importlib.import_module(_HOMES.get(name, f"purespike.{name}"))
    finally:
        random.setstate(drawn)
    return getattr(home, name) if name in _HOMES else home


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
