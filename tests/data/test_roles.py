"""What an attacker trains on, the defender does not; where possible nobody attacks it either."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from purespike.data import Data, ImageSet, attacker_data, defender_data, overlap
from purespike.errors import InputError

CLASSES = 3


def numbered(labels: list[int], first: int, name: str) -> ImageSet:
    """Images that carry their number in their pixels, so that each is known again."""
    numbers = torch.arange(first, first + len(labels))
    pixels = torch.stack([numbers // 256, numbers % 256, torch.zeros_like(numbers)], 1).to(torch.uint8)
    return ImageSet(pixels.view(-1, 3, 1, 1), torch.tensor(labels), tuple("abc"), name)


def numbers(part: ImageSet) -> set[int]:
    pixels = part.images.view(-1, 3).int()
    found = (256 * pixels[:, 0] + pixels[:, 1]).tolist()
    assert len(set(found)) == len(found)
    return set(found)


def whole(train: list[int], test: list[int]) -> Data:
    return Data("toy", numbered(train, 0, "toy/train"), numbered(test, len(train), "toy/test"))


labels = st.lists(st.integers(0, CLASSES - 1), min_size=CLASSES, max_size=60)
limits = st.none() | st.integers(1, 70)


@given(
    train=labels,
    test=labels,
    train_limit=limits,
    test_limit=limits,
    attacked=limits,
    limit=limits,
    seed=st.integers(0, 2**31),
)
def test_attacker_and_defender_share_no_image(train, test, train_limit, test_limit, attacked, limit, seed):
    data = whole(train, test)
    settings = {"train_limit": train_limit, "test_limit": test_limit, "seed": seed}
    defender = defender_data(data, **settings)
    # what an evaluation of the defender attacks: read_images takes from its test split
    under_attack = numbers(defender.test.take(attacked, seed=seed))
    try:
        attacker = attacker_data(data, attacked=attacked, limit=limit, **settings)
    except InputError:
        free = data.train if len(defender.train) < len(train) else data.test
        used = numbers(defender.train) | (under_attack if free is data.test else set())
        left = {
            label
            for label, number in zip(free.labels.tolist(), sorted(numbers(free)), strict=True)
            if number not in used
        }
        # a stratified part of a set that has every class may lack one
        assert len(left) < CLASSES or limit is not None
        return
    own = numbers(attacker.train)
    assert own and not own & numbers(defender.train)
    assert not own & under_attack and not own & numbers(attacker.test)
    assert set(attacker.train.labels.tolist()) == set(range(CLASSES))
    rest = len(train) - len(defender.train)
    pool = rest if rest else len(test) - len(under_attack)
    assert len(own) == min(pool, limit or pool)
    everything = numbers(data.train) if rest else numbers(data.test)
    assert own <= everything
    assert numbers(attacker.test) == (numbers(defender.test) if rest else under_attack)


def test_images_keep_their_labels():
    data = whole([0, 1, 2] * 10, [0, 1, 2])
    attacker = attacker_data(data, train_limit=12, test_limit=None, attacked=None, limit=9, seed=4)
    for image, label in zip(attacker.train.images, attacker.train.labels, strict=True):
        assert int(image[1]) % 3 == label
    assert torch.bincount(attacker.train.labels).tolist() == [3, 3, 3]


def test_the_attackers_part_has_a_name_of_its_own():
    data = whole([0, 1, 2] * 4, [0, 1, 2] * 2)
    settings = {"test_limit": None, "limit": None, "seed": 0}
    assert "toy/train left" in attacker_data(data, train_limit=6, attacked=None, **settings).train.name
    assert "toy/test left" in attacker_data(data, train_limit=None, attacked=3, **settings).train.name


@pytest.mark.parametrize(
    ("train_limit", "attacked", "limit", "message"),
    [
        (
            None,
            None,
            None,
            r"trains on all 12 .* all 6 test images are attacked; .*train_limit or evaluation",
        ),
        (99, 6, None, "no images are left for an attacker"),
        (11, None, None, r"no image of class '.'.* among 1; reduce the defender"),
        (6, None, 2, r"no image of class .* among 2; .*or raise data.attacker_limit"),
    ],
)
def test_too_little_left_says_how_to_fix_it(train_limit, attacked, limit, message):
    data = whole([0, 1, 2] * 4, [0, 1, 2] * 2)
    with pytest.raises(InputError, match=message):
        attacker_data(data, train_limit=train_limit, test_limit=None, attacked=attacked, limit=limit, seed=0)


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=12))
def test_overlap_counts_equal_images(one, other):
    images, others = (
        torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        for values in (one, other)
    )
    assert overlap(images, others) == sum(value in other for value in one)
