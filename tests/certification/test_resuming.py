"""Certificates of a killed command, of other settings, and of several processes."""

import pytest
import torch

import purespike as ps
from certification.scenes import FEW, Linear, labelled, pictures, rows
from purespike import InputError
from purespike.certification import draws


@pytest.fixture
def counted(monkeypatch):
    """Draws that were made, not read back."""
    made = []
    original = draws.count_votes

    def counting(*arguments, **named):
        made.append(named["count"])
        return original(*arguments, **named)

    monkeypatch.setattr("purespike.certification.smoothed.count_votes", counting)
    return made


def test_counts_are_read_back(linear, counted, tmp_path):
    data = labelled(linear, pictures(3))
    first = ps.certify(linear, data, **FEW, folder=tmp_path)
    assert counted == [20, 200] * 3
    counted.clear()
    second = ps.certify(linear, data, **FEW, folder=tmp_path)
    assert not counted and rows(second) == rows(first)
    # the counts know nothing of alpha
    ps.certify(linear, data, **FEW, alpha=0.01, folder=tmp_path)
    assert not counted


@pytest.mark.parametrize("change", [{"sigma": 0.3}, {"seed": 1}, {"n": 210}, {"n0": 21}])
def test_counts_of_other_settings_are_not_taken(linear, counted, tmp_path, change):
    data = labelled(linear, pictures(1))
    ps.certify(linear, data, **FEW, folder=tmp_path)
    counted.clear()
    found = ps.certify(linear, data, **{**FEW, **change}, folder=tmp_path)
    assert counted
    assert rows(found) == rows(ps.certify(linear, data, **{**FEW, **change}))


def test_counts_of_another_model_are_not_taken(linear, counted, tmp_path):
    data = labelled(linear, pictures(1))
    ps.certify(linear, data, **FEW, folder=tmp_path)
    counted.clear()
    other = Linear(64)
    other.weight.data.mul_(-1)
    ps.certify(other, data, **FEW, folder=tmp_path)
    assert counted == [20, 200]


@pytest.mark.parametrize("damage", ["", "[", "{}", '{"counts": [200]}', '{"counts": [100, 99, 0]}'])
def test_damaged_counts_are_made_again(linear, counted, tmp_path, damage):
    data = labelled(linear, pictures(1))
    first = ps.certify(linear, data, **FEW, folder=tmp_path)
    for path in tmp_path.iterdir():
        path.write_text(damage)
    counted.clear()
    assert rows(ps.certify(linear, data, **FEW, folder=tmp_path)) == rows(first) and counted == [20, 200]


def test_a_killed_certification_goes_on_in_the_middle_of_an_image(linear, counted, monkeypatch, tmp_path):
    monkeypatch.setattr("purespike.certification.smoothed.PIECE", 100)
    data = labelled(linear, pictures(2))
    settings = {"n": 350, "n0": 20}
    whole = ps.certify(linear, data, **settings)
    assert counted == [20, 100, 100, 100, 50] * 2
    counted.clear()

    with monkeypatch.context() as patch:
        original = draws.count_votes

        def dying(*arguments, **named):
            counted.append(named["count"])
            if len(counted) == 8:
                raise KeyboardInterrupt
            return original(*arguments, **named)

        patch.setattr("purespike.certification.smoothed.count_votes", dying)
        with pytest.raises(KeyboardInterrupt):
            ps.certify(linear, data, **settings, folder=tmp_path)
    counted.clear()
    again = ps.certify(linear, data, **settings, folder=tmp_path)
    assert counted == [100, 100, 50], "from the piece it was killed in"
    assert rows(again) == rows(whole)


def test_processes_share_the_images(linear, tmp_path, monkeypatch):
    """Two processes in turn, one after the other, leave what one alone needs."""
    data = labelled(linear, pictures(5))
    whole = ps.certify(linear, data, **FEW)

    class Cut(Exception):
        pass

    def cut(rows):
        raise Cut([row for row, _ in rows])

    shared = []
    with monkeypatch.context() as patch:
        patch.setattr("purespike.certification.smoothed.gathered", cut)
        for rank in (0, 1):
            patch.setattr(
                "purespike.certification.smoothed.shares",
                lambda count, size, _, rank=rank: range(0, count, size)[rank::2],
            )
            with pytest.raises(Cut) as ended:
                ps.certify(linear, data, **FEW, folder=tmp_path)
            shared += ended.value.args[0]
    assert shared == [0, 2, 4, 1, 3]
    with monkeypatch.context() as patch:
        patch.setattr("purespike.certification.smoothed.count_votes", None)
        assert rows(ps.certify(linear, data, **FEW, folder=tmp_path)) == rows(whole)


def test_a_failure_says_that_the_counts_stay(tmp_path):
    class Failing(Linear):
        def forward(self, images):
            if len(images) == 100:
                raise RuntimeError("out of luck")
            return super().forward(images)

    with pytest.raises(InputError, match=r"out of luck; the counts before stay finished in") as failed:
        ps.certify(Failing(64), (pictures(1), torch.tensor([0])), **FEW, folder=tmp_path)
    assert "\n" not in str(failed.value)
