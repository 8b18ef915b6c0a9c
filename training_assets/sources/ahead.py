"""Work on several parts of a file at a time, for what lets go of the interpreter meanwhile."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

_P = TypeVar("_P")
_R = TypeVar("_R")


def in_order(work: Callable[[_P], _R], parts: Iterable[_P], threads: int) -> Iterator[_R]:
    """``work`` on each part, in their order; ``threads`` and one more are held at a time.

    A single part, as of a small file, starts no thread.
    """
    taken = iter(parts)
    first = list(islice(taken, 2)) if threads > 1 else []
    parts = chain(first, taken)
    if len(first) < 2:
        yield from map(work, parts)
        return
    pool = ThreadPoolExecutor(threads, "parts")
    waiting: deque[Future[_R]] = deque()
    try:
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
