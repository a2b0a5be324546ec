"""What every test runs under: one thread, and eager neurons unless it turns the compiler on itself."""

import os

os.environ["PURESPIKE_COMPILE"] = "0"

import torch

torch.set_num_threads(1)
