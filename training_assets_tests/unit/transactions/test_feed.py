"""The feed: each row once, in order, whatever happened before."""

import gzip
import json
import os
import time
from pathlib import Path

import pytest

from training_assets.errors import ChunkError, RawDataError, SchemaError
from training_assets.lake import open_store
from training_assets.transactions.feed import Feed, feed_all
from training_assets.transactions.inbox import SOURCE_COLUMNS, Inbox
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.source import locate, read_csv
from training_assets_tests.unit.transactions.banks import HEADER, line, write_lines


class Source:
    """A source and its inbox; ``feed`` is a process that starts, feeds and ends."""

    def __init__(self, root: Path, chunk_rows: int = 3) -> None:
        self.path = root / "transactions.csv"
        self.weights = root / "importance.csv"
        self.weights.write_text("Source,Target,Weight,typeTrans,fraud\n")
        self.settings = TransactionSettings(
            workdir=str(root / "work"),
            transactions=str(self.path),
            importance=str(self.weights),
            chunk_rows=chunk_rows,
        )
        self.store = open_store(self.settings.workdir)
        self.inbox = Inbox(self.store)

    def write(self, *steps: int) -> None:
        """One line per step; the customer is C and the number of the line."""
        lines = [line(f"C{i}", "M", step=step) for i, step in enumerate(steps)]
        write_lines(self.path, lines)

    def start(self) -> Feed:
        return Feed(self.store, self.settings)

    def feed(self) -> int:
        return feed_all(self.start(), lambda message: None)

    def ranges(self) -> list[tuple[int, int]]:
        return [(chunk.first, chunk.last) for chunk in self.inbox.chunks()]

    def customers(self) -> list[str]:
        tables = [self.inbox.read(chunk.entry.path)[0] for chunk in self.inbox.chunks()]
        return [name.strip("'") for table in tables for name in table["customer"].to_pylist()]

    def objects(self) -> dict[str, bytes]:
        return {e.path: self.inbox.store.read(e.path) for e in self.inbox.store.list()}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_chunks_are_named_by_first_and_last_row_and_the_last_may_be_short(source: Source) -> None:
    source.write(0, 0, 0, 1, 1, 1, 2)
    assert source.feed() == 3
    assert [chunk.entry.path for chunk in source.inbox.chunks()] == [
        "chunk-000000000000-000000000002.parquet",
        "chunk-000000000003-000000000005.parquet",
        "chunk-000000000006-000000000006.parquet",
    ]


def test_rows_are_in_the_order_of_step_and_then_of_the_source(source: Source) -> None:
    source.write(2, 0, 1, 0, 2)
    source.feed()
    assert source.customers() == ["C1", "C3", "C2", "C0", "C4"]


def test_a_row_without_a_step_goes_with_the_one_before_it(source: Source) -> None:
    broken = line("C9", "M").replace("0,", "soon,", 1)
    write_lines(source.path, [line("C0", "M", step=5), broken, line("C1", "M", step=1)])
    source.feed()
    assert source.customers() == ["C1", "C0", "C9"]


def test_a_source_that_grows_is_continued(source: Source) -> None:
    source.write(0, 0, 0, 1)
    source.feed()
    source.write(0, 0, 0, 1, 1, 2, 2, 2)
    source.feed()
    assert source.ranges() == [(0, 2), (3, 3), (4, 6), (7, 7)]
    assert source.customers() == [f"C{i}" for i in range(8)]


def test_rows_that_come_late_are_fed_after_those_that_were(source: Source) -> None:
    source.write(5, 6, 7, 8)
    feed = source.start()
    feed.tick()
    source.write(5, 6, 7, 8, 1, 9)
    while feed.tick():
        pass
    source.write(5, 6, 7, 8, 1, 9, 0)
    source.feed()
    assert source.customers() == ["C0", "C1", "C2", "C3", "C4", "C5", "C6"]


def test_nothing_is_fed_twice_by_a_second_start(source: Source) -> None:
    source.write(0, 0, 0, 0)
    source.feed()
    before = source.objects()
    assert source.feed() == 0
    assert source.objects() == before


def test_a_lost_offset_is_found_in_the_inbox(source: Source) -> None:
    source.write(0, 0, 0, 1)
    source.feed()
    source.store.child("temp").delete(["feed.json"])
    source.write(0, 0, 0, 1, 2)
    source.feed()
    assert source.ranges() == [(0, 2), (3, 3), (4, 4)]


def test_chunks_that_were_taken_away_are_not_fed_again(source: Source) -> None:
    source.write(0, 0, 0, 1)
    source.feed()
    source.inbox.store.delete(list(source.objects()))
    source.write(0, 0, 0, 1, 2)
    source.feed()
    assert source.ranges() == [(4, 4)]


def test_a_chunk_that_was_begun_keeps_its_rows_whatever_the_settings_are_now(
    source: Source,
) -> None:
    source.write(0, 0, 0, 0, 0)
    claim = source.store.child("temp", "claims")
    assert claim.put_new("000000000000.json", json.dumps({"last": 1}).encode())
    source.feed()
    assert source.ranges() == [(0, 1), (2, 4)]


def test_two_feeds_at_once_put_each_row_once(source: Source) -> None:
    source.write(*range(20))
    one, other = source.start(), source.start()
    while one.tick() + other.tick():
        pass
    assert source.customers() == [f"C{i}" for i in range(20)]


def test_a_changed_row_that_was_fed_is_an_error_that_changes_nothing(source: Source) -> None:
    source.write(0, 0, 0, 1)
    source.feed()
    before = source.objects()
    lines = source.path.read_text().replace("'C1'", "'C7'")
    source.path.write_text(lines + line("C8", "M", step=9) + "\n")
    with pytest.raises(RawDataError, match=r"the 4 rows that were fed are not the first of its 5"):
        source.feed()
    assert source.objects() == before


def test_a_source_that_became_shorter_is_an_error(source: Source) -> None:
    source.write(0, 0, 0, 1)
    source.feed()
    source.write(0, 0)
    with pytest.raises(RawDataError, match="4 rows that were fed"):
        source.feed()


def test_another_object_under_the_name_of_a_chunk_is_an_error(source: Source) -> None:
    source.write(0, 0, 0)
    feed = source.start()
    source.inbox.store.put("chunk-000000000000-000000000002.parquet", b"something else")
    with pytest.raises(ChunkError, match="cannot be read"):
        feed.tick()
    assert feed.rows_fed == 0


def test_overlapping_chunks_are_an_error(source: Source) -> None:
    source.write(0, 0, 0)
    source.feed()
    (name,) = source.objects().keys() - {"importance-000000000000-000000000000.parquet"}
    data = source.inbox.store.read(name)
    source.inbox.store.put("chunk-000000000001-000000000004.parquet", data)
    with pytest.raises(ChunkError, match="begins within chunk-000000000000-000000000002"):
        source.feed()


def test_weights_are_put_once_a_version_with_the_row_from_which_they_apply(
    source: Source,
) -> None:
    source.write(0, 0, 0)
    source.feed()
    source.feed()
    source.weights.write_text("Source,Target,Weight,typeTrans,fraud\n'C','M',1,'x',0\n")
    source.write(0, 0, 0, 1)
    source.feed()
    assert [(w.number, w.from_row) for w in source.inbox.weights()] == [(0, 0), (1, 3)]


def test_a_compressed_source_is_read(source: Source, tmp_path: Path) -> None:
    source.write(0, 1)
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(source.path.read_bytes()))
    settings = TransactionSettings(
        workdir=str(tmp_path / "of_packed"),
        transactions=str(packed),
        importance=str(source.weights),
    )
    store = open_store(settings.workdir)
    assert feed_all(Feed(store, settings), lambda message: None) == 1
    assert Inbox(store).chunks()[0].last == 1


@pytest.mark.parametrize("fault", ["cut", "damaged", "not compressed"])
def test_a_compressed_source_that_is_broken_is_an_error(source: Source, fault: str) -> None:
    source.write(*range(100))
    packed = source.path.with_suffix(".csv.gz")
    data = gzip.compress(source.path.read_bytes())
    middle = len(data) // 2
    faults = {
        "cut": data[:middle],
        "damaged": data[:middle] + bytes(255 - byte for byte in data[middle:]),
        "not compressed": source.path.read_bytes(),
    }
    packed.write_bytes(faults[fault])
    with pytest.raises(RawDataError, match="cannot be read"):
        read_csv(locate(str(packed)), SOURCE_COLUMNS)


def test_a_line_that_is_being_written_is_left_for_later(source: Source) -> None:
    source.write(0, 0)
    with open(source.path, "a") as file:
        file.write(line("C2", "M", amount="12")[:-4])
    feed = Feed(source.store, source.settings, is_growing=True)
    assert feed.tick() == 2
    assert feed.tick() == 0
    os.utime(source.path, (time.time() - 60,) * 2)
    assert feed.tick() == 1


def test_what_a_killed_feed_left_is_removed_by_a_later_start(source: Source) -> None:
    source.write(0)
    source.feed()
    left = Path(source.inbox.store.url) / f".writing-{'0' * 16}"
    left.write_bytes(b"half")
    source.start()
    assert left.exists()
    os.utime(left, (time.time() - 3600,) * 2)
    source.start()
    assert not left.exists()


def test_a_header_without_a_column_is_an_error_that_names_it(source: Source) -> None:
    source.path.write_text(HEADER.replace("merchant,", "shop,") + "\n")
    with pytest.raises(SchemaError, match="expected the column merchant once"):
        source.feed()


def test_a_header_in_quotes_and_other_order_is_understood(source: Source) -> None:
    names = [f'"{name}"' for name in ["amount", *HEADER.replace(",amount", "").split(",")]]
    values = ["5", *line("C0", "M", amount="X").replace(",X", "").split(",")]
    source.path.write_text(f"\ufeff{','.join(names)}\r\n{','.join(values)}\r\n")
    source.feed()
    table, _ = source.inbox.read(source.inbox.chunks()[0].entry.path)
    assert table.select(["customer", "amount"]).to_pylist() == [{"customer": "'C0'", "amount": "5"}]


def test_an_empty_source_feeds_nothing(source: Source) -> None:
    source.write()
    assert source.feed() == 0


def test_a_source_that_is_not_there_is_an_error(source: Source) -> None:
    with pytest.raises(RawDataError, match="there is no such file"):
        source.feed()
