"""The whole recipe: all sections, the paper's evaluation by default."""

from typing import Annotated, Any

import yaml
from pydantic import model_validator

from purespike.recipe.classifier import ClassifierRecipe
from purespike.recipe.data import DataRecipe
from purespike.recipe.purifier import PurifierRecipe
from purespike.section import Section, Seed, setting
from purespike.settings import EvaluationSettings

# the defaults of a recipe where they are not those of a single evaluation
EVALUATION: dict[str, Any] = {
    "attacks": ("gaussian_noise", "fgsm", "ifgsm", "mifgsm", "pgd", "pgd:steps=20", "cw"),
    "surrogates": ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)"),
    "learned_bpda": False,
    "curve": "pgd:steps=20",
    "curve_eps": ("2/255", "4/255", "8/255", "16/255"),
    "threats": ("oblivious", "bpda", "adaptive"),
    "images": 1000,
}


class EvaluationRecipe(EvaluationSettings):
    """The evaluation of a run: as :class:`~purespike.settings.EvaluationSettings`, the paper's by default.

    A ``suite`` takes the place of the paper's attacks, and of the surrogates.
    """

    @model_validator(mode="before")
    @classmethod
    def _by_default(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = {cls.names().get(name, name) for name in values}
        by_suite = ("attacks", "surrogates", "learned_bpda") if values.get("suite") is not None else ()
        return {k: v for k, v in EVALUATION.items() if k not in given and k not in by_suite} | values


class Recipe(Section):
    """Everything that decides a run's numbers, apart from the machine."""

    seed: Annotated[Seed, setting("Seed of every random draw of the run; --seed overrides it.")] = 0
    data: Annotated[DataRecipe, setting("The images.")] = DataRecipe()
    classifier: Annotated[ClassifierRecipe, setting("The classifier and its training.")] = ClassifierRecipe()
    purifier: Annotated[PurifierRecipe, setting("The purifier and its training.")] = PurifierRecipe()
    evaluation: Annotated[EvaluationRecipe, setting("The attacks, threat models and budgets.")] = (
        EvaluationRecipe()
    )

    def to_yaml(self) -> str:
        """The recipe with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
