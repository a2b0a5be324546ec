import time

import pytest

from purespike import InputError
from purespike.training import accelerator
from purespike.training.clock import RESOLUTION, TRIAL, Clock
from purespike.training.optimiser import learning_rates
from training.tiny import recipe


class Hours:
    """A clock that the test moves on."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def hours(monkeypatch):
    return Hours(monkeypatch)


class Shown:
    """Keeps what a bar is told."""

    def __init__(self):
        self.done, self.lines = 0, []

    def advance(self, count, note="", *values):
        self.done += count

    def say(self, line):
        self.lines.append(line)


def clock(minutes=None, *, steps=4, spent=0.0, **changes):
    section = {"schedule": "one_cycle", "minutes": minutes, "epochs": 3, **changes}
    return Clock(recipe(purifier=section).purifier, steps, accelerator(device="cpu"), spent=spent)


def test_without_minutes_every_batch_has_its_place_and_its_rate():
    own = clock()
    section = recipe(purifier={"schedule": "one_cycle"}).purifier
    expected = learning_rates(section.schedule, section.learning_rate, epochs=3, steps=4)
    found = [(own.at(epoch, number), own.progress) for epoch in own.epochs(0) for number in range(4)]
    assert found == [(rate, step / 12) for step, rate in enumerate(expected)]
    assert list(own.epochs(2)) == [3] and list(own.epochs(3)) == []


def test_by_the_clock_training_ends_annealed_when_the_minutes_are_over(hours):
    own, shown, epochs, rates = clock(2), Shown(), 0, []
    for _ in own.epochs(0):
        epochs += 1
        for number in range(4):
            rates.append(own.at(epochs, number))
            hours.now += 3
            own.advance(shown, "purifier", 25, 100, "")
            if own.over:
                break
    assert len(rates) == 40 and epochs == 10, "120 s in batches of 3 s"
    assert own.finished(epochs) and shown.done == 120
    table = learning_rates(own.recipe.schedule, own.recipe.learning_rate, epochs=RESOLUTION, steps=1)
    assert rates == [table[number * RESOLUTION // 40] for number in range(40)]
    assert rates[-1] < 0.05 * max(rates)
    assert shown.lines == ["purifier: 0.33 batches of 25 a second, about 7.5 epochs in 2 min"]


def test_a_resumed_run_has_the_minutes_that_are_left(hours):
    own = clock(1, spent=45)
    own.at(5, 0)
    assert own.progress == 0.75 and not own.over
    assert list(clock(1, spent=60).epochs(7)) == []


def test_minutes_too_few_for_an_epoch_are_refused_after_some_batches(hours):
    own, shown = clock(0.5, steps=100), Shown()
    with pytest.raises(InputError, match=r"purifier.minutes: 0.5 are too few for one epoch of 2,500 images"):
        for number in range(TRIAL):
            own.at(1, number)
            hours.now += 1
            own.advance(shown, "purifier", 25, 2500, "")
    assert number == TRIAL - 1


def test_milestones_are_epochs_and_not_minutes():
    with pytest.raises(InputError, match="minutes: milestones are epochs"):
        clock(1, schedule={"name": "milestones", "milestones": [2]})
