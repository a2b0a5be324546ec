"""Images in every form a caller may have them give the same evaluation, or one clear line."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

import purespike
from purespike import InputError
from purespike.attacks import pgd
from purespike.data import ImageSet, given, given_images

IMAGES = torch.rand(7, 3, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(7) % 3


class Pairs(Dataset[Any]):
    def __init__(self, label: Any = int) -> None:
        self.label = label

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index], self.label(LABELS[index])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return zip(IMAGES, LABELS, strict=True)


class Bad(Pairs):
    def __getitem__(self, index: int) -> Any:
        return IMAGES[index, :, : 1 + index], 0


GIVEN = {
    "tensors": (IMAGES, LABELS),
    "list": [IMAGES, LABELS],
    "tensor data set": TensorDataset(IMAGES, LABELS),
    "whole-number labels": Pairs(),
    "NumPy labels": Pairs(np.int64),
    "stream": Stream(),
    "loader": DataLoader(Pairs(), batch_size=3),
    "loader of single images": DataLoader(Pairs(), batch_size=None),
    "loader of a stream": DataLoader(Stream(), batch_size=2),
}


@pytest.mark.parametrize("data", GIVEN.values(), ids=GIVEN)
def test_every_form_gives_the_same_images(data: Any) -> None:
    images, labels = given_images(data, nn.Identity())
    assert torch.equal(images, IMAGES) and torch.equal(labels, LABELS)
    assert not labels.is_floating_point()


def test_sets_follow_the_class_names_of_the_model() -> None:
    class Named(nn.Module):
        class_names = ("b", "a", "c")

    images = ImageSet((IMAGES * 255).byte(), LABELS, ("a", "b", "c"), "toy/test")
    assert given_images(images, Named()).labels.tolist() == [1, 0, 2, 1, 0, 2, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "data: got NoneType; give a source's name"),
        ((IMAGES,), "data: got tuple"),
        (IMAGES, "data: got Tensor"),
        (Bad(), "data: Bad: does not give images of one size with a label each"),
        (TensorDataset(IMAGES), r"data: TensorDataset: .*not enough values"),
        (Pairs(lambda label: "cat"), "data: Pairs: does not give"),
        (DataLoader(Pairs(lambda label: 1 // 0)), r"data: DataLoader: .*division"),
    ],
)
def test_what_holds_no_images(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        given_images(data, nn.Identity())
    assert len(str(caught.value).splitlines()) == 1


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()


def outcomes(model: nn.Module, **settings: Any) -> Any:
    given = {"attacks": ["fgsm"], "threat": "adaptive", "diagnose": 0, "eps": 0.03125} | settings
    (cell,) = purespike.evaluate(model, (IMAGES, LABELS), **given).cells
    return cell.eps, cell.outcomes


@pytest.mark.parametrize("eps", [np.float32(0.03125), np.float64(0.03125), torch.tensor(0.03125), "1/32"])
def test_a_budget_of_any_type_of_number(model: nn.Module, eps: Any) -> None:
    assert outcomes(model, eps=eps) == outcomes(model)
    assert torch.equal(
        pgd(model, IMAGES, LABELS, eps=eps).images, pgd(model, IMAGES, LABELS, eps=1 / 32).images
    )


@pytest.mark.parametrize(
    "eps", [torch.full((7,), 0.03), np.full((7, 1, 1, 1), 0.03)], ids=["tensor", "array"]
)
def test_a_budget_for_each_image_is_one_line(model: nn.Module, eps: Any) -> None:
    with pytest.raises(InputError, match="eps: every image meets every budget"):
        outcomes(model, eps=eps)
    with pytest.raises(InputError, match=r"eps: one number .* for all images, got a (Tensor|nd)") as caught:
        pgd(model, IMAGES, LABELS, eps=eps)
    assert len(str(caught.value).splitlines()) == 1


def test_an_exported_graph_is_evaluated(model: nn.Module) -> None:
    count = torch.export.Dim("count", min=1, max=64)
    exported = torch.export.export(model, (IMAGES,), dynamic_shapes=({0: count},)).module()
    assert outcomes(exported) == outcomes(model)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        while True:
            yield from zip(IMAGES, LABELS, strict=True)


class Again(Sampler[int]):
    """A sampler without an end, hence without a length."""

    def __iter__(self) -> Any:
        return itertools.cycle(range(7))


ENDLESS = {
    "stream": Endless(),
    "loader": DataLoader(Endless(), batch_size=2),
    "loader of single images": DataLoader(Endless(), batch_size=None),
    "sampler": DataLoader(Pairs(), batch_size=2, sampler=Again()),
}


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("images", [4, None])
def test_a_stream_without_an_end_is_one_line(
    data: Any, images: int | None, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert given.LONGEST == 100_000
    monkeypatch.setattr(given, "LONGEST", 50)
    with pytest.raises(InputError, match=r"data: \w+: gave 5[12] images .* and did not end") as caught:
        purespike.evaluate(model, data, images=images)
    assert len(str(caught.value).splitlines()) == 1


def test_the_limit_is_one_of_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "LARGEST", 7 * IMAGES[0].nbytes)
    assert torch.equal(given_images(Stream(), nn.Identity())[0], IMAGES)  # type: ignore[index]
    with pytest.raises(InputError, match="gave 8 images"):
        given_images(Endless(), nn.Identity())
    # of known length
    monkeypatch.setattr(given, "LARGEST", 0)
    assert torch.equal(given_images(Pairs(), nn.Identity())[0], IMAGES)  # type: ignore[index]


def test_a_data_set_without_images() -> None:
    with pytest.raises(InputError, match="data: TensorDataset: does not give"):
        given_images(TensorDataset(IMAGES[:0], LABELS[:0]), nn.Identity())
