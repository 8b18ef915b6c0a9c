"""Samples where ids are text: texts become numbers within a task, and texts again on the way out.

Items are numbered in the order of their UTF-8 bytes, so that what is drawn depends on the items
there are and not on the rows of a task; draws begin with a hash of the customer's text.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.sampling.draws import Int64Array
from training_assets.sampling.kernel import sample_rows

TEXT_SAMPLES_DDL: Final = (
    "dt date, customer_id string, item_id string, label double, sampling_probability double, "
    "positive_item_id string"
)
_SAMPLES: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("customer_id", pa.string()),
        ("item_id", pa.string()),
        ("label", pa.float64()),
        ("sampling_probability", pa.float64()),
        ("positive_item_id", pa.string()),
    ]
)


def sample_text_rows(
    batches: Iterable[pa.RecordBatch], *, ratio: int, is_uniform: bool, seed: int
) -> Iterator[pa.RecordBatch]:
    """As ``kernel.sample_rows``, where item_id is text and a column customer is beside number."""
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    table = pa.Table.from_batches(found)
    customers, customer = _coded(table["customer"])
    items, item = _coded(table["item_id"])
    is_candidate = pc.equal(table["kind"], pa.scalar(0, pa.int8()))
    number = pc.if_else(is_candidate, table["number"], pa.chunked_array([customer]))
    columns = [table["dt"], table["slice"], table["kind"], number, pa.chunked_array([item])]
    coded = pa.table(columns, names=["dt", "slice", "kind", "number", "item_id"])
    hashes = np.array([_hash(text) for text in customers.to_pylist()], np.int64)

    def hash_of(codes: Int64Array) -> Int64Array:
        return hashes[codes]

    samples = sample_rows(
        coded.combine_chunks().to_batches(),
        ratio=ratio,
        is_uniform=is_uniform,
        seed=seed,
        hash_of=hash_of,
    )
    for batch in samples:
        texts = {
            "customer_id": customers.take(batch["customer_id"]),
            "item_id": items.take(batch["item_id"]),
            "positive_item_id": items.take(batch["positive_item_id"]),
        }
        arrays = [texts.get(name, batch[name]) for name in _SAMPLES.names]
        yield pa.RecordBatch.from_arrays(arrays, schema=_SAMPLES)


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Distinct texts in order, and the place of each row's text among them, long."""
    texts = column.combine_chunks().cast(pa.string())
    distinct = pc.unique(texts)
    distinct = distinct.take(pc.sort_indices(distinct))
    return distinct, pc.index_in(texts, value_set=distinct).cast(pa.int64())


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
