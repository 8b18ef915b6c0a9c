"""``TrainingDays``: the days of a lake as a resumable stream of batches."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from training_assets.errors import SettingsError
from training_assets.loader.arrays import Array
from training_assets.loader.batches import EXTRAS, LAYOUTS, Batch, Extra, Layout
from training_assets.loader.memory import day_bound_bytes, reading_bytes
from training_assets.loader.opening import OpenDay, Reading, Source, open_days
from training_assets.loader.order import Order, Shuffle
from training_assets.loader.published import AsOf, Location, Published
from training_assets.loader.stream import Stream
from training_assets.loader.vocabulary import Vocabulary
from training_assets.schemas import CUSTOMER_HISTORY

if TYPE_CHECKING:
    import torch

    from training_assets.loader.tensors import TensorBatches, WorkerBatches

DENSE_LIMIT_BYTES: Final = 8 * 2**30
_STATE_VERSION: Final = 1
_BUFFERS: Final = 3


class TrainingDays:
    """Batches of published days, the days in the order given, examples at random within a day.

    Each iteration is one epoch; the next one goes through the days again in another order. The
    constructor opens every day (manifests and Parquet footers, no rows), so what is wrong is
    said before the first batch: DayNotPublishedError, SchemaError, SettingsError.

    lake            local path, or URL of a store
    days            dates or ISO strings; default all published days, oldest first
    as_of           the days as they were at a time (UTC), or in that version of training_input;
                    default the newest. What is published afterwards is not seen
    batch_size      examples per batch and rank
    length          newest actions kept of each history; default the history_length of the days
    layout          "expanded", "deduplicated" or "jagged", see ``Batch``
    extras          of "days_ago", "lengths", "mask", "identity"
    shuffle         "examples"; "histories", which keeps the examples of a history together; "none"
    seed            with epoch and day the only source of randomness
    rank, world_size, drop_last   see ``Order``
    vocabulary      turns item ids of impressions and actions into indexes, once per day
    source          where histories are read; "training_input" gives the same batches, slower
    prefetch        read the next day in a thread meanwhile; two days are then in memory
    dense_limit_bytes   a day whose padded histories are larger is held jagged: less memory, and
                    batches at about two thirds of the speed
    threads         threads that read and gather; default the cores at hand, at most 4
    """

    def __init__(
        self,
        lake: Location,
        *,
        batch_size: int,
        days: Iterable[date | str] | None = None,
        as_of: AsOf | None = None,
        length: int | None = None,
        layout: Layout = "expanded",
        extras: Collection[Extra] = (),
        shuffle: Shuffle = "examples",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        vocabulary: Vocabulary | None = None,
        source: Source = "customer_history",
        prefetch: bool = True,
        dense_limit_bytes: int = DENSE_LIMIT_BYTES,
        threads: int | None = None,
    ) -> None:
        _check_form(layout, extras)
        order = Order(batch_size, shuffle, seed, rank, world_size, drop_last)
        self._threads = threads or min(4, _num_cores())
        self._reading = Reading(
            length=length,
            source=source,
            with_days_ago="days_ago" in extras,
            with_identity="identity" in extras,
            vocabulary=vocabulary,
            dense_limit_bytes=0 if layout == "jagged" else dense_limit_bytes,
            threads=self._threads,
        )
        self._lake = lake
        self._published = Published.at(lake, as_of)
        self._stream = Stream(
            self._open(days),
            order,
            self._reading,
            layout=layout,
            extras=frozenset(extras),
            prefetch=prefetch,
        )

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(day.dt for day in self._stream.days)

    @property
    def versions(self) -> dict[str, int]:
        """By table the version that is read; ``state_dict`` keeps it."""
        return self._published.versions

    def _open(self, days: Iterable[date | str] | None) -> tuple[OpenDay, ...]:
        wanted = self._published.rows.days if days is None else list(days)
        dates = [date.fromisoformat(str(day)) for day in wanted]
        if self._reading.source == CUSTOMER_HISTORY.name:
            self._published = self._published.fitting(dates)
        return open_days(self._published, dates if days is not None else None, self._reading)

    @property
    def num_examples(self) -> int:
        """Examples of an epoch, all ranks together, before drop_last."""
        return sum(day.num_examples for day in self._stream.days)

    @property
    def length(self) -> int:
        """``L``, the width of padded batches."""
        return self._reading.length or self._stream.days[0].history_length

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives, or the present one is giving."""
        return self._stream.epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin ``epoch`` at its first batch with the next iteration."""
        self._stream.resume(epoch, 0)

    @property
    def memory_bound_bytes(self) -> int:
        """Upper bound on what an iteration holds in host memory, from footers alone.

        The largest day, or with ``prefetch`` the largest two that follow each other (see
        ``day_bytes``), what reading a day needs for a while (``reading_bytes``), and three
        batches. Distinct ranking ids of ``identity`` come on top.
        """
        stream, reading = self._stream, self._reading
        bounds = [day_bound_bytes(day, reading) for day in stream.days]
        if stream.prefetch and len(bounds) > 1:
            held = max(one + other for one, other in pairwise(bounds))
        else:
            held = max(bounds)
        per_action = 8 + 4 * ("days_ago" in stream.extras) + ("mask" in stream.extras)
        per_example = self.length * per_action + 64
        batches = _BUFFERS * stream.order.batch_size * per_example
        return held + batches + max(reading_bytes(day, reading) for day in stream.days)

    def __len__(self) -> int:
        """Batches of an epoch on this rank."""
        return self._stream.num_batches

    def __repr__(self) -> str:
        stream = self._stream
        return (
            f"TrainingDays({self.days[0]} to {self.days[-1]}, {len(self.days)} days, "
            f"{self.num_examples:,} examples, {len(self):,} {stream.layout} batches of "
            f"{stream.order.batch_size} x {self.length}, epoch {self.epoch})"
        )

    def __iter__(self) -> Iterator[Batch[Array]]:
        """One epoch of NumPy batches, or the rest of it after ``load_state_dict``.

        Several iterators of one loader share its position; use one at a time.
        """
        stream = self._stream
        with stream.gathering(threads=self._threads) as gather_from:
            yield from stream.counted(stream.batches(gather_from, stream.begin()))

    def tensors(
        self,
        device: "str | torch.device" = "cpu",
        *,
        num_workers: int = 0,
        device_limit_bytes: int | None = None,
    ) -> "TensorBatches":
        """The same batches as torch tensors, see ``TensorBatches``; needs torch."""
        from training_assets.loader.tensors import TensorBatches

        return TensorBatches(
            self._stream,
            device,
            threads=self._threads,
            num_workers=num_workers,
            device_limit_bytes=device_limit_bytes,
        )

    def dataset(self) -> "WorkerBatches":
        """An IterableDataset for a DataLoader of one's own, see ``WorkerBatches``; needs torch."""
        from training_assets.loader.tensors import WorkerBatches

        return WorkerBatches(self._stream)

    def state_dict(self) -> dict[str, Any]:
        """Where the latest iteration stands; plain values that JSON can hold, equal on all ranks.

        The next batch is named: a loader that loads it continues with the very next one.
        """
        day, batch = self._stream.position()
        return {
            "version": _STATE_VERSION,
            "epoch": self.epoch,
            "day": self.days[day].isoformat(),
            "batch": batch,
            "versions": self.versions,
            "of": self._fingerprint(self._stream.days),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration continue where ``state`` was taken, in the versions of then.

        Raises DayNotPublishedError where a vacuum has removed those, and SettingsError when the
        state is of other days, sizes or settings of the order, since the very next batch would
        then not be the next one.
        """
        if state.get("version") != _STATE_VERSION:
            raise SettingsError(
                f"loader: the state is of version {state.get('version')!r}; expected "
                f"{_STATE_VERSION}. Start the epoch anew with set_epoch."
            )
        published, opened = self._published, self._stream.days
        if state.get("versions", self.versions) != self.versions:
            published = Published.of_versions(self._lake, state["versions"])
            opened = open_days(published, self.days, self._reading)
        own = self._fingerprint(opened)
        for name, value in state["of"].items():
            if own.get(name) != value:
                raise SettingsError(
                    f"loader: {name} is {own.get(name)!r}; expected {value!r}, as when the state "
                    "was taken. Use the same, or start the epoch anew with set_epoch."
                )
        self._published = published
        self._stream.open(opened)
        day = self.days.index(date.fromisoformat(state["day"]))
        self._stream.resume(state["epoch"], self._stream.first_batches[day] + state["batch"])

    def _fingerprint(self, days: Sequence[OpenDay]) -> dict[str, Any]:
        order = self._stream.order
        return {
            "days": [day.dt.isoformat() for day in days],
            "num_examples": [day.num_examples for day in days],
            "batch_size": order.batch_size,
            "shuffle": order.shuffle,
            "seed": order.seed,
            "world_size": order.world_size,
            "drop_last": order.drop_last,
        }


def _check_form(layout: str, extras: Collection[str]) -> None:
    if layout not in LAYOUTS:
        raise SettingsError(
            f"loader: layout is {layout!r}; expected one of {', '.join(LAYOUTS)}. "
            "Choose one of them."
        )
    unknown = sorted(set(extras) - set(EXTRAS))
    if isinstance(extras, str) or unknown:
        raise SettingsError(
            f"loader: extras is {extras!r}; expected a collection of {', '.join(EXTRAS)}. "
            "Correct extras."
        )
    if layout == "jagged" and "mask" in extras:
        raise SettingsError(
            "loader: mask was asked for with layout='jagged', which has no padding; expected it "
            "with a padded layout. Leave mask out, or ask for lengths."
        )


def _num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
