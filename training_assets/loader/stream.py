"""Epochs over opened days: reading ahead, sharing out to workers, and naming a position."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate, takewhile
from typing import Any, Final, TypeVar

import numpy as np

from training_assets.errors import SettingsError
from training_assets.loader.arrays import Allocate, Array, BufferPool, Int64Array
from training_assets.loader.batches import Batch, Extra, Gather, Layout
from training_assets.loader.day import Day, read_day
from training_assets.loader.opening import OpenDay, Reading
from training_assets.loader.order import Order
from training_assets.loader.position import Position
from training_assets.loader.samples import SampleBatch, SampleDay, read_samples

T = TypeVar("T")
GatherRows = Callable[[Int64Array], T]
AnyDay = Day | SampleDay
AnyBatch = Batch[Array] | SampleBatch[Array]
_STATE_VERSION: Final = 2


class Stream:
    """The batches of one rank, numbered 0, 1, 2, ... through an epoch, and which one is next."""

    def __init__(
        self,
        days: Sequence[OpenDay],
        versions: Mapping[str, int],
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
        self.position = Position()
        self.open(days, versions)

    def open(self, days: Sequence[OpenDay], versions: Mapping[str, int]) -> None:
        """Give these days from the next iteration on; ``versions`` of tables are for the state."""
        self.days = tuple(days)
        self.versions = dict(versions)
        counts = (self.order.num_batches(day.num_examples) for day in days)
        self.first_batches = [0, *accumulate(counts)]

    @property
    def num_batches(self) -> int:
        return self.first_batches[-1]

    def counted(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches on, each counted as done once it is handed over.

        No frame here holds a batch that the consumer let go of: the next one may take its memory.
        """
        if self.num_batches == 0:
            self.position.resume(self.position.epoch + 1, 0)
        return map(self._count, batches)

    def _count(self, batch: T) -> T:
        self.position.count(self.num_batches)
        return batch

    def batches(
        self,
        gather_from: Callable[[AnyDay], GatherRows[T]],
        epoch: int,
        start: int,
        *,
        stride: int = 1,
    ) -> Iterator[T]:
        """Batch ``start`` of ``epoch``, and every ``stride``-th from there.

        A day is let go before the one after the next is begun, so two are in memory at most.
        """
        work = self._work(start, stride)
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
    ) -> Iterator[Callable[[AnyDay], GatherRows[Any]]]:
        """What makes NumPy batches of a day, with buffers and threads for one iteration."""
        pool = BufferPool(allocate)
        with ThreadPoolExecutor(max(1, threads - 1)) as helpers:

            def gather_from(day: AnyDay) -> GatherRows[Any]:
                if isinstance(day, SampleDay):
                    return day.batch
                return Gather(
                    day,
                    layout=self.layout,
                    extras=self.extras,
                    pool=pool,
                    helpers=helpers if threads > 1 else None,
                    num_threads=threads,
                ).batch

            yield gather_from

    def state_dict(self) -> dict[str, Any]:
        """The next batch of the latest iteration; see ``TrainingDays.state_dict``."""
        if not self.position.is_known:
            raise SettingsError(
                "loader: the latest iteration is by workers of a DataLoader, which do not say how "
                "far they are; expected tensors(num_workers=...), or torchdata's "
                "StatefulDataLoader, whose own state_dict holds the place. Use one of them."
            )
        return self.state_at(self.position.epoch, self.position.num_done)

    def load_state_dict(
        self, state: Mapping[str, Any], days: Sequence[OpenDay], versions: Mapping[str, int]
    ) -> None:
        """Let the next iteration begin with the batch that ``state`` names, of these days."""
        self._check_state(state, days)
        self.open(days, versions)
        self.position.resume(*self.place_of(state))

    def state_at(self, epoch: int, num_done: int) -> dict[str, Any]:
        """The batch after ``num_done`` ones of ``epoch``, by day, as plain values."""
        day = bisect_right(self.first_batches, num_done, hi=len(self.days)) - 1
        return {
            "version": _STATE_VERSION,
            "epoch": epoch,
            "day": self.days[day].dt.isoformat(),
            "batch": num_done - self.first_batches[day],
            "world_size": self.order.world_size,
            "versions": self.versions,
            "content": _content(self.days),
            "of": self._fingerprint(self.days),
        }

    def place_of(self, state: Mapping[str, Any]) -> tuple[int, int]:
        """Epoch, and how many batches of this rank come before the batch that ``state`` names.

        Raises SettingsError when the state is of other days, sizes or settings of the order,
        since the very next example would then not be the next one.
        """
        self._check_state(state, self.days)
        day = [day.dt.isoformat() for day in self.days].index(state["day"])
        first, end = self.first_batches[day : day + 2]
        return state["epoch"], min(first + state["batch"], end)

    def _check_state(self, state: Mapping[str, Any], days: Sequence[OpenDay]) -> None:
        if state.get("version") != _STATE_VERSION:
            raise SettingsError(
                f"loader: the state is of version {state.get('version')!r}; expected "
                f"{_STATE_VERSION}. Start the epoch anew with set_epoch."
            )
        own = self._fingerprint(days)
        for name, value in state["of"].items():
            if own.get(name) != value:
                raise SettingsError(
                    f"loader: {name} is {own.get(name)!r}; expected {value!r}, as when the state "
                    "was taken. Use the same, or start the epoch anew with set_epoch."
                )
        if state["content"] != _content(days):
            raise SettingsError(
                f"loader: the days of versions {self.versions} are not those of the state, "
                f"{state['versions']}; they have been published anew. Make TrainingDays with the "
                "as_of of then, or start the epoch anew with set_epoch."
            )
        if state["world_size"] != self.order.world_size:
            done = takewhile(lambda day: day.dt.isoformat() != state["day"], days)
            self._refuse_uneven(done, state["world_size"])

    def _refuse_uneven(self, days: Iterable[OpenDay], world_size: int) -> None:
        """Ranks that had no batch in the last step of a day are a step ahead of the others."""
        for day in days:
            left_over = day.num_examples % (self.order.batch_size * self.order.world_size)
            if not self.order.drop_last and 0 < left_over < world_size:
                raise SettingsError(
                    f"loader: the last step of {day.dt} had {left_over} examples for {world_size} "
                    "ranks, so after it they were no longer at one place; expected that to go on "
                    "with another number of ranks. Use drop_last=True, or the same number of ranks."
                )

    def _fingerprint(self, days: Sequence[OpenDay]) -> dict[str, Any]:
        order = self.order
        return {
            "days": [day.dt.isoformat() for day in days],
            "num_examples": [day.num_examples for day in days],
            "batch_size * world_size": order.batch_size * order.world_size,
            "shuffle": order.shuffle,
            "seed": order.seed,
            "drop_last": order.drop_last,
        }

    def _work(self, first: int, stride: int) -> list[tuple[int, range]]:
        """Days that hold one of the batches ``first, first + stride, ...``, and which of them."""
        work = []
        for day in range(len(self.days)):
            start, stop = self.first_batches[day : day + 2]
            own = first if first >= start else first + -(-(start - first) // stride) * stride
            if own < stop:
                work.append((day, range(own - start, stop - start, stride)))
        return work

    def _read(self, index: int, epoch: int) -> tuple[AnyDay, Int64Array]:
        opened, reading = self.days[index], self.reading
        day: AnyDay
        if reading.is_tabular:
            day = read_samples(
                opened.rows,
                reading.features or (),
                vocabulary=reading.vocabulary,
                weighs_negatives=reading.weighs_negatives,
            )
        else:
            day = read_day(opened, reading)
        return day, self.order.of_day(day.pointer, epoch=epoch, dt=day.dt)


def _content(days: Iterable[OpenDay]) -> str:
    """Says whether days are of the same data."""
    manifests = [part.manifest for day in days for part in (day.rows, day.arrays)]
    told = "\n".join(manifest.content or "" for manifest in manifests)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


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
