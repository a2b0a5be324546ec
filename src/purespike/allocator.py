"""Memory that is freed stays with the process: tensors of the same sizes come and go with every step."""

import ctypes
import os

# parameters of glibc's mallopt
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_LARGEST_THRESHOLD = 32 << 20
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES")


def keep_freed_memory(*, large: bool = False) -> bool:
    """Tell glibc's allocator not to hand freed memory back to the system at once.

    By default it hands back whatever is large or last, and the next step of a network pays for new pages: a
    seventh of the time of a training step of a narrow network. The most memory that a process takes stays
    the same. The command line calls this; a program of your own may.

    Args:
        large: whether to keep single allocations above 32 MiB, too.

    Returns:
        Whether the allocator was told: not where it is another one, or where the environment chose already.
    """
    if any(name in os.environ for name in _CHOSEN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mapped = mallopt(_MMAP_MAX, 0) if large else mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
    return bool(mapped and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
