"""What is imported for a command stays until it ends, so nobody need look whether it is in use."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's collector rests while modules are imported, and leaves out what they made.

    It would go through all of it again and again: a fifth of the time that the imports take.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
