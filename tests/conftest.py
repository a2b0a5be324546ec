"""What every test runs under: one thread, and eager neurons unless it turns the compiler on itself.

Processes that a test starts inherit both: sums of several threads have other roundings.
"""

import os
import sys

os.environ |= {"PURESPIKE_COMPILE": "0", "OMP_NUM_THREADS": "1"}

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

# a busy machine is no failure, and the same commit finds the same examples everywhere
settings.register_profile("purespike", deadline=None, derandomize=True)
settings.load_profile("purespike")


@pytest.fixture
def call(monkeypatch, capsys):
    """Call a command as the shell does, see that it succeeds, and return what it printed."""

    def run(*arguments):
        from purespike import cli

        monkeypatch.setattr(sys, "argv", ["purespike", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code in (0, None), capsys.readouterr().err
        return capsys.readouterr().out

    return run
