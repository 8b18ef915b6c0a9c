"""``TrainingDays``: the days of a lake as a resumable stream of batches."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from training_assets.errors import SettingsError
from training_assets.loader.batches import EXTRAS, LAYOUTS, Extra, Layout
from training_assets.loader.memory import day_bound_bytes, reading_bytes
from training_assets.loader.opening import OpenDay, Reading, Source, open_days
from training_assets.loader.order import Order, Shuffle
from training_assets.loader.parts import read_split
from training_assets.loader.published import AsOf, Location, Published
from training_assets.loader.samples import feature_names, samples_bytes
from training_assets.loader.stream import Stream
from training_assets.loader.vocabulary import Vocabulary
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_SAMPLES

if TYPE_CHECKING:
    import torch

    from training_assets.loader.tensors import TensorBatches
    from training_assets.loader.workers import WorkerBatches

DENSE_LIMIT_BYTES: Final = 8 * 2**30
_BUFFERS: Final = 3
_ARROW_BYTES: Final = 128 * 2**20


class TrainingDays:
    """Batches of published days, the days in the order given, examples at random within a day.

    Each iteration is an epoch of its own: the next one goes through the days again in another
    order, also where this one was left early. The
    constructor opens every day (manifests and Parquet footers, no rows), so what is wrong is
    said before the first batch: DayNotPublishedError, SchemaError, SettingsError.

    lake            local path, or URL of a store
    table           "training_input"; or "training_samples", which gives tabular batches: see
                    ``SampleBatch``. What is said of histories below does not concern them
    split           "train", "validation" or "test": the days of that part in splits.json, which
                    ``training-assets split`` writes; ``splits`` names another file
    features        of samples, the columns to give; default all that are numbers
    weights         of samples: "none", or "inverse_probability" for negatives
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
        table: Literal["training_input", "training_samples"] = "training_input",
        split: str | None = None,
        splits: str | os.PathLike[str] | None = None,
        features: Iterable[str] | None = None,
        weights: Literal["none", "inverse_probability"] = "none",
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
        _check_table(table, weights, extras, features)
        if split is not None:
            days = _days_of(lake, split, splits, days)
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
            table=table,
            features=None if features is None else tuple(features),
            weighs_negatives=weights == "inverse_probability",
        )
        self._lake = lake
        self._published = Published.at(lake, as_of, table)
        opened = self._open(days)
        self._stream = Stream(
            opened,
            self.versions,
            order,
            self._reading,
            layout=layout,
            extras=frozenset(extras),
            prefetch=prefetch,
        )
        self._dataset: WorkerBatches | None = None

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
        if self._reading.is_tabular:
            opened = open_days(self._published, dates if days is not None else None, self._reading)
            names = feature_names((day.rows for day in opened), self._reading.features)
            self._reading = replace(self._reading, features=names)
            return opened
        if self._reading.source == CUSTOMER_HISTORY.name:
            self._published = self._published.fitting(dates)
        return open_days(self._published, dates if days is not None else None, self._reading)

    @property
    def num_examples(self) -> int:
        """Examples of an epoch, all ranks together, before drop_last."""
        return sum(day.num_examples for day in self._stream.days)

    @property
    def length(self) -> int:
        """``L``, the width of padded batches; of samples the number of features."""
        if self._reading.is_tabular:
            return len(self._reading.features or ())
        return self._reading.length or self._stream.days[0].history_length

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives, or the present one is giving."""
        return self._stream.position.epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin ``epoch`` at its first batch with the next iteration."""
        self._stream.position.resume(epoch, 0)

    @property
    def memory_bound_bytes(self) -> int:
        """Upper bound on what an iteration holds in host memory, from footers alone.

        The largest day, or with ``prefetch`` the largest two that follow each other (see
        ``day_bytes``), what reading a day needs for a while (``reading_bytes``), and three
        batches. Distinct ranking ids of ``identity`` come on top.
        """
        stream, reading = self._stream, self._reading
        if reading.is_tabular:
            sizes = [samples_bytes(day.num_examples, self.length) for day in stream.days]
            # While a day is read its columns are there as well, in up to 8 bytes a value.
            return (3 if stream.prefetch else 2) * 2 * max(sizes) + _ARROW_BYTES
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

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns of ``SampleBatch.features``; none where the table is not of samples."""
        return self._reading.features or ()

    def __iter__(self) -> Iterator[Any]:
        """One epoch of NumPy batches, or the rest of it after ``load_state_dict``.

        Several iterators of one loader share its position; use one at a time.
        """
        stream = self._stream
        epoch, start = stream.position.begin()
        with stream.gathering(threads=self._threads) as gather_from:
            yield from stream.counted(stream.batches(gather_from, epoch, start))

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
            self,
            self._stream,
            device,
            threads=self._threads,
            num_workers=num_workers,
            device_limit_bytes=device_limit_bytes,
        )

    def dataset(self) -> "WorkerBatches":
        """An IterableDataset for a DataLoader of one's own, see ``WorkerBatches``; needs torch.

        Each call gives the same one, so that epochs go on over several DataLoaders.
        """
        from training_assets.loader.workers import WorkerBatches

        if self._dataset is None:
            self._dataset = WorkerBatches(self._stream)
        return self._dataset

    def state_dict(self) -> dict[str, Any]:
        """Where the latest iteration stands, in plain values that JSON can hold.

        The next batch is named: a loader that loads it continues with the very next one. Ranks
        that have given equally many batches have equal states; where the last batches of a day
        differ (``drop_last=False``), rank 0's counts.

        Raises SettingsError when workers of a DataLoader of one's own iterate, which do not report.
        """
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration continue where ``state`` was taken, in the versions of then.

        The number of ranks and the batch size may have changed, as long as batch_size *
        world_size has not: the very next examples come then too, shared out anew.

        Raises DayNotPublishedError where a vacuum has removed those versions, and SettingsError
        when the state is of other days, sizes or settings of the order.
        """
        published, days = self._published, self._stream.days
        if state.get("versions", self.versions).keys() != self.versions.keys():
            raise SettingsError(
                f"loader: the state is of {', '.join(state['versions'])}; expected "
                f"{', '.join(self.versions)}. Give the table of then, or leave the state out."
            )
        if state.get("versions", self.versions) != self.versions:
            published = Published.of_versions(self._lake, state["versions"])
            days = open_days(published, self.days, self._reading)
        self._stream.load_state_dict(state, days, published.versions)
        self._published = published


def _check_table(
    table: str, weights: str, extras: Collection[str], features: Iterable[str] | None
) -> None:
    for name, value, expected in (
        ("table", table, ("training_input", TRAINING_SAMPLES.name)),
        ("weights", weights, ("none", "inverse_probability")),
    ):
        if value not in expected:
            raise SettingsError(
                f"loader: {name} is {value!r}; expected {' or '.join(map(repr, expected))}. "
                "Choose one of them."
            )
    if isinstance(features, str):
        raise SettingsError(
            f"loader: features is {features!r}; expected a collection of names. Correct features."
        )
    if table == TRAINING_SAMPLES.name and extras:
        raise SettingsError(
            f"loader: extras is {sorted(extras)} with table='{TRAINING_SAMPLES.name}', whose "
            "batches have none; expected none. Leave extras out."
        )


def _days_of(
    lake: Location, split: str, splits: "str | os.PathLike[str] | None", days: object
) -> list[date | str]:
    if days is not None:
        raise SettingsError(
            "loader: days and split are both given; expected one of them. Leave one out."
        )
    found: list[date | str] = list(read_split(lake, splits).days(split))
    return found


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
