"""A checkpoint of training is restored as it was saved; a damaged one is a line that says how to go on."""

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.tensors import read_tensors, write_tensors
from purespike.training.state import TrainingState, read_history


def state(folder):
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    return TrainingState(folder, "classifier", model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))


@pytest.fixture
def saved(tmp_path):
    made = state(tmp_path)
    made.modules["model"](torch.ones(1, 2)).sum().backward()
    made.optimiser.step()
    for epoch in (1, 2):
        made.save(epoch, {"loss": 0.5})
    return tmp_path


def test_what_was_saved_is_restored(saved):
    again = state(saved)
    assert again.restore() == 2
    assert [row["epoch"] for row in read_history(saved / "history.jsonl")] == [1, 2]
    assert len(again.optimiser.state) == 2


@pytest.mark.parametrize(
    "damage",
    [
        {"epoch": "many"},
        {"epoch": "99"},
        {"epoch": None},
        {"optimiser": "[]"},
        {"optimiser": "{"},
        {"optimiser": '{"items": [[1]]}'},
        {"history": "5"},
        {"history": "[" * 100_000},
        {"history": "[]"},
        {"history": '[{"epoch": 2}, 7]'},
    ],
    ids=lambda damage: str(damage)[:30],
)
def test_damaged_records_are_one_line(saved, damage):
    path = saved / "checkpoint" / "classifier.safetensors"
    tensors, metadata = read_tensors(path)
    metadata = {key: value for key, value in (metadata | damage).items() if value is not None}
    write_tensors(path, tensors, metadata)
    with pytest.raises(InputError, match=r"classifier\.safetensors: does not belong .*delete it") as caught:
        state(saved).restore()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["{", "5", '{"stage": "classifier"}', "\xff", "[" * 100_000])
def test_a_damaged_history_is_one_line(saved, text):
    (saved / "history.jsonl").write_text(text + "\n", encoding="latin-1")
    with pytest.raises(
        InputError, match=r"history\.jsonl.*delete it, the checkpoints hold its rows"
    ) as caught:
        state(saved).restore()
    assert len(str(caught.value).splitlines()) == 1
