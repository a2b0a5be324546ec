"""The section ``data`` of a recipe."""

from typing import Annotated, Literal

from pydantic import ValidationInfo, field_validator

from purespike.errors import InputError
from purespike.section import Positive, Section, Seed, setting


class DataRecipe(Section):
    """``source`` as :func:`purespike.data.load_data` takes it; limits draw a stratified subset.

    For the same source, limits and seed, a run with the ``role`` ``attacker`` trains on images on which the
    ``defender``'s run does not train (:func:`purespike.data.attacker_data`), at most ``attacker_limit``. The
    seed decides the split between both: an attacker's run with another seed gives the seed of the defender's
    recipe as ``defender_seed``.
    """

    source: Annotated[
        str, setting("Images: a built-in name, or folder:PATH, npz:PATH/NAME, hub:OWNER/NAME.")
    ] = "digits"
    train_limit: Annotated[
        Positive | None,
        setting(
            "Train on so many images, a subset with the proportions of the classes; all if not given.",
            scaling="The time of an epoch is proportional to it. With fewer images take more epochs.",
        ),
    ] = None
    test_limit: Annotated[
        Positive | None,
        setting("Keep so many test images, likewise; evaluation.images limits those that are attacked."),
    ] = None
    role: Annotated[
        Literal["defender", "attacker"],
        setting("attacker: train a substitute, on images that the defender's recipe does not train on."),
    ] = "defender"
    attacker_limit: Annotated[
        Positive | None,
        setting("With role: attacker, the most images to train on; all that are left if not given."),
    ] = None
    defender_seed: Annotated[
        Seed | None,
        setting(
            "With role: attacker, the seed of the defender's recipe, where it is another than this one's."
        ),
    ] = None

    @field_validator("defender_seed")
    @classmethod
    def _only_for_attackers(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("role") == "defender":
            raise InputError("is for role: attacker; a defender's seed is the recipe's own")
        return value
