"""Lets a process that computes use again the memory that it has used.

By default a C library hands large blocks back to the system as soon as they are free, and every
page of the next one is cleared anew: up to a third of the time of a run on Sail, whose Python
functions run in this process. What is kept instead is bounded, and ends with the process.
"""

import ctypes
from functools import cache
from typing import Final

import pyarrow as pa

# mallopt(3) of glibc.
_TRIM_THRESHOLD: Final = (-1, 2**30)
_TOP_PAD: Final = (-2, 2**26)
_MMAP_THRESHOLD: Final = (-3, 2**25)
_ARENA_MAX: Final = (-8, 1)
# PR_SET_THP_DISABLE of prctl(2).
_DISABLE_HUGE_PAGES: Final = 41


@cache
def keep_memory() -> None:
    """Keep up to 1 GiB of free memory, and use no huge pages, until the process ends.

    Does nothing where the C library is not glibc.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, prctl = library.mallopt, library.prctl
    except (OSError, AttributeError):
        return
    for option in (_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX):
        mallopt(*option)
    # NumPy and Sail ask for huge pages. To clear all of one for the part that is used costs more
    # than it saves where memory is gone through a few times.
    prctl(_DISABLE_HUGE_PAGES, 1, 0, 0, 0)
    # Arrow's own allocator would go on giving back.
    pa.set_memory_pool(pa.system_memory_pool())
