"""Tabular batches: a day of ``training_samples`` in memory, and batches gathered from it.

Every column that is a number or a truth value and names nothing is a feature: its value as float32,
null as NaN, true as 1. Texts and times are none.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.errors import SchemaError, SettingsError
from training_assets.loader.arrays import Array, Float32Array, Int32Array, Int64Array
from training_assets.loader.published import DayFiles
from training_assets.loader.vocabulary import Vocabulary
from training_assets.schemas import SAMPLE_NAMES

NAMED: Final = ("customer_id", "item_number", "label")
_COLUMNS: Final = (*NAMED, "log_q")

ArrayT = TypeVar("ArrayT")


@dataclass(frozen=True)
class SampleBatch(Generic[ArrayT]):
    """``B`` samples of one day; arrays are NumPy, or torch tensors of the same shape and dtype.

    features: float32 [B, F], NaN where a value is null; names: what the F columns are.
    customer_ids: int64 [B]. item_ids: int64 [B], item_number, or its vocabulary index.
    labels: float32 [B]; 1 positive, 0 negative. log_q: float32 [B], to be subtracted from the
    logit of a negative; 0 for positives. weights: float32 [B]; 1, or with
    ``weights="inverse_probability"`` 1 / (k * probability) for negatives, so that a weighted sum
    over them estimates that over all that the customer could have been given.
    rows: int64 [B], place among the day's rows, files in name order.
    """

    dt: date
    features: ArrayT
    names: tuple[str, ...]
    customer_ids: ArrayT
    item_ids: ArrayT
    labels: ArrayT
    log_q: ArrayT
    weights: ArrayT
    rows: ArrayT

    def __len__(self) -> int:
        return len(self.labels)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        named = {name: value for name, value in vars(self).items() if hasattr(value, "shape")}
        shapes = ", ".join(f"{name}{list(value.shape)}" for name, value in named.items())
        return f"SampleBatch({self.dt}: {shapes})"

    def map(self, convert: Callable[[ArrayT], Any]) -> "SampleBatch[Any]":
        """The same batch with each array converted."""
        fields = {
            name: value if name in ("dt", "names") else convert(value)
            for name, value in vars(self).items()
        }
        return SampleBatch(**fields)

    def to(self, device: Any, **options: Any) -> "SampleBatch[Any]":
        """The same batch of tensors on ``device``; Lightning moves batches by this name."""
        return self.map(lambda tensor: tensor.to(device, **options))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class SampleDay:
    """``E`` samples in stored order. pointer: int32 [E], the customer of each, numbered."""

    dt: date
    pointer: Int32Array
    all: SampleBatch[Array]

    @property
    def num_examples(self) -> int:
        return len(self.pointer)

    def batch(self, rows: Int64Array) -> SampleBatch[Array]:
        """The samples ``rows``, int64 [B], in that order."""
        return self.all.map(lambda values: values[rows])


def feature_names(days: Iterable[DayFiles], wanted: Iterable[str] | None) -> tuple[str, ...]:
    """The features of the days, which must be the same; or those that are wanted.

    Raises SchemaError where a day has others, SettingsError for a name that is no feature.
    """
    found: dict[date, list[str]] = {
        files.manifest.dt: _numbers(files.footers[0].schema.to_arrow_schema())
        for files in days
        if files.footers
    }
    names = tuple(wanted) if wanted is not None else tuple(next(iter(found.values()), ()))
    for day, present in found.items():
        if missing := [name for name in names if name not in present]:
            if wanted is not None:
                raise SettingsError(
                    f"loader: features has {', '.join(missing)}; expected some of "
                    f"{', '.join(present)}, the numbers of {day}. Correct features."
                )
            raise SchemaError(
                f"training_samples of {day}: there is no {', '.join(missing)}; expected the "
                "features of the other days. Publish the day again, or name the features to use."
            )
        if wanted is None and len(present) != len(names):
            raise SchemaError(
                f"training_samples of {day}: it has {len(present)} features and the first day "
                f"{len(names)}; expected the same. Publish the days again, or name the features."
            )
    return names


def _numbers(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if field.name not in SAMPLE_NAMES and _is_number(field)]


def _is_number(field: pa.Field) -> bool:
    kind = field.type
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def read_samples(
    files: DayFiles,
    names: tuple[str, ...],
    *,
    vocabulary: Vocabulary | None,
    weighs_negatives: bool,
) -> SampleDay:
    """Read one day; raises SchemaError where an id or a label is null."""
    parts = []
    for index in range(len(files.paths)):
        with files.open(index) as file:
            parts.append(file.read([*_COLUMNS, *names]))
    table = pa.concat_tables(parts)
    customers = _whole(files, table, "customer_id")
    labels = _whole(files, table, "label").astype(np.float32)
    items = _whole(files, table, "item_number").astype(np.int64)
    log_q = _floats(table["log_q"])
    log_q[np.isnan(log_q)] = 0.0
    weights = np.ones(len(labels), np.float32)
    if weighs_negatives:
        weights = np.where(labels == 0, np.exp(-log_q), weights).astype(np.float32)
    features = np.empty((len(labels), len(names)), np.float32)
    for number, name in enumerate(names):
        features[:, number] = _floats(table[name])
    _, pointer = np.unique(customers, return_inverse=True)
    encoded = items if vocabulary is None else vocabulary.encode(items).astype(np.int64)
    return SampleDay(
        files.manifest.dt,
        pointer.astype(np.int32),
        SampleBatch(
            dt=files.manifest.dt,
            features=features,
            names=names,
            customer_ids=customers.astype(np.int64),
            item_ids=encoded,
            labels=labels,
            log_q=log_q,
            weights=weights,
            rows=np.arange(len(labels), dtype=np.int64),
        ),
    )


def samples_bytes(num_rows: int, num_features: int) -> int:
    """Bytes that a day of samples occupies, its order included."""
    return num_rows * (4 * num_features + 3 * 8 + 3 * 4 + 4 + 8)


def _whole(files: DayFiles, table: pa.Table, name: str) -> Array:
    column = table[name]
    if column.null_count:
        raise SchemaError(
            f"{files.where}: {column.null_count} rows have no {name}; expected none. Publish the "
            "day again."
        )
    return np.asarray(column.combine_chunks())


def _floats(column: pa.ChunkedArray) -> Float32Array:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values = pc.fill_null(column.cast(pa.float64()), np.nan).combine_chunks()
    return np.asarray(values).astype(np.float32)
