"""Raw days in the cold tier: smaller, found as before, and never lost."""

import gzip
import json
import os
import random
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.errors import RawDataError
from training_assets.lake import Lake, LocalStore
from training_assets.schemas import CLICKS
from training_assets.sources import find_raw_days, fingerprint, source_days
from training_assets.sources.archive import INDEX, archive_day, archive_of

DAY = date(2026, 3, 1)
FOLDER = f"dt={DAY}"
ROWS = [
    {
        "customer_id": 10**12 + n,
        "item_id": n % 7 + 1,
        "click_time": f"2026-03-01T10:{n % 60:02}:00Z",
    }
    for n in range(2_000)
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A day in four formats."""
    folder = tmp_path / "raw" / "clicks" / FOLDER
    folder.mkdir(parents=True)
    header = "customer_id,item_id,click_time\n"
    lines = "".join(",".join(map(str, row.values())) + "\n" for row in ROWS)
    (folder / "a.csv").write_text(header + lines)
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "c.csv.gz").write_bytes(gzip.compress((header + lines).encode()))
    table = pa.table({name: [row[name] for row in ROWS] for name in ("customer_id", "item_id")})
    pq.write_table(table, folder / "d.parquet", compression="none", use_dictionary=False)
    (folder / "_SUCCESS").touch()
    return Lake.at(tmp_path)


def archive(lake: Lake) -> int:
    assert isinstance(lake.raw, LocalStore)
    return archive_day(lake.raw, "clicks", DAY, (FOLDER,))


def prints(lake: Lake) -> list[tuple[str, int, int | str]]:
    return fingerprint(CLICKS, DAY, find_raw_days(lake, CLICKS, [DAY]).files())


def test_an_archived_day_is_smaller_and_counts_as_unchanged(lake: Lake) -> None:
    before = prints(lake)
    rows = find_raw_days(lake, CLICKS, [DAY]).count_rows()
    sizes = sum(entry.size for entry in lake.store.list())
    saved = archive(lake)
    assert prints(lake) == before
    assert rows == find_raw_days(lake, CLICKS, [DAY]).count_rows() == {DAY: 4 * len(ROWS)}
    assert source_days(lake, CLICKS).days == (DAY,)
    assert not (Path(lake.raw.url) / "clicks" / FOLDER).exists()
    index = 1_000
    assert saved > sizes / 2
    assert abs(sizes - sum(entry.size for entry in lake.store.list()) - saved) < index


def test_its_bytes_come_back_and_parquet_has_the_same_rows(lake: Lake) -> None:
    folder = Path(lake.raw.url) / "clicks" / FOLDER
    text = {name: (folder / name).read_bytes() for name in ("a.csv", "b.jsonl")}
    table = pq.read_table(folder / "d.parquet")
    archive(lake)
    assert isinstance(lake.raw, LocalStore)
    cold = archive_of(lake.raw, "clicks").root / FOLDER
    for name, data in text.items():
        with pa.CompressedInputStream(str(cold / f"{name}.zst"), "zstd") as file:
            assert file.read() == data
    assert pq.ParquetFile(cold / "d.parquet").read().equals(table)


def test_a_file_that_is_delivered_later_joins_and_one_of_the_same_name_replaces(lake: Lake) -> None:
    archive(lake)
    folder = Path(lake.raw.url) / "clicks" / FOLDER
    folder.mkdir()
    (folder / "late.csv").write_text("customer_id,item_id\n1,1\n")
    (folder / "a.csv").write_text("customer_id,item_id\n1,1\n2,2\n")
    found = find_raw_days(lake, CLICKS, [DAY])
    assert [os.path.basename(file.name) for file in found.files()] == [
        "a.csv",
        "b.jsonl",
        "c.csv.gz",
        "d.parquet",
        "late.csv",
    ]
    assert found.count_rows() == {DAY: 3 * len(ROWS) + 3}
    again = prints(lake)
    archive(lake)
    assert prints(lake) == again
    assert find_raw_days(lake, CLICKS, [DAY]).count_rows() == {DAY: 3 * len(ROWS) + 3}


def test_an_empty_day_stays_an_empty_day(tmp_path: Path) -> None:
    (tmp_path / "raw" / "clicks" / FOLDER).mkdir(parents=True)
    lake = Lake.at(tmp_path)
    archive(lake)
    assert find_raw_days(lake, CLICKS, [DAY]).count_rows() == {DAY: 0}


def test_what_cannot_be_packed_smaller_is_moved_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "clicks" / FOLDER
    folder.mkdir(parents=True)
    damaged = random.Random(1).randbytes(500)
    (folder / "x.parquet").write_bytes(damaged)
    lake = Lake.at(tmp_path)
    archive(lake)
    assert isinstance(lake.raw, LocalStore)
    cold = archive_of(lake.raw, "clicks").root / FOLDER
    assert (cold / "x.parquet").read_bytes() == damaged
    assert {path.name for path in cold.iterdir()} == {"x.parquet", "_archived.json"}


def test_a_move_that_was_cut_short_is_finished_by_the_next(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prints(lake)

    def killed(path: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training_assets.sources.archive.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            archive(lake)
    # Both are there, and each row counts once.
    assert prints(lake) == before
    archive(lake)
    assert prints(lake) == before


def test_a_damaged_index_is_an_error_and_not_a_missing_day(lake: Lake) -> None:
    archive(lake)
    assert isinstance(lake.raw, LocalStore)
    index = archive_of(lake.raw, "clicks").root / FOLDER / INDEX
    index.write_text("{broken")
    with pytest.raises(RawDataError, match="index of the archived day is damaged"):
        find_raw_days(lake, CLICKS, [DAY])
