"""Epochs over opened days: reading ahead, sharing out to workers, and keeping the position."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from typing import TypeVar

import numpy as np

from training_assets.loader.arrays import Allocate, Array, BufferPool, Int64Array
from training_assets.loader.batches import Batch, Extra, Gather, Layout
from training_assets.loader.day import Day, read_day
from training_assets.loader.opening import OpenDay, Reading
from training_assets.loader.order import Order

T = TypeVar("T")
GatherRows = Callable[[Int64Array], T]


class Stream:
    """The batches of one rank, numbered 0, 1, 2, ... through an epoch, and which one is next."""

    def __init__(
        self,
        days: Sequence[OpenDay],
        order: Order,
        reading: Reading,
        *,
        layout: Layout,
        extras: frozenset[Extra],
        prefetch: bool,
    ) -> None:
        self.order = order
        self.reading = reading
        self.layout: Layout = layout
        self.extras = extras
        self.prefetch = prefetch
        self.open(days)
        self.epoch = 0
        self.num_done = 0
        self._is_resumed = False

    def open(self, days: Sequence[OpenDay]) -> None:
        """Let iterations from now on read these days."""
        self.days = tuple(days)
        counts = (self.order.num_batches(day.num_examples) for day in days)
        self.first_batches = [0, *accumulate(counts)]

    @property
    def num_batches(self) -> int:
        return self.first_batches[-1]

    def resume(self, epoch: int, num_done: int) -> None:
        """Let the next iteration begin with batch ``num_done`` of ``epoch``."""
        self.epoch, self.num_done, self._is_resumed = epoch, num_done, True

    def position(self) -> tuple[int, int]:
        """Day of the next batch, and its number within that day."""
        day = bisect_right(self.first_batches, self.num_done, hi=len(self.days)) - 1
        return day, self.num_done - self.first_batches[day]

    def begin(self) -> int:
        """Number of the batch that an iteration which begins now gives first."""
        if not self._is_resumed:
            self.num_done = 0
        self._is_resumed = False
        return self.num_done

    def counted(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches on, each counted as done once it is handed over.

        No frame here holds a batch that the consumer let go of: the next one may take its memory.
        """
        if self.num_batches == 0:
            self.epoch += 1
        return map(self._count, batches)

    def _count(self, batch: T) -> T:
        self.num_done += 1
        if self.num_done == self.num_batches:
            self.epoch, self.num_done = self.epoch + 1, 0
        return batch

    def batches(
        self,
        gather_from: Callable[[Day], GatherRows[T]],
        start: int,
        *,
        worker: int = 0,
        num_workers: int = 1,
    ) -> Iterator[T]:
        """Batches ``start + worker``, and every ``num_workers``-th from there, of this epoch.

        A day is let go before the one after the next is begun, so two are in memory at most.
        """
        work = self._work(start + worker, num_workers)
        epoch = self.epoch
        with _reading(lambda index: self._read(index, epoch), self.prefetch) as read_ahead:
            ahead = [read_ahead(index) for index, _ in work[:1]]
            for number, (_, steps) in enumerate(work):
                day, order = ahead.pop()()
                ahead = [read_ahead(index) for index, _ in work[number + 1 : number + 2]]
                num_examples = day.num_examples
                gather = gather_from(day)
                del day
                for step in steps:
                    first, last = self.order.bounds(step, num_examples)
                    yield gather(order[first:last])
                del gather, order

    @contextmanager
    def gathering(
        self, *, threads: int, allocate: Allocate = np.empty
    ) -> Iterator[Callable[[Day], GatherRows[Batch[Array]]]]:
        """What makes NumPy batches of a day, with buffers and threads for one iteration."""
        pool = BufferPool(allocate)
        with ThreadPoolExecutor(max(1, threads - 1)) as helpers:

            def gather_from(day: Day) -> GatherRows[Batch[Array]]:
                return Gather(
                    day,
                    layout=self.layout,
                    extras=self.extras,
                    pool=pool,
                    helpers=helpers if threads > 1 else None,
                    num_threads=threads,
                ).batch

            yield gather_from

    def _work(self, first: int, stride: int) -> list[tuple[int, range]]:
        """Days that hold one of the batches ``first, first + stride, ...``, and which of them."""
        work = []
        for day in range(len(self.days)):
            start, stop = self.first_batches[day : day + 2]
            own = first if first >= start else first + -(-(start - first) // stride) * stride
            if own < stop:
                work.append((day, range(own - start, stop - start, stride)))
        return work

    def _read(self, index: int, epoch: int) -> tuple[Day, Int64Array]:
        day = read_day(self.days[index], self.reading)
        return day, self.order.of_day(day.pointer, epoch=epoch, dt=day.dt)


@contextmanager
def _reading(
    read: Callable[[int], T], prefetch: bool
) -> Iterator[Callable[[int], Callable[[], T]]]:
    """What starts to read a day by its number and returns how to get it.

    Without ``prefetch`` the reading waits until the day is asked for.
    """
    if not prefetch:
        yield lambda index: lambda: read(index)
        return
    thread = ThreadPoolExecutor(1, thread_name_prefix="read-next-day")
    try:
        yield lambda index: thread.submit(read, index).result
    finally:
        # Whoever leaves an epoch early does not wait for a day that nobody will use.
        thread.shutdown(wait=False, cancel_futures=True)
