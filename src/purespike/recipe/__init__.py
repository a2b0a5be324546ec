"""A run as data: the YAML recipe, checked before anything is computed."""

from purespike.recipe.classifier import ClassifierRecipe
from purespike.recipe.data import DataRecipe
from purespike.recipe.loading import load_recipe, parse_recipe
from purespike.recipe.names import FORMER, OTHER_NAMES, present_names
from purespike.recipe.purifier import PurifierRecipe
from purespike.recipe.training import Training
from purespike.recipe.whole import EvaluationRecipe, Recipe
from purespike.section import Positive, Section

__all__ = [
    "FORMER",
    "OTHER_NAMES",
    "ClassifierRecipe",
    "DataRecipe",
    "EvaluationRecipe",
    "Positive",
    "PurifierRecipe",
    "Recipe",
    "Section",
    "Training",
    "load_recipe",
    "parse_recipe",
    "present_names",
]
