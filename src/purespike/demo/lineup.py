"""A classifier, bare and behind its purifiers, with images to try them on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from purespike.checks import as_float
from purespike.data import Data, ImageSet, load_data
from purespike.data.digits import load_digits
from purespike.data.roles import labelled_for
from purespike.data.sources import is_downloaded
from purespike.demo.pictures import EXTENT
from purespike.errors import InputError
from purespike.evaluation.threat import classifier_of
from purespike.models.fit import check_fit
from purespike.models.identity import identity
from purespike.training.origin import weights_of

BARE = "bare classifier"
EXAMPLES, CALIBRATION = 12, 200
_DIGITS = tuple("0123456789")
# height and width of the images of the sources that are downloaded, which a page does not do unasked
_SIDES = {"mnist": 28, "fashion_mnist": 28, "cifar10": 32, "cifar100": 32, "svhn": 32}


@dataclass(frozen=True, eq=False)
class Lineup:
    """Models of one classifier side by side, and images for them.

    Args:
        name: name of the lineup.
        models: images to logits, by title: first the bare classifier, then that classifier behind purifiers.
        class_names: K names.
        shape: ``(C, H, W)`` of an image.
        examples: images to choose from; ``None`` where there are none.
        clean: clean images of the models' own data, uint8 ``[N, C, H, W]``, by which thresholds are set;
            ``None`` where these data are not at hand.
        note: remark on the examples.
    """

    name: str
    models: Mapping[str, nn.Module]
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    examples: ImageSet | None
    clean: Tensor | None
    note: str = ""

    @property
    def draws(self) -> bool:
        """Whether the classes are the digits, which can be drawn."""
        return self.class_names == _DIGITS


def line_up(
    models: Mapping[str, nn.Module],
    *,
    sources: Mapping[str, Sequence[str]],
    data: str | None = None,
    titles: Mapping[str, str] | None = None,
) -> list[Lineup]:
    """Put models with the same classifier side by side.

    Args:
        models: images to logits by name, purified or not, in evaluation mode; several ``Defended`` of one
            classifier share a lineup.
        sources: data sources of each model, names of the same images; the first that can be loaded is. One
            that would be downloaded is not loaded.
        data: source that is loaded whatever it is, in place of all of these.
        titles: titles of purified models that are not their names.

    Returns:
        A lineup for each classifier, in the order of ``models``.

    Raises:
        InputError: no images from which to tell the size of a model's input, or images that do not fit it.
    """
    groups: dict[str, dict[str, nn.Module]] = {}
    for name, model in models.items():
        groups.setdefault(_key(classifier_of(model)), {})[name] = model
    return [_lineup(group, sources, data, titles or {}) for group in groups.values()]


def _key(classifier: nn.Module) -> str:
    """The same for classifiers of the same weights, whatever was recorded beside them."""
    return weights_of(classifier) if classifier.state_dict() else identity(classifier)


def _lineup(
    group: Mapping[str, nn.Module],
    sources: Mapping[str, Sequence[str]],
    data: str | None,
    titles: Mapping[str, str],
) -> Lineup:
    name, first = next(iter(group.items()))
    classifier = classifier_of(first)
    known = [data] if data else [source for each in group for source in sources.get(each, ())]
    loaded, note = _load(known, classifier, asked=data is not None, name=name)
    own = loaded is not None and not note
    test = None if loaded is None else labelled_for(classifier, loaded.test)
    if test is not None:
        shape = tuple(test.images.shape[1:])
    else:
        shape = (_channels(classifier), *2 * (_side(known),))
    trial = torch.zeros(1, *shape) if test is None else as_float(test.images[:2])
    labels = torch.zeros(1, dtype=torch.long) if test is None else test.labels
    columns = {BARE: classifier, **dict(_purified(group, titles))}
    classes = min(check_fit(model, trial, labels, name=title) for title, model in columns.items())
    names = getattr(classifier, "class_names", None) or (test.class_names if test and own else None)
    return Lineup(
        name=name,
        models=columns,
        class_names=tuple(names or map(str, range(classes))),
        shape=shape,  # type: ignore[arg-type]
        examples=None if test is None else test.take(EXAMPLES, seed=0),
        clean=loaded.train.take(CALIBRATION, seed=0).images if loaded is not None and own else None,
        note=note,
    )


def _purified(group: Mapping[str, nn.Module], titles: Mapping[str, str]) -> Iterator[tuple[str, nn.Module]]:
    for name, model in group.items():
        if model is not classifier_of(model):
            yield titles.get(name, name), model


def _load(
    sources: Sequence[str], classifier: nn.Module, *, asked: bool, name: str
) -> tuple[Data | None, str]:
    """Images of the first source at hand, or others that resemble them, which the remark then says."""
    faults = []
    for source in sources:
        if not asked and is_downloaded(source):
            continue
        try:
            return load_data(source), ""
        except InputError as error:
            if asked:
                raise
            faults.append(str(error))
    side, missing = _side(sources), f" ({faults[0]})" if faults else ""
    if not side:
        raise InputError(f"{name}: no images at hand to tell the size of its input{missing}; give --data")
    remark = f"{sources[-1]} is not loaded unless --data names it"
    if getattr(classifier, "class_names", None) == _DIGITS:
        return _scans(
            side, _channels(classifier)
        ), f"Scanned digits, others than it was trained on: {remark}."
    return None, f"No examples: {remark}."


def _scans(side: int, channels: int) -> Data:
    """Scanned digits with a margin as MNIST's have."""
    inner = round(EXTENT * side)
    data, before = load_digits("digits", side=inner, channels=channels), (side - inner) // 2
    after = side - inner - before
    padded = {
        split: replace(images, images=functional.pad(images.images, (before, after, before, after)))
        for split, images in (("train", data.train), ("test", data.test))
    }
    return Data(data.source, **padded)


def _side(sources: Sequence[str]) -> int:
    """Height and width of the images of the first source that is known; 0 if none is."""
    return next((_SIDES[source] for source in sources if source in _SIDES), 0)


def _channels(classifier: nn.Module) -> int:
    found = getattr(classifier, "in_channels", None)
    if found is None:
        first = next((each for each in classifier.modules() if isinstance(each, nn.Conv2d)), None)
        found = 3 if first is None else first.in_channels
    return int(found)
