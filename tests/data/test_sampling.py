import torch
from hypothesis import given
from hypothesis import strategies as st

from purespike.data.sampling import stratified_indices


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=80),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_every_class_keeps_its_share_to_within_one(labels: list[int], share: float, seed: int) -> None:
    count = round(share * len(labels))
    chosen = stratified_indices(torch.tensor(labels), count, seed=seed).tolist()
    assert len(chosen) == count
    assert chosen == sorted(set(chosen))
    for label in set(labels):
        exact = count * labels.count(label) / len(labels)
        assert abs(sum(labels[index] == label for index in chosen) - exact) < 1


def test_seed_decides_the_draw() -> None:
    labels = torch.arange(200) % 10
    first = stratified_indices(labels, 50, seed=1)
    assert torch.equal(first, stratified_indices(labels, 50, seed=1))
    assert not torch.equal(first, stratified_indices(labels, 50, seed=2))


def test_every_image_of_a_class_can_be_drawn() -> None:
    labels = torch.tensor([0, 1, 0, 1, 1])
    drawn = {int(index) for seed in range(50) for index in stratified_indices(labels, 2, seed=seed)}
    assert drawn == {0, 1, 2, 3, 4}
