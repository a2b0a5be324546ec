"""What every test runs under: eager neurons (tests/neurons/test_compiled.py turns the compiler on) and one thread."""

import os

os.environ["PURESPIKE_COMPILE"] = "0"

import torch

torch.set_num_threads(1)
