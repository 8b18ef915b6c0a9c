"""One published day in memory: thin rows that point to histories, each history held once.

Reads ``training_input`` without its array columns, and the arrays from ``customer_history`` or,
with ``source="training_input"``, from the first row of each customer.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from training_assets.errors import SchemaError, ValidationError
from training_assets.loader.arrays import Array, Float32Array, Int32Array, Int64Array, viewed
from training_assets.loader.histories import Histories, bytes_per_action, read_histories
from training_assets.loader.opening import OpenDay, Reading
from training_assets.loader.published import DayFiles


@dataclass(frozen=True)
class Names:
    """What names the examples of a day.

    customer_ids: int64 [E]; item_ids: int64 [E], as in the lake; ranking_codes: int32 [E], places
    in ``rankings``, an object array of the distinct ranking ids.
    """

    customer_ids: Int64Array
    item_ids: Int64Array
    ranking_codes: Int32Array
    rankings: Array


@dataclass(frozen=True)
class Day:
    """``E`` examples, the rows of training_input in stored order, and ``H`` histories.

    pointer: int32 [E], the history of each example; histories are numbered by ascending customer
    among those shown something. impressions: int64 [E], through the vocabulary if there is one.
    labels: float32 [E], 1 ordered, 0 not.
    """

    dt: date
    pointer: Int32Array
    impressions: Int64Array
    labels: Float32Array
    histories: Histories
    names: Names | None

    @property
    def num_examples(self) -> int:
        return len(self.pointer)


def read_day(opened: OpenDay, reading: Reading) -> Day:
    """Read one day.

    Raises ValidationError when customers of training_input have no row in customer_history, or
    several; SchemaError when columns or arrays hold nulls, or arrays are not parallel.
    """
    thin = _read_thin(opened.rows, reading)
    customer_column = _column(opened.rows, thin, "customer_id")
    customers, pointer, first_rows = _distinct(customer_column)
    items = _column(opened.rows, thin, "impression_item_id")
    if reading.source == "training_input":
        place = np.full(len(pointer), -1, np.int64)
        place[first_rows] = np.arange(len(customers))
    else:
        place = _places(opened.arrays, customers)
    length = reading.length or opened.history_length
    padded_bytes = len(customers) * length * bytes_per_action(reading.with_days_ago)
    histories = read_histories(
        opened.arrays,
        place,
        num_histories=len(customers),
        length=length,
        is_dense=padded_bytes <= reading.dense_limit_bytes,
        with_days_ago=reading.with_days_ago,
        vocabulary=reading.vocabulary,
        threads=reading.threads,
    )
    encode = reading.vocabulary.encode if reading.vocabulary else np.asarray
    return Day(
        dt=opened.dt,
        pointer=pointer,
        impressions=encode(items).astype(np.int64),
        labels=_column(opened.rows, thin, "is_order").astype(np.float32),
        histories=histories,
        names=_names(opened.rows, thin) if reading.with_identity else None,
    )


def _read_thin(files: DayFiles, reading: Reading) -> pa.Table:
    parts = []
    for index in range(len(files.paths)):
        with files.open(index) as file:
            parts.append(file.read(reading.thin_columns, read_dictionary=["ranking_id"]))
    if not parts:
        return files.empty(reading.thin_columns)
    return pa.concat_tables(parts)


def _column(files: DayFiles, table: pa.Table, name: str) -> Array:
    column = table.column(name)
    if column.null_count:
        raise SchemaError(
            f"{files.where}: {column.null_count} rows have no {name}; expected none. "
            "Publish the day again."
        )
    return viewed(column.combine_chunks())


def _distinct(customer_ids: Int64Array) -> tuple[Int64Array, Int32Array, Int64Array]:
    """Distinct customers ascending, where each row's stands among them, first row of each.

    Rows of a customer stand together, so only where the customer changes is sorted.
    """
    if not len(customer_ids):
        return np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64)
    run_starts = np.flatnonzero(np.diff(customer_ids, prepend=customer_ids[0] - 1))
    customers, first_run, run_pointer = np.unique(
        customer_ids[run_starts], return_index=True, return_inverse=True
    )
    run_lengths = np.diff(run_starts, append=len(customer_ids))
    pointer = np.repeat(run_pointer.astype(np.int32), run_lengths)
    return customers, pointer, run_starts[first_run]


def _places(files: DayFiles, customers: Int64Array) -> Int64Array:
    """Which history each row of customer_history is; int64 [rows], -1 for customers not shown."""
    ids = np.concatenate(
        [
            np.zeros(0, np.int64),
            *(_read_ids(files, index) for index in range(len(files.paths))),
        ]
    )
    place = np.searchsorted(customers, ids)
    place[place == len(customers)] = -1
    if len(customers):
        place[customers[place] != ids] = -1
    found = np.bincount(place[place >= 0], minlength=len(customers))
    if np.any(found != 1):
        wrong = np.flatnonzero(found != 1)
        raise ValidationError(
            f"{files.where}: {len(wrong)} of the {len(customers)} customers of training_input do "
            f"not have exactly one row, among them {customers[wrong[0]]} with {found[wrong[0]]}; "
            "expected one row per customer. Publish both tables of the day again."
        )
    return place


def _read_ids(files: DayFiles, index: int) -> Int64Array:
    with files.open(index) as file:
        return _column(files, file.read(columns=["customer_id"]), "customer_id")


def _names(files: DayFiles, thin: pa.Table) -> Names:
    rankings = thin.column("ranking_id").dictionary_encode().unify_dictionaries().combine_chunks()
    return Names(
        customer_ids=_column(files, thin, "customer_id").copy(),
        item_ids=_column(files, thin, "impression_item_id").copy(),
        ranking_codes=viewed(rankings.indices).astype(np.int32),
        rankings=np.array(rankings.dictionary.to_pylist(), dtype=object),
    )
