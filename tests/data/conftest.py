"""Data sets of a few images, written the way a user's own would lie on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _no_network_and_nothing_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "huggingface")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "huggingface_modules"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("PURESPIKE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    def draw(count: int, *, seed: int = 0, size: tuple[int, int] = (6, 5), channels: int = 3) -> np.ndarray:
        shape = (count, *size) if channels == 1 else (count, *size, channels)
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return draw


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write ``{"train/cat": [array, …]}`` as PNG files and return the folder."""

    def write(content: dict[str, list[np.ndarray]], *, name: str = "pets") -> Path:
        for directory, arrays in content.items():
            target = tmp_path / name / directory
            target.mkdir(parents=True, exist_ok=True)
            for index, array in enumerate(arrays):
                Image.fromarray(array).save(target / f"{index}.png")
        return tmp_path / name

    return write
