"""Finished work is read back, damaged work is done again, and other work is not taken for it."""

import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from purespike.chunks import Json, Store, chunks, gathered, shares
from purespike.results import Record


class Count(Record):
    value: int


def counting(value, calls):
    def compute():
        calls.append(value)
        return Count(value=value)

    return compute


def test_a_finished_piece_is_read_back(tmp_path):
    calls = []
    for _ in range(2):
        store = Store(tmp_path, "model", [torch.ones(3)])
        assert store.get(Json(Count), ("a", 1), counting(4, calls)).value == 4
    assert calls == [4]


def test_everything_that_decides_it_tells_pieces_apart(tmp_path):
    calls = []
    decided = [("model", [torch.ones(3)]), ("other", [torch.ones(3)]), ("model", [torch.ones(3) * 2])]
    decided += [("model", [torch.ones(3, dtype=torch.float64)]), ("model", [torch.ones(1, 3)])]
    for number, parts in enumerate(decided):
        Store(tmp_path, *parts).get(Json(Count), "a", counting(number, calls))
        Store(tmp_path, *parts).get(Json(Count), "b", counting(number, calls))
        Store(tmp_path, *parts).get(Json(Count), ["a", torch.zeros(1)], counting(number, calls))
    assert calls == [number for number in range(len(decided)) for _ in range(3)]
    assert len(list(tmp_path.iterdir())) == len(calls)


def test_a_damaged_piece_is_computed_again(tmp_path):
    for damage in ("", "[]", '{"value": "x"}', "{}"):
        calls = []
        store = Store(tmp_path, "model")
        store.get(Json(Count), "a", counting(1, calls))
        (path,) = tmp_path.iterdir()
        path.write_text(damage)
        assert store.get(Json(Count), "a", counting(2, calls)).value == 2
        assert store.get(Json(Count), "a", counting(3, calls), valid=lambda kept: kept.value > 2).value == 3
        path.unlink()


def test_nothing_is_kept_without_a_folder_or_by_a_process_that_does_not_write(tmp_path):
    calls = []
    for _ in range(2):
        Store(None).get(Json(Count), "a", counting(1, calls))
        Store(tmp_path).get(Json(Count), "a", counting(2, calls), write=False)
    assert calls == [1, 2, 1, 2] and not list(tmp_path.iterdir())


class Process:
    def __init__(self, rank, world):
        self.process_index, self.num_processes = rank, world
        self.device = torch.device("cpu")


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 4))
def test_processes_share_all_rows_and_chunks_do_not_depend_on_their_number(count, size, world):
    starts = sorted(start for rank in range(world) for start in shares(count, size, Process(rank, world)))
    assert starts == list(range(0, count, size))


def test_chunks_are_floats_with_their_labels():
    images, labels = torch.arange(5 * 3, dtype=torch.uint8).view(5, 3, 1, 1), torch.arange(5)
    found = list(chunks(images, labels, 2, Accelerator(cpu=True)))
    assert [start for start, *_ in found] == [0, 2, 4]
    assert torch.equal(torch.cat([part for _, part, _ in found]), images.float() / 255)
    assert torch.equal(torch.cat([part for *_, part in found]), labels)
    assert gathered([(4, "c"), (0, "a"), (2, "b")]) == ["a", "b", "c"]
