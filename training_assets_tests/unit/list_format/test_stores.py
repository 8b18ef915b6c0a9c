"""The same files on a real S3 server: written, read in parts, damaged, missing."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.list_format import (
    DamagedFileError,
    ListParquetReader,
    SealedParquet,
    seal_parts,
    write_file,
)
from training_assets.list_format.stores import Span, StoredFile, locate
from training_assets_tests.support.s3 import S3Place
from training_assets_tests.unit.list_format.columns import (
    LISTS,
    as_lists,
    of_lists,
    some_rows,
    write_groups,
)

RUN = "0123456789ab"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two row groups by the list writer, not sealed."""
    rows = some_rows(400)
    path = tmp_path_factory.mktemp("stores") / "f"
    return write_groups(path, LISTS, [of_lists(rows[:300]), of_lists(rows[300:])]).read_bytes()


def stored(s3: S3Place, content: bytes) -> str:
    parts = seal_parts(content)
    url = f"{s3.new_url()}/dt=2024-03-01/part-00000-{parts.hash}-{RUN}.parquet"
    write_file(url, *parts)
    return url


def test_a_file_in_a_store_is_read_as_it_was_written(s3_server: S3Place, content: bytes) -> None:
    url = stored(s3_server, content)
    expected = pq.ParquetFile(pa.BufferReader(content)).read()
    with SealedParquet(url) as file:
        assert file.is_sealed
        assert file.read().equals(expected)
        assert file.read(["wide"], [1])["wide"].equals(expected["wide"].slice(300))
        batches = file.iter_batches(70, ["customer_id", "tiny"])
        found = pa.Table.from_batches(batches)
        assert found.equals(expected.select(["customer_id", "tiny"]))
        assert repr(file) == f"SealedParquet({url!r})"
    reader = ListParquetReader(url)
    reader.load(0, "customer_id", "wide")
    lists = reader.lists(0, "wide")
    assert lists.dictionary is not None
    assert as_lists(lists.plain()) == expected["wide"].slice(0, 300).to_pylist()
    assert reader.scalars(0, "customer_id").to_pylist() == expected["customer_id"][:300].to_pylist()


def test_a_file_without_rows_is_read_from_a_store(s3_server: S3Place) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(LISTS.empty_table(), sink)
    url = stored(s3_server, sink.getvalue().to_pybytes())
    assert SealedParquet(url).read().equals(LISTS.empty_table())
    assert list(SealedParquet(url).iter_batches()) == []


def test_threads_that_decode_columns_get_their_own_bytes(s3_server: S3Place) -> None:
    rng = np.random.default_rng(0)
    table = pa.table({f"c{n}": rng.integers(0, 9, 5_000) for n in range(40)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=100)
    url = stored(s3_server, sink.getvalue().to_pybytes())
    before = pa.cpu_count()
    pa.set_cpu_count(16)
    try:
        for _ in range(5):
            assert SealedParquet(url).read(use_threads=True).equals(table)
    finally:
        pa.set_cpu_count(before)


def test_damage_in_a_store_names_the_file_and_no_secret(s3_server: S3Place, content: bytes) -> None:
    url = stored(s3_server, content)
    parts = seal_parts(content)
    chunk = pq.read_metadata(pa.BufferReader(content)).row_group(1).column(3)
    damaged = bytearray(b"".join(parts))
    damaged[chunk.data_page_offset + 20] ^= 4
    write_file(url, bytes(damaged))
    for read in (
        lambda: SealedParquet(url).read(),
        lambda: list(SealedParquet(url).iter_batches()),
        lambda: ListParquetReader(url).lists(1, "wide"),
    ):
        with pytest.raises(DamagedFileError, match="column wide of row group 1") as caught:
            read()
        assert str(caught.value).startswith(f"{url}: ")
        assert s3_server.secret not in str(caught.value)
    write_file(url, bytes(damaged[:-1]))
    with pytest.raises(DamagedFileError, match="its end is damaged"):
        SealedParquet(url)


def test_what_is_missing_in_a_store_is_not_called_damaged(s3_server: S3Place) -> None:
    url = f"{s3_server.new_url()}/part-00000-{16 * '0'}-{RUN}.parquet"
    with pytest.raises(FileNotFoundError) as caught:
        SealedParquet(url)
    assert s3_server.secret not in str(caught.value)


def test_spans_that_lie_far_apart_are_fetched_for_themselves(s3_server: S3Place) -> None:
    data = np.random.default_rng(0).integers(0, 256, 12_000_000, np.uint8)
    url = f"{s3_server.new_url()}/bytes"
    write_file(url, data[:5_000_000].tobytes(), data[5_000_000:].tobytes())
    filesystem, path = locate(url)
    assert filesystem is not None
    file = StoredFile(filesystem, path)
    spans = [Span(11_000_000, 12_000_000), Span(0, 10), Span(500_000, 600_000), Span(10, 3_000)]
    loaded = file.fetch(spans)
    for start, stop in spans:
        assert loaded.view(Span(start, stop)) == data[start:stop].tobytes()


def test_a_path_that_looks_like_a_url_of_a_scheme_that_is_not_known_is_an_error() -> None:
    with pytest.raises(pa.ArrowInvalid, match="sftp"):
        locate("sftp://host/lake")
    assert locate("/lake/a:b") == (None, "/lake/a:b")


def test_a_place_in_azure_is_a_container_and_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "shop")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    filesystem, path = locate("az://lake/unified_actions/dt=2024-03-01")
    assert (filesystem.type_name, path) == ("abfs", "lake/unified_actions/dt=2024-03-01")
