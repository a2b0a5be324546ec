"""What every test runs under: one thread, and eager neurons unless it turns the compiler on itself.

Processes that a test starts inherit both: sums of several threads have other roundings.
"""

import os

os.environ |= {"PURESPIKE_COMPILE": "0", "OMP_NUM_THREADS": "1"}

import torch
from hypothesis import settings

torch.set_num_threads(1)

# a busy machine is no failure, and the same commit finds the same examples everywhere
settings.register_profile("purespike", deadline=None, derandomize=True)
settings.load_profile("purespike")
