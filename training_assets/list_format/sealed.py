"""Reads sealed Parquet files: what is read is compared with its checksum first, each chunk once."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from training_assets.list_format.errors import DamagedFileError
from training_assets.list_format.seal import (
    FileEnd,
    chunk_span,
    is_sealed_name,
    read_footer,
    read_seal,
)
from training_assets.list_format.stores import LocalFile, RemoteFile, Span, locate

# The footer and the seal of most files fit, so that one request gets both.
_TAIL: Final = 1 << 16


# (row group, column)
_Chunk: TypeAlias = tuple[int, int]


class _Loaded(NamedTuple):
    """Bytes that have these chunks, verified, where they lie in the file."""

    content: pa.Buffer | None
    chunks: frozenset[_Chunk]


class SealedParquet:
    """A Parquet file, local or in a store; a context manager.

    A file whose name says that it is sealed must have a seal; every other one, as an older lake
    has them, is left to Arrow, which verifies the checksums of pages where there are any.
    Raises ``DamagedFileError`` where a file is not what was written.
    """

    def __init__(self, place: str | Path, filesystem: pafs.FileSystem | None = None) -> None:
        """``place`` is a path, a URL, or a path in ``filesystem``."""
        self._place = str(place)
        path = self._place
        if filesystem is None:
            filesystem, path = locate(path)
        elif isinstance(filesystem, pafs.LocalFileSystem):
            filesystem = None
        self._file = LocalFile(path) if filesystem is None else RemoteFile(filesystem, path)
        with self._named_damage("its end is damaged"):
            end = FileEnd(self._file.size, self._file.tail, _TAIL)
            is_sealed = is_sealed_name(PurePosixPath(path).name)
            self._checksums = read_seal(end) if is_sealed else None
            self.metadata = read_footer(end)
        schema = self.metadata.schema
        self._columns = [schema.column(n).path for n in range(self.metadata.num_columns)]
        self._loaded = _Loaded(None, frozenset())

    def __enter__(self) -> "SealedParquet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SealedParquet({self._place!r})"

    @property
    def is_sealed(self) -> bool:
        return self._checksums is not None

    @property
    def num_row_groups(self) -> int:
        return int(self.metadata.num_row_groups)

    @property
    def schema_arrow(self) -> pa.Schema:
        return self.metadata.schema.to_arrow_schema()

    def close(self) -> None:
        """Let go of what was loaded."""
        self._loaded = _Loaded(None, frozenset())

    def read(
        self,
        columns: Sequence[str] | None = None,
        row_groups: Iterable[int] | None = None,
        *,
        read_dictionary: Sequence[str] = (),
        use_threads: bool = True,
    ) -> pa.Table:
        """Columns (all) of row groups (all), as Arrow reads them.

        Columns of texts in ``read_dictionary`` stay encoded by a dictionary.
        """
        groups = self._groups(row_groups)
        with self._open(groups, columns, read_dictionary) as parquet:
            return parquet.read_row_groups(groups, columns=columns, use_threads=use_threads)

    def iter_batches(
        self,
        batch_size: int = 65_536,
        columns: Sequence[str] | None = None,
        row_groups: Iterable[int] | None = None,
        *,
        use_threads: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """The same in batches, none of which has rows of two row groups."""
        for group in self._groups(row_groups):
            with self._open([group], columns) as parquet:
                yield from parquet.iter_batches(
                    batch_size, row_groups=[group], columns=columns, use_threads=use_threads
                )

    def load(self, row_groups: Iterable[int], columns: Sequence[str] | None = None) -> pa.Buffer:
        """Fetch and verify what is read next, all at once where it takes a request.

        What was loaded before from a store is let go, if anything is missing. Returns a buffer that
        has those chunks where they lie in the file.
        """
        content, known = self._loaded
        chunks = frozenset((g, n) for g in row_groups for n in self._numbers(columns))
        if content is None or not chunks <= known:
            spans = {chunk: self._span(*chunk) for chunk in sorted(chunks)}
            content, stays = self._file.load(list(spans.values())), self._file.is_whole
            for chunk in spans if not stays else spans.keys() - known:
                span = spans[chunk]
                self._verify(chunk, memoryview(content)[span.start : span.stop])
            self._loaded = _Loaded(content, chunks | known if stays else chunks)
        return content

    def chunk(self, row_group: int, column: str) -> tuple[pq.ColumnChunkMetaData, memoryview]:
        """What the footer says of a column chunk, and its bytes as they were written.

        ``column`` is the name of a column, of whose values all lie in one chunk.
        """
        content = self.load([row_group], [column])
        (number,) = self._numbers([column])
        span = self._span(row_group, number)
        chunk = self.metadata.row_group(row_group).column(number)
        return chunk, memoryview(content)[span.start : span.stop]

    @contextmanager
    def _open(
        self,
        groups: Sequence[int],
        columns: Sequence[str] | None,
        read_dictionary: Sequence[str] = (),
    ) -> Iterator[pq.ParquetFile]:
        content = self.load(groups, columns)
        with self._named_damage("it cannot be read"):
            yield pq.ParquetFile(
                pa.BufferReader(content),
                metadata=self.metadata,
                read_dictionary=list(read_dictionary),
                page_checksum_verification=not self.is_sealed,
            )

    def _groups(self, row_groups: Iterable[int] | None) -> list[int]:
        return list(range(self.num_row_groups) if row_groups is None else row_groups)

    def _numbers(self, columns: Sequence[str] | None) -> list[int]:
        """The chunks in a row group of columns that are named whole, or by the path of a part."""
        if columns is None:
            return list(range(len(self._columns)))
        starts = tuple(f"{name}." for name in columns)
        names = set(columns)
        return [n for n, p in enumerate(self._columns) if p in names or p.startswith(starts)]

    def _span(self, row_group: int, number: int) -> Span:
        span = chunk_span(self.metadata.row_group(row_group).column(number))
        if not 0 < span.start <= span.stop <= self._file.size:
            raise self._damage(row_group, number, f"it lies from {span.start} to {span.stop}")
        return span

    def _verify(self, chunk: _Chunk, content: memoryview) -> None:
        if self._checksums is None:
            return
        group, number = chunk
        expected = int(self._checksums[group * len(self._columns) + number])
        if (found := zlib.crc32(content)) != expected:
            raise self._damage(group, number, f"CRC {found:08x}", f"CRC {expected:08x}")

    def _damage(
        self, row_group: int, number: int, what: str, expected: str = "its bytes in the file"
    ) -> DamagedFileError:
        column = self._columns[number].partition(".")[0]
        where = f"column {column} of row group {row_group} is damaged ({what})"
        return DamagedFileError.of(self._place, where, expected)

    @contextmanager
    def _named_damage(self, what: str) -> Iterator[None]:
        """Names the file in errors of what is read of it."""
        try:
            yield
        except (ValueError, OSError) as error:
            if isinstance(error, DamagedFileError) or getattr(error, "errno", None):
                raise
            raise DamagedFileError.of(
                self._place, f"{what} ({error})", "the file that was written"
            ) from error
