"""Jobs run one at a time, in a thread of their own, and end when nobody listens."""

import threading
import time

import pytest

from purespike.demo.jobs import Jobs, TimeUp
from purespike.errors import InputError


def test_values_come_in_order_from_another_thread():
    def work(tell):
        for value in range(5):
            tell((value, threading.get_ident()))

    values = list(Jobs().run(work))
    assert [value for value, _ in values] == list(range(5))
    assert {ident for _, ident in values} & {threading.get_ident()} == set()


def test_one_at_a_time():
    running, most, jobs = [], [], Jobs()

    def work(tell):
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        tell(None)

    readers = [threading.Thread(target=lambda: list(jobs.run(work))) for _ in range(5)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert most == [1] * 5


def test_an_error_reaches_the_reader_after_what_was_told():
    def work(tell):
        tell(1)
        raise KeyError("gone")

    seen = Jobs().run(work)
    assert next(seen) == 1
    with pytest.raises(KeyError, match="gone"):
        next(seen)


def test_who_leaves_ends_the_work():
    ended, go = threading.Event(), threading.Event()

    def work(tell):
        try:
            tell(1)
            go.wait(5)
            for value in range(1000):
                tell(value)
        finally:
            ended.set()

    jobs = Jobs()
    seen = jobs.run(work)
    next(seen)
    seen.close()
    go.set()
    assert ended.wait(5)
    assert list(jobs.run(lambda tell: tell("next"))) == ["next"]


def test_a_job_that_is_stopped_ends_as_if_it_were_done():
    jobs = Jobs()
    jobs.stop()

    def work(tell):
        for value in range(10**9):
            tell(value)
            time.sleep(0.001)

    seen = jobs.run(work)
    first = [next(seen) for _ in range(3)]
    jobs.stop()
    rest = list(seen)
    assert first + rest == list(range(3 + len(rest)))
    assert list(jobs.run(lambda tell: tell("next"))) == ["next"]


def test_the_limit_counts_from_the_beginning_of_the_job():
    jobs = Jobs(0.2)

    def slow(tell):
        while True:
            tell(0)
            time.sleep(0.01)

    waiting = jobs.run(lambda tell: tell("second"))
    with pytest.raises(TimeUp):
        list(jobs.run(slow))
    assert list(waiting) == ["second"]


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_is_positive(limit):
    with pytest.raises(InputError, match="limit"):
        Jobs(limit)
