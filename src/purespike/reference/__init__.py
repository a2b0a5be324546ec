"""The reference of recipes, made from the models and registries themselves: it cannot go stale."""

from purespike.reference.entry import Chapter, Key, Topic
from purespike.reference.find import find
from purespike.reference.markdown import recipe_page
from purespike.reference.sections import recipe_keys, sections

__all__ = ["Chapter", "Key", "Topic", "find", "recipe_keys", "recipe_page", "sections"]
