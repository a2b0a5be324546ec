"""What an export wrote, and how far the file was seen to agree with the model."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file.

    Args:
        path: path of the file.
        format: ``"ONNX"`` or ``"NIR"``.
        takes: what the file takes, in words.
        gives: what it gives, in words.
        nodes: nodes of its graph.
        judge: program that ran it, with its version.
        images: images on which it was compared with the model.
        largest: largest difference of an output.
        agreement: what was compared, in words.
    """

    path: Path
    format: str
    takes: str
    gives: str
    nodes: int
    judge: str
    images: int
    largest: float
    agreement: str

    def __str__(self) -> str:
        """Three lines: the file, its input and output, and the comparison."""
        size = self.path.stat().st_size / 2**20 if self.path.exists() else 0.0
        return (
            f"{self.format}: {self.path} ({size:.1f} MB, {self.nodes:,} nodes)\n"
            f"takes {self.takes}; gives {self.gives}\n"
            f"checked by {self.judge}: {self.agreement}"
        )
