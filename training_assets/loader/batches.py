"""Batches, gathered from a day in memory.

Three layouts of the same examples; the histories of a batch are its rows ``pointer[rows]``:

============  ==========================  ==============================================
layout        actions, action_types       which history belongs to example ``i``
============  ==========================  ==============================================
expanded      [B, L]                      row ``i``
deduplicated  [U, L], each history once   row ``inverse[i]``
jagged        [N], each history once      ``offsets[inverse[i]]`` to ``offsets[inverse[i]+1]``
============  ==========================  ==============================================
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any, Final, Generic, Literal, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from training_assets.loader.arrays import Array, BufferPool, Int32Array, Int64Array
from training_assets.loader.day import Day, Names
from training_assets.loader.histories import Histories, inside

Layout = Literal["expanded", "deduplicated", "jagged"]
Extra = Literal["days_ago", "lengths", "mask", "identity"]
LAYOUTS: Final = ("expanded", "deduplicated", "jagged")
EXTRAS: Final = ("days_ago", "lengths", "mask", "identity")

ArrayT = TypeVar("ArrayT")

# So many rows of 1000 actions pass through a narrow buffer that stays in the core's own cache.
_ROWS_AT_ONCE: Final = 128
# Below this a second thread costs more than it saves.
_LEAST_PER_THREAD: Final = 256 * 1024


@dataclass(frozen=True)
class Identity(Generic[ArrayT]):
    """Which rows of training_input the examples are.

    rows: int64 [B], place among the day's rows, files in name order. customer_ids and item_ids:
    int64 [B], item ids as in the lake. ranking_ids: object array of strings [B], always NumPy.
    """

    rows: ArrayT
    customer_ids: ArrayT
    item_ids: ArrayT
    ranking_ids: Array

    def map(self, convert: Callable[[ArrayT], Any]) -> "Identity[Any]":
        """The same identity with each array converted, ranking ids excepted."""
        return Identity(
            convert(self.rows),
            convert(self.customer_ids),
            convert(self.item_ids),
            self.ranking_ids,
        )


@dataclass(frozen=True)
class Batch(Generic[ArrayT]):
    """``B`` examples of one day; arrays are NumPy, or torch tensors of the same shape and dtype.

    impressions: int64 [B]; item shown, or its vocabulary index.
    labels: float32 [B]; 1 ordered, 0 not.
    actions: int32, action_types: int32 1..3; [B, L], [U, L] or [N] as the layout says; newest
    first, cut at the old end to ``L``, padded there (on the right) with zeros.
    inverse: int64 [B]; history of each example; None where expanded.
    offsets: int64 [U + 1]; only where jagged.

    On request, else None: days_ago, int32 as actions, at least 1, 0 where padded; lengths, int32
    [B], or [U] where not expanded; mask, bool as actions, True where there is an action;
    identity.
    """

    dt: date
    impressions: ArrayT
    labels: ArrayT
    actions: ArrayT
    action_types: ArrayT
    inverse: ArrayT | None = None
    offsets: ArrayT | None = None
    days_ago: ArrayT | None = None
    lengths: ArrayT | None = None
    mask: ArrayT | None = None
    identity: Identity[ArrayT] | None = None

    @property
    def inputs(self) -> tuple[ArrayT, ArrayT, ArrayT]:
        """Arguments of ``forward(impressions, actions, action_types)``."""
        return self.impressions, self.actions, self.action_types

    def __len__(self) -> int:
        return len(self.impressions)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        named = {name: value for name, value in vars(self).items() if hasattr(value, "shape")}
        shapes = ", ".join(f"{name}{list(value.shape)}" for name, value in named.items())
        return f"Batch({self.dt}: {shapes})"

    def map(self, convert: Callable[[ArrayT], Any]) -> "Batch[Any]":
        """The same batch with each array converted, ranking ids excepted."""
        fields = {
            name: value if value is None or name in ("dt", "identity") else convert(value)
            for name, value in vars(self).items()
        }
        if self.identity is not None:
            fields["identity"] = self.identity.map(convert)
        return Batch(**fields)

    def to(self, device: Any, **options: Any) -> "Batch[Any]":
        """The same batch of tensors on ``device``; Lightning moves batches by this name."""
        return self.map(lambda tensor: tensor.to(device, **options))  # type: ignore[attr-defined]


class Gather:
    """Makes batches of one day; a gather by row numbers, no Python loop over rows.

    Padded arrays come from ``pool`` and are used again when nobody refers to them any more.
    The calling thread and ``helpers`` share the rows: copying rows does not hold the GIL.
    """

    def __init__(
        self,
        day: Day,
        *,
        layout: Layout,
        extras: frozenset[Extra],
        pool: BufferPool,
        helpers: ThreadPoolExecutor | None = None,
        num_threads: int = 1,
    ) -> None:
        self._day = day
        self._layout = layout
        self._extras = extras
        self._pool = pool
        self._helpers = helpers
        self._num_threads = num_threads
        self._names = [n for n in ("actions", "action_types", "days_ago") if self._gives(n)]

    def batch(self, rows: Int64Array) -> Batch[Array]:
        """The examples ``rows``, int64 [B], in that order."""
        day = self._day
        which: Array = day.pointer[rows]
        fields: dict[str, Any] = {}
        if self._layout != "expanded":
            which, inverse = np.unique(which, return_inverse=True)
            fields["inverse"] = inverse.astype(np.int64, copy=False)
        lengths = day.histories.lengths[which]
        if self._layout == "jagged":
            fields |= self._jagged(which, lengths)
        else:
            fields |= self._padded(which, lengths)
        if "lengths" in self._extras:
            fields["lengths"] = lengths
        if day.names is not None:
            fields["identity"] = identity(day.names, rows)
        return Batch(
            dt=day.dt, impressions=day.impressions[rows], labels=day.labels[rows], **fields
        )

    def _gives(self, name: str) -> bool:
        return name != "days_ago" or "days_ago" in self._extras

    def _padded(self, which: Array, lengths: Int32Array) -> dict[str, Array]:
        histories = self._day.histories
        shape = (len(which), histories.length)
        out = {name: self._pool.array(name, shape, np.int32) for name in self._names}
        if "mask" in self._extras:
            out["mask"] = self._pool.array("mask", shape, np.bool_)
        fill = _fill_dense if histories.is_dense else _fill_windows

        def run(start: int, stop: int) -> None:
            part = {name: array[start:stop] for name, array in out.items()}
            fill(histories, which[start:stop], lengths[start:stop], part)

        self._in_threads(run, *shape)
        return out

    def _in_threads(self, run: Callable[[int, int], None], num_rows: int, width: int) -> None:
        num_parts = min(self._num_threads, max(1, num_rows * width // _LEAST_PER_THREAD))
        if self._helpers is None or num_parts == 1:
            run(0, num_rows)
            return
        cuts = [num_rows * part // num_parts for part in range(num_parts + 1)]
        jobs = [self._helpers.submit(run, start, stop) for start, stop in pairwise(cuts[1:])]
        run(cuts[0], cuts[1])
        for job in jobs:
            job.result()

    def _jagged(self, which: Array, lengths: Int32Array) -> dict[str, Array]:
        histories = self._day.histories
        assert histories.starts is not None
        offsets = np.zeros(len(which) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        shift = np.repeat(histories.starts[which] - offsets[:-1], lengths)
        places = np.arange(offsets[-1]) + shift
        values = {n: histories.values[n][places].astype(np.int32) for n in self._names}
        return {**values, "offsets": offsets}


def identity(names: Names, rows: Int64Array) -> Identity[Array]:
    """Identity of the examples ``rows`` of a day; NumPy arrays."""
    return Identity(
        rows=rows,
        customer_ids=names.customer_ids[rows],
        item_ids=names.item_ids[rows],
        ranking_ids=names.rankings[names.ranking_codes[rows]],
    )


def _fill_dense(
    histories: Histories, which: Array, lengths: Int32Array, out: dict[str, Array]
) -> None:
    """Whole rows are copied; what is stored in fewer bits is widened a few rows at a time."""
    which = which.astype(np.intp, copy=False)
    for name, target in out.items():
        if name == "mask":
            target[:] = inside(lengths, histories.length)
            continue
        store = histories.values[name]
        if store.dtype == target.dtype:
            # Rows are in range by construction; "clip" spares a checked copy of the output.
            np.take(store, which, axis=0, out=target, mode="clip")
            continue
        narrow = np.empty((min(_ROWS_AT_ONCE, len(which)), histories.length), store.dtype)
        for start in range(0, len(which), _ROWS_AT_ONCE):
            some = which[start : start + _ROWS_AT_ONCE]
            np.take(store, some, axis=0, out=narrow[: len(some)], mode="clip")
            target[start : start + len(some)] = narrow[: len(some)]


def _fill_windows(
    histories: Histories, which: Array, lengths: Int32Array, out: dict[str, Array]
) -> None:
    """A window of ``length`` values from each start, then zeros where the next history begins."""
    assert histories.starts is not None
    windows = {
        name: sliding_window_view(histories.values[name], histories.length)
        for name in out
        if name != "mask"
    }
    for start in range(0, len(which), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        starts = histories.starts[which[rows]]
        is_action = inside(lengths[rows], histories.length)
        for name, view in windows.items():
            np.multiply(view[starts], is_action, out=out[name][rows])
        if "mask" in out:
            out["mask"][rows] = is_action
