"""Models in a folder or on the Hugging Face hub: ``config.json``, ``model.safetensors`` and a model card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from purespike.errors import InputError, kind_of
from purespike.files import as_path, write_json, write_text
from purespike.models.checkpoint import FORMAT, load, part_config, save
from purespike.reading import brief, parse_json
from purespike.results import Evaluation
from purespike.results.record import read_json
from purespike.tensors import read_metadata
from purespike.zoo.loading import digest
from purespike.zoo.model_card import model_card

CONFIG, WEIGHTS, README = "config.json", "model.safetensors", "README.md"


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    *,
    name: str | None = None,
    evaluation: Evaluation | None = None,
    half: bool = False,
    licence: str | None = None,
) -> Path:
    """Write a model as a folder that :func:`from_pretrained` reads and the hub shows.

    Args:
        model: as for :func:`purespike.save`.
        folder: folder of the three files, made if missing; files of these names in it are replaced.
        name: name of the model; the folder's by default.
        evaluation: measured accuracies for the model card, each with its threat model and budget; without
            it the card says that none was measured.
        half: write weights in half precision.
        licence: licence of the weights for the card, as the hub spells it (``"mit"``).

    Returns:
        The folder, for ``huggingface_hub.upload_folder``.

    Raises:
        InputError: as :func:`purespike.save` raises; ``folder`` is a file.
    """
    folder = as_path(folder, name="save_pretrained")
    for what, text in (("name", name), ("licence", licence)):
        if text is not None and not isinstance(text, str):
            raise InputError(f"save_pretrained: {what}: text is needed, got {kind_of(text)}")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"save_pretrained: {folder} is a file; name a folder")
    if evaluation is not None and not isinstance(evaluation, Evaluation):
        raise InputError(
            f"save_pretrained: evaluation: expected an Evaluation, got {type(evaluation).__name__}"
        )
    name = name or folder.absolute().name
    # before anything is written: a card that cannot be made leaves the folder as it was
    card = model_card(part_config(model), name=name, evaluation=evaluation, licence=licence)
    save(model, folder / WEIGHTS, half=half)
    header = read_metadata(folder / WEIGHTS)
    config = {
        "library_name": "purespike",
        "format": FORMAT,
        "architecture": json.loads(header["config"]),
        "class_names": json.loads(header["class_names"]),
        "sha256": digest(folder / WEIGHTS),
    }
    write_json(folder / CONFIG, config)
    write_text(folder / README, card)
    return folder


def from_pretrained(place: str | Path, *, revision: str | None = None) -> nn.Module:
    """A model that :func:`save_pretrained` wrote, in evaluation mode on the CPU. Pickles are never read.

    Args:
        place: a folder, or an id on the hub, ``"OWNER/NAME"``.
        revision: branch, tag or commit on the hub.

    Raises:
        InputError: no such folder or model; a file is missing or damaged; weights that are not those of
            ``config.json``.
    """
    folder = as_path(place, name="from_pretrained")
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"from_pretrained: {folder} is a folder, which has no revision {revision!r}")
        files = {name: folder / name for name in (CONFIG, WEIGHTS)}
    else:
        files = {name: _download(str(place), name, revision) for name in (CONFIG, WEIGHTS)}
    for name, path in files.items():
        if not path.is_file():
            raise InputError(f"{place}: no {name} in it; purespike writes one with save_pretrained")
    config = read_json(files[CONFIG])
    _check(config, files, str(place))
    return load(files[WEIGHTS])


def _check(config: Mapping[str, Any], files: Mapping[str, Path], place: str) -> None:
    if config.get("library_name") != "purespike" or config.get("format") != FORMAT:
        raise InputError(f"{place}: {CONFIG} is not one of purespike")
    if config.get("sha256") != digest(files[WEIGHTS]):
        raise InputError(
            f"{place}: {WEIGHTS} has another sha256 than {CONFIG} says: one of them was changed; "
            "get both again"
        )
    header = read_metadata(files[WEIGHTS])
    if parse_json(header.get("config", "null"), f"{place}: {WEIGHTS}: config") != config.get("architecture"):
        raise InputError(f"{place}: {CONFIG} names another architecture than {WEIGHTS}; get both again")


def _download(name: str, file: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    if name.count("/") != 1:
        raise InputError(f"{name}: no such folder, and not an id of the hub (OWNER/NAME)")
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    # the hub, the network and the cache fail in ways of their own
    except Exception as error:
        raise InputError(f"{name}: {file} cannot be had from the hub: {brief(error)}") from error
