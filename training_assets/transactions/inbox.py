"""The inbox: chunks of transactions and versions of the weights, as objects of a store.

    raw/chunk-000000000000-000000009999.parquet        rows 0 to 9,999 of the feed
    raw/importance-000000010000-000000000001.parquet   second version, in force from row 10,000

An object is put once and never changed. ``row`` is the position in the feed, ``source_row`` the
line of the source (0 is the first one after the header). All other columns are texts as the source
has them; of a line that has no such columns, ``problem`` says what is wrong and ``content`` holds
the line.
"""

import hashlib
import io
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.errors import ChunkError
from training_assets.lake import Entry, Store

SOURCE_COLUMNS: Final = (
    "step",
    "customer",
    "age",
    "gender",
    "zipcodeOri",
    "merchant",
    "zipMerchant",
    "category",
    "amount",
)
CHUNK_SCHEMA: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("chunk_first", pa.int64(), nullable=False),
        pa.field("chunk_last", pa.int64(), nullable=False),
        *(pa.field(name, pa.string()) for name in (*SOURCE_COLUMNS, "problem", "content")),
    ]
)
IMPORTANCE_COLUMNS: Final = ("Source", "Target", "Weight", "typeTrans")
RAW: Final = "raw"
_ABANDONED_SECONDS: Final = 60
_CHUNK: Final = re.compile(r"chunk-(\d{12})-(\d{12})\.parquet")
_IMPORTANCE: Final = re.compile(r"importance-(\d{12})-(\d{12})\.parquet")


@dataclass(frozen=True, order=True)
class Chunk:
    """Rows ``first`` to ``last`` of the feed, both included, and the object that holds them."""

    first: int
    last: int
    entry: Entry

    @property
    def object_version(self) -> str:
        """Changes when the object was written again, whatever its bytes."""
        return f"{self.entry.size}-{self.entry.etag or self.entry.modified_ns}"


@dataclass(frozen=True, order=True)
class Weights:
    """Version ``number`` of the weights, in force for chunks from row ``from_row`` on."""

    number: int
    from_row: int
    path: str


def chunk_name(first: int, last: int) -> str:
    return f"chunk-{first:012d}-{last:012d}.parquet"


def importance_name(from_row: int, number: int) -> str:
    return f"importance-{from_row:012d}-{number:012d}.parquet"


class Listing(NamedTuple):
    """All chunks in the order of their rows, and all weights in that of their numbers.

    Weights are listed after chunks, and put before them: those that a chunk needs are there.
    """

    chunks: list[Chunk]
    weights: list[Weights]


class Inbox:
    """What lies in ``<workdir>/raw``."""

    def __init__(self, workdir: Store) -> None:
        self.store = workdir.child(RAW)

    def look(self) -> Listing:
        """What is there now; raises ``ChunkError`` where two chunks overlap."""
        entries = self.store.list()
        chunks = sorted(_chunks(entries), key=lambda chunk: (chunk.first, chunk.last))
        for before, after in pairwise(chunks):
            if after.first <= before.last:
                raise ChunkError(
                    f"{self.store.url}: {after.entry.path} begins within {before.entry.path}; "
                    "expected chunks that follow one another. Take away the one that the feed did "
                    "not make."
                )
        matches = (_IMPORTANCE.fullmatch(entry.path) for entry in entries)
        weights = sorted(Weights(int(m[2]), int(m[1]), m[0]) for m in matches if m)
        return Listing(chunks, weights)

    def chunks(self) -> list[Chunk]:
        return self.look().chunks

    def weights(self) -> list[Weights]:
        return self.look().weights

    def read(self, path: str) -> tuple[pa.Table, str]:
        """The rows of an object and the SHA-256 of its bytes; raises ``ChunkError``."""
        try:
            data = self.store.read(path)
            return pq.read_table(io.BytesIO(data)), hashlib.sha256(data).hexdigest()
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise ChunkError(
                f"{self.store.url}: {path} cannot be read ({str(error).splitlines()[0]}); expected "
                "a Parquet file as the feed puts it. Put it back, or take it away and run "
                "'training-assets transactions feed' again."
            ) from error

    def sha256(self, path: str) -> str:
        return hashlib.sha256(self.store.read(path)).hexdigest()


def _chunks(entries: Sequence[Entry]) -> Iterator[Chunk]:
    for entry in entries:
        match = _CHUNK.fullmatch(entry.path)
        if match and int(match[1]) <= int(match[2]):
            yield Chunk(int(match[1]), int(match[2]), entry)


def remove_abandoned(store: Store, prefix: str = "") -> None:
    """Remove what killed writers left below a folder; those that live are done much sooner."""
    before_ns = time.time_ns() - _ABANDONED_SECONDS * 1_000_000_000
    found = [entry for entry in store.unfinished() if entry.path.startswith(prefix)]
    store.delete([entry.path for entry in found if entry.modified_ns < before_ns])


def parquet_bytes(table: pa.Table) -> bytes:
    """One Parquet file; the same bytes for the same rows and metadata."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", write_statistics=False)
    return out.getvalue()
