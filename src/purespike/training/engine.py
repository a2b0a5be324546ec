"""Device, precision and processes, through Accelerate."""

import contextlib
import os
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from purespike.errors import InputError, unknown

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@contextlib.contextmanager
def main_first(accelerator: Accelerator) -> Iterator[None]:
    """The main process goes first, e.g. to download; where it fails it still lets the others follow.

    Accelerate's own leaves them waiting then, one barrier behind if the error is handled.
    """
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_main_process:
            accelerator.wait_for_everyone()


def accelerator(*, device: str = "auto", precision: str = "fp32") -> Accelerator:
    """The processes, device and precision that training and evaluation run on.

    Started by ``accelerate launch --multi_gpu … -m purespike`` (which names the launcher of many processes,
    on CPUs too) or ``torchrun``, it spans their processes.

    Args:
        device: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``; neurons keep a float32 state in any case.

    Raises:
        InputError: unknown device or precision, or a device that this machine lacks.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device cuda: PyTorch sees no CUDA GPU here; use --device cpu, or install a CUDA build"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError("device mps: PyTorch sees no Apple GPU here; use --device cpu")
    if precision == "fp16" and not torch.cuda.is_available():
        raise InputError("precision fp16 needs a CUDA GPU; use bf16 or fp32")
    # precision belongs to one run; Accelerate would otherwise insist on that of the process's first run
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=PRECISIONS[precision],
        # every parameter takes part in every step, and buffers follow the main process
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False)],
    )


def limit_threads(processes: int) -> None:
    """Share the cores among the processes of one machine, unless OMP_NUM_THREADS says otherwise."""
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
