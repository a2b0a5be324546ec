"""Freed memory stays with the process, unless the environment chose otherwise."""

import os
import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
FAULTS = """
import resource, sys
from purespike.allocator import keep_freed_memory
{told}
import torch
torch.set_num_threads(1)
a = torch.ones(1 << 20)
def step():
    kept = [a + 1 for _ in range(4)]
    del kept
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(text, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", text]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True).stdout


@glibc
def test_a_step_that_takes_the_memory_of_the_last_one_faults_no_page():
    untold = int(run(FAULTS.format(told="")))
    assert int(run(FAULTS.format(told="keep_freed_memory()"))) < untold / 4
    assert int(run(FAULTS.format(told="keep_freed_memory(large=True)"))) < untold / 4


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_the_environment_chooses_first(name):
    told = "from purespike.allocator import keep_freed_memory; print(keep_freed_memory())"
    assert run(told, **{name: "100000"}).strip() == "False"
