"""The ids by which a shop's own systems ask: as they were delivered, where those are text.

Tables hold integers; of texts, ``customer_ids`` and ``item_ids`` of the lake say which is which.
"""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.schemas import CUSTOMER_IDS, ITEM_IDS

_TABLES: Final = {"users": CUSTOMER_IDS, "items": ITEM_IDS}


class DeliveredIds:
    """Texts by integer, of all users or items that the lake has seen; none where ids are integers.

    An integer that came without a text, from another source, is asked for by its digits.
    """

    def __init__(self, numbers: pa.Array, texts: pa.Array) -> None:
        self._numbers, self._texts = numbers, texts

    @classmethod
    def of(cls, lake: Lake, table: str) -> "DeliveredIds":
        """Of ``users`` or ``items``."""
        ids = _TABLES[table]
        names = ids.arrow_schema.names[:2]
        snapshot = lake.snapshot(ids.name)
        parts = [
            pa.table({names[0]: pa.array([], pa.int64()), names[1]: pa.array([], pa.string())})
        ]
        for uri in (uri for day in snapshot.days for uri in snapshot.uris(day)):
            with SealedParquet(uri) as parquet:
                found = parquet.read(names)
            parts.append(found.cast(parts[0].schema))
        whole = pa.concat_tables(parts).combine_chunks()
        return cls(*(whole[name].combine_chunks() for name in names))

    @property
    def are_text(self) -> bool:
        return len(self._numbers) > 0

    def delivered(self, numbers: pa.ChunkedArray | pa.Array) -> list[Any]:
        """What the shop calls these."""
        if not self.are_text:
            return list(numbers.to_pylist())
        places = pc.index_in(numbers.cast(pa.int64()), value_set=self._numbers)
        texts = pa.chunked_array([self._texts]).take(places)
        return list(pc.coalesce(texts, numbers.cast(pa.string())).to_pylist())
