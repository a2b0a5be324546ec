"""What this machine offers purespike, and whether its neurons compute here what they should."""

from purespike.doctor.self_check import KernelCheck, check_kernels
from purespike.doctor.speed import measure_speed
from purespike.doctor.surroundings import Fact, describe_extras, describe_machine, describe_versions

__all__ = [
    "Fact",
    "KernelCheck",
    "check_kernels",
    "describe_extras",
    "describe_machine",
    "describe_versions",
    "measure_speed",
]
