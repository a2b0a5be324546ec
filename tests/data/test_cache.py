import logging
from pathlib import Path

import pytest
import torch

from purespike.data import Data, ImageSet
from purespike.data.cache import default_cache_dir, read_cached, write_cached


def make(seed: int = 0) -> Data:
    images = torch.randint(
        0, 256, (4, 1, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )
    labels = torch.tensor([0, 1, 0, 1])
    train = ImageSet(images, labels, ("ä", "b"), "toy/train")
    return Data("hub:toy", train, ImageSet(255 - images, labels.clone(), ("ä", "b"), "toy/test"))


def test_round_trip(tmp_path: Path) -> None:
    data, path = make(), tmp_path / "deep" / "toy.safetensors"
    assert read_cached(path, source="hub:toy", name="toy") is None
    write_cached(path, data)
    again = read_cached(path, source="hub:toy", name="toy")
    assert again is not None
    assert torch.equal(again.train.images, data.train.images)
    assert torch.equal(again.test.images, data.test.images)
    assert (again.train.class_names, again.test.name) == (("ä", "b"), "toy/test")


@pytest.mark.parametrize("where", ["empty", "short", "half", "head", "label", "pixel", "foreign"])
def test_a_damaged_file_is_ignored_and_can_be_rewritten(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "toy.safetensors"
    write_cached(path, make())
    sound = path.read_bytes()

    def flipped(position: int) -> bytes:
        return sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :]

    path.write_bytes(
        {
            "empty": b"",
            "short": sound[:5],
            "half": sound[: len(sound) // 2],
            "head": flipped(9),
            "label": flipped(sound.index(make().train.labels.numpy().tobytes())),
            "pixel": flipped(sound.index(make().test.images.numpy().tobytes()) + 40),
            "foreign": b"\x02\0\0\0\0\0\0\0{}",
        }[where]
    )
    with caplog.at_level(logging.WARNING):
        assert read_cached(path, source="hub:toy", name="toy") is None
    assert "damaged cache file" in caplog.text
    write_cached(path, make())
    assert read_cached(path, source="hub:toy", name="toy") is not None


def test_an_unwritable_place_is_only_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    write_cached(tmp_path / "file" / "toy.safetensors", make())
    assert "cannot be written" in caplog.text


def test_directory_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PURESPIKE_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("PURESPIKE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "purespike"
