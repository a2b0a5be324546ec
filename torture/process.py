"""Commands in processes of their own, forked from one that has imported PyTorch."""

import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

Hook = Callable[[], Any]
"""A function that disturbs the child before its command begins; a module's function or a partial of one."""

PRELOADED = (
    "purespike.cli",
    "purespike.experiment",
    "purespike.reproduction",
    "purespike.leaderboard.rendering",
    "purespike.pictures",
    "sklearn.datasets",
    "torture.hooks",
)
MEMORY, SECONDS, PATIENCE = 3 * 2**30, 60, 600
"""Limits of a process: address space beyond what it begins with, processor time, and time on the clock."""

# starting a process also asks whether others have ended, and an exit code can be read but once
_asking = threading.Lock()


@dataclass(frozen=True)
class Ended:
    """The end of a command.

    Args:
        code: exit code; the negative number of the signal that ended it.
        out: standard output.
        err: standard error.
        begun: whether the command had begun.
        seconds: processor time, 0 if it was killed.
        growth: peak of the resident memory beyond that at the start, in MiB, 0 if it was killed.
        hung: whether it had to be stopped, since it went on for too long.
    """

    code: int
    out: str
    err: str
    begun: bool = False
    seconds: float = 0.0
    growth: float = 0.0
    hung: bool = False

    @property
    def errors(self) -> list[str]:
        """The lines with which a command says why it ended."""
        return [line for line in self.err.splitlines() if line.startswith("purespike: error: ")]


@dataclass
class Command:
    """``purespike ARGUMENTS`` in a process of its own.

    Args:
        arguments: the command line, without the program.
        folder: current folder.
        hooks: functions that are called first.
        limited: whether memory and processor time are limited.
    """

    arguments: Sequence[str]
    folder: Path
    hooks: Sequence[Hook] = ()
    limited: bool = True
    _place: Path = field(init=False)
    _process: BaseProcess = field(init=False)
    _reports: Connection = field(init=False)

    def __enter__(self) -> "Command":
        self._place = Path(tempfile.mkdtemp(prefix="purespike-torture-"))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self._reports, writer = context.Pipe(duplex=False)
        inside = (list(self.arguments), self.folder, self._place, list(self.hooks), self.limited, writer)
        self._process = context.Process(target=_work, args=inside)
        with _asking:
            self._process.start()
        writer.close()
        self.begun = bool(self._report(PATIENCE))
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._reports.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def signal_after(self, seconds: float, number: int) -> None:
        """Send a signal some time after the command has begun, unless it has ended before."""
        if not self._over(seconds) and self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def wait(self) -> Ended:
        """Wait for the end; a command that does not end in ten minutes is killed."""
        hung = not self._over(PATIENCE)
        self._kill()
        usage = self._report(0) or {}
        out, err = (
            (self._place / name).read_bytes().decode("utf-8", "replace") if self.begun else ""
            for name in ("out", "err")
        )
        return Ended(self._process.exitcode or 0, out, err, self.begun, **usage, hung=hung)

    def _over(self, seconds: float) -> bool:
        """Whether the process has ended, or does within so many seconds."""
        return bool(wait([self._process.sentinel], seconds))

    def _kill(self) -> None:
        with _asking:
            self._process.kill()
            self._process.join()

    def _report(self, seconds: float) -> Any:
        with contextlib.suppress(EOFError, OSError):
            if self._reports.poll(seconds):
                return self._reports.recv()
        return None


def call(arguments: Sequence[object], folder: Path, *hooks: Hook, limited: bool = True) -> Ended:
    """The end of one undisturbed command, or of one that its hooks disturb."""
    with Command([str(each) for each in arguments], folder, hooks, limited) as command:
        return command.wait()


def _work(
    arguments: list[str], folder: Path, place: Path, hooks: list[Hook], limited: bool, writer: Connection
) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    import torch

    import purespike.cli

    os.environ.update(PURESPIKE_CACHE=str(place / "cache"), HF_HUB_OFFLINE="1", HF_HOME=str(place / "hub"))
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    sys.argv = ["purespike", *arguments]
    with _measured(writer, limited):
        for hook in hooks:
            hook()
        writer.send("begun")
        purespike.cli.main()


@contextlib.contextmanager
def _measured(writer: Connection, limited: bool) -> Iterator[None]:
    """Limit memory and processor time, and send their use at the end."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    if limited:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
        most = int(_processor(before)) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 5))
    try:
        yield
    finally:
        after = resource.getrusage(resource.RUSAGE_SELF)
        growth = (after.ru_maxrss - before.ru_maxrss) / 1024
        writer.send({"seconds": _processor(after) - _processor(before), "growth": growth})


def _processor(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime
