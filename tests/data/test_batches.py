import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from purespike.data import Augmentation, augment, draw_augmentation, epoch_order, shard


@given(count=st.integers(0, 200), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_epoch_order_is_a_permutation_that_repeats(count: int, seed: int, epoch: int) -> None:
    order = epoch_order(count, seed=seed, epoch=epoch)
    assert order.sort().values.tolist() == list(range(count))
    torch.rand(3)
    assert torch.equal(order, epoch_order(count, seed=seed, epoch=epoch))


def test_epoch_order_differs_between_epochs_and_seeds() -> None:
    orders = {tuple(epoch_order(50, seed=s, epoch=e).tolist()) for s in range(5) for e in range(5)}
    assert len(orders) == 25


def test_epoch_order_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    epoch_order(10, seed=0, epoch=0)
    assert torch.equal(before, torch.get_rng_state())


@given(count=st.integers(0, 50), world=st.integers(1, 9))
def test_shards_are_a_fair_partition(count: int, world: int) -> None:
    parts = [shard(torch.arange(count), rank=rank, world=world).tolist() for rank in range(world)]
    assert sorted(index for part in parts for index in part) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("rank", "world"), [(-1, 2), (2, 2), (0, 0)])
def test_shard_refuses_an_impossible_rank(rank: int, world: int) -> None:
    with pytest.raises(ValueError, match="rank"):
        shard(torch.arange(4), rank=rank, world=world)


def plainly(images: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    p = augmentation.padding
    moved = []
    for n, image in enumerate(images):
        padded = np.pad(image, ((0, 0), (p, p), (p, p)))
        row, column = int(augmentation.rows[n]), int(augmentation.columns[n])
        crop = padded[:, row : row + image.shape[1], column : column + image.shape[2]]
        moved.append(crop[:, :, ::-1] if augmentation.flip[n] else crop)
    return np.stack(moved)


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 7), st.integers(1, 7)),
    padding=st.integers(0, 4),
    flip=st.booleans(),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.float64]),
)
def test_augment_matches_a_loop(
    shape: tuple[int, ...], padding: int, flip: bool, seed: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, shape, generator=generator).to(dtype)
    drawn = draw_augmentation(shape[0], padding=padding, flip=flip, generator=generator)
    moved = augment(images, drawn)
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved.numpy(), plainly(images.numpy(), drawn))


def test_bfloat16() -> None:
    images = torch.rand(3, 3, 4, 4).bfloat16()
    drawn = draw_augmentation(3, padding=1, flip=True, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(augment(images, drawn).float(), plainly(images.float().numpy(), drawn))


def test_without_padding_and_mirror_nothing_moves() -> None:
    images = torch.rand(4, 3, 5, 6)
    drawn = draw_augmentation(4, padding=0, flip=False, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augment(images, drawn), images)


def test_draws_cover_their_range() -> None:
    drawn = draw_augmentation(2000, padding=2, flip=True, generator=torch.Generator().manual_seed(0))
    for offsets in (drawn.rows, drawn.columns):
        assert offsets.dtype == torch.int64
        assert (torch.bincount(offsets, minlength=5) > 300).all() and offsets.max() == 4
    assert not torch.equal(drawn.rows, drawn.columns)
    assert drawn.flip.dtype == torch.bool
    assert 0.45 < drawn.flip.float().mean() < 0.55


def test_one_augmentation_moves_two_images_alike() -> None:
    clean = torch.rand(5, 3, 8, 8)
    noise = torch.rand(5, 3, 8, 8)
    drawn = draw_augmentation(5, padding=2, flip=True, generator=torch.Generator().manual_seed(1))
    together = augment(clean, drawn) + augment(noise, drawn)
    assert torch.equal(together, augment(clean + noise, drawn))


def test_gradient_returns_to_the_pixel_it_came_from() -> None:
    images = torch.rand(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    drawn = draw_augmentation(2, padding=1, flip=True, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda x: augment(x, drawn), images)


def test_misuse_is_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match="padding"):
        draw_augmentation(2, padding=-1, flip=True, generator=generator)
    drawn = draw_augmentation(2, padding=1, flip=True, generator=generator)
    with pytest.raises(ValueError, match="drawn for 2 images, got 3"):
        augment(torch.rand(3, 1, 4, 4), drawn)
