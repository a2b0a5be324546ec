"""Models in the formats of other tools: ONNX, and the Neuromorphic Intermediate Representation (NIR)."""

from purespike.exporting.export import FORMATS, check_path, export
from purespike.exporting.exported import Exported

__all__ = ["FORMATS", "Exported", "check_path", "export"]
