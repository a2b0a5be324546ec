"""What a classifier decides by: pixels (Grad-CAM), and time steps."""

from purespike.explain.attribution import grad_cam, similarity
from purespike.explain.temporal import TemporalInformation, temporal_information

__all__ = ["TemporalInformation", "grad_cam", "similarity", "temporal_information"]
