"""What a GPU would refuse is found without one; its kernels, speed and memory are not tested here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from neurons.tiers import needs_compiler

HERE = Path(__file__).parent


@needs_compiler
@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch has device guards of its own")
def test_training_and_evaluation_keep_their_tensors_on_the_gpu(tmp_path):
    torch_folder = Path(torch.__file__).parent
    guard = tmp_path / "guard.so"
    options = ["-std=c++20", "-shared", "-fPIC", f"-I{torch_folder / 'include'}", f"-L{torch_folder / 'lib'}"]
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, *options, HERE / "guard.cpp", "-o", guard, "-lc10"], check=True)
    command = [sys.executable, HERE / "machine.py", guard, tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    said = done.stdout.splitlines()
    assert [line for line in said if line in ("refuses what a GPU refuses", "trains", "evaluates")] == [
        "refuses what a GPU refuses",
        "trains",
        "evaluates",
    ]
