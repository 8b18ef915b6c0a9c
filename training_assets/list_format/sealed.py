"""Reads sealed Parquet files: the very bytes that are decoded are compared with their checksum."""

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
    hash_in_name,
    read_footer,
    read_seal,
)
from training_assets.list_format.stores import Fetched, Reads, Span, StoredFile, locate

# The footer and the seal of most files fit, so that one request gets both.
_TAIL: Final = 1 << 16
# A file is read at once if it is not longer than that, or not long and much of it is wanted.
_SHORT: Final = 1 << 20
_LONG: Final = 1 << 25


# (row group, column)
_Chunk: TypeAlias = tuple[int, int]


class _Loaded(NamedTuple):
    """What has the bytes of these chunks, where they were fetched beforehand."""

    content: StoredFile | Fetched | None
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
        self._file = StoredFile(filesystem, path)
        with self._named_damage("its end is damaged"):
            end = FileEnd(self._file.size, self._file.tail, _TAIL)
            name = hash_in_name(PurePosixPath(path).name)
            self._checksums = None if name is None else read_seal(end, name)
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
        """Let go of the file and of what was loaded; what is read later opens it again."""
        self._file.close()
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

    def load(self, row_groups: Iterable[int], columns: Sequence[str] | None = None) -> None:
        """Fetch what is read next, at once, where it takes a request; it stays until ``close``."""
        if self._file.is_remote:
            chunks = self._chunks(row_groups, columns)
            spans = [self._span(chunk) for chunk in chunks]
            self._loaded = _Loaded(self._file.fetch(spans), frozenset(chunks))

    def chunk(self, row_group: int, column: str) -> tuple[pq.ColumnChunkMetaData, memoryview]:
        """What the footer says of a column chunk, and its bytes as they were written.

        ``column`` is the name of a column, of whose values all lie in one chunk.
        """
        (chunk,) = self._chunks([row_group], [column])
        content = self._verified(chunk, self._content([chunk]).view(self._span(chunk)))
        return self.metadata.row_group(row_group).column(chunk[1]), content

    @contextmanager
    def _open(
        self,
        groups: Sequence[int],
        columns: Sequence[str] | None,
        read_dictionary: Sequence[str] = (),
    ) -> Iterator[pq.ParquetFile]:
        chunks = self._chunks(groups, columns)
        source = self._at_once(chunks) if self._is_short(chunks) else self._one_by_one(chunks)
        with self._named_damage("it cannot be read"):
            yield pq.ParquetFile(
                source,
                metadata=self.metadata,
                read_dictionary=list(read_dictionary),
                # One column chunk at a time, which is what can be verified.
                pre_buffer=False,
                page_checksum_verification=not self.is_sealed,
            )

    def _is_short(self, chunks: Sequence[_Chunk]) -> bool:
        """Whether the file is local, and may as well be read as a whole for these chunks."""
        size = self._file.size
        if self._file.is_remote or size > _LONG:
            return False
        return size <= _SHORT or sum(s.stop - s.start for s in map(self._span, chunks)) > size // 4

    def _at_once(self, chunks: Sequence[_Chunk]) -> pa.NativeFile:
        """The file in memory: Arrow decodes without asking Python, where threads would wait."""
        content = self._file.content()
        view = memoryview(content)
        for chunk in chunks:
            self._verified(chunk, view[slice(*self._span(chunk))])
        return pa.BufferReader(content)

    def _one_by_one(self, chunks: Sequence[_Chunk]) -> pa.NativeFile:
        """The file as Arrow asks for its chunks."""
        content, by_span = self._content(chunks), {self._span(chunk): chunk for chunk in chunks}

        def view(span: Span) -> memoryview:
            if span not in by_span:
                raise OSError(f"its bytes {span.start} to {span.stop} are not those of a column")
            return self._verified(by_span[span], content.view(span))

        return pa.PythonFile(Reads(self._file.size, view), mode="r")

    def _content(self, chunks: Sequence[_Chunk]) -> StoredFile | Fetched:
        loaded = self._loaded
        if loaded.content is not None and loaded.chunks.issuperset(chunks):
            return loaded.content
        return self._file.fetch([self._span(chunk) for chunk in chunks])

    def _chunks(self, groups: Iterable[int], columns: Sequence[str] | None) -> list[_Chunk]:
        numbers = self._numbers(columns)
        return [(group, number) for group in groups for number in numbers]

    def _groups(self, row_groups: Iterable[int] | None) -> list[int]:
        """Those with rows: of a chunk without any Arrow looks for a page where there is none."""
        groups = range(self.num_row_groups) if row_groups is None else row_groups
        return [group for group in groups if self.metadata.row_group(group).num_rows]

    def _numbers(self, columns: Sequence[str] | None) -> list[int]:
        """The chunks in a row group of columns that are named whole, or by the path of a part."""
        if columns is None:
            return list(range(len(self._columns)))
        starts = tuple(f"{name}." for name in columns)
        names = set(columns)
        return [n for n, p in enumerate(self._columns) if p in names or p.startswith(starts)]

    def _span(self, chunk: _Chunk) -> Span:
        group, number = chunk
        span = chunk_span(self.metadata.row_group(group).column(number))
        if not 0 <= span.start <= span.stop <= self._file.size:
            what = f"it lies from {span.start} to {span.stop}"
            raise self._damage(chunk, what, f"at most {self._file.size}")
        return span

    def _verified(self, chunk: _Chunk, content: memoryview) -> memoryview:
        if self._checksums is not None:
            group, number = chunk
            expected = int(self._checksums[group * len(self._columns) + number])
            if (found := zlib.crc32(content)) != expected:
                raise self._damage(chunk, f"CRC {found:08x}", f"CRC {expected:08x}")
        return content

    def _damage(self, chunk: _Chunk, what: str, expected: str) -> DamagedFileError:
        group, number = chunk
        column = self._columns[number].partition(".")[0]
        where = f"column {column} of row group {group} is damaged ({what})"
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
