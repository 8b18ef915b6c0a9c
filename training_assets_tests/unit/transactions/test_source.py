"""Every line of a source becomes one row, whatever is in it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from training_assets.transactions.inbox import SOURCE_COLUMNS
from training_assets.transactions.source import Fingerprint, feed_order, locate, read_csv
from training_assets_tests.unit.transactions.banks import HEADER, line

# What separates lines and columns, what quotes, and what is neither.
characters = st.characters(codec="utf-8", exclude_characters="\n\r\ufeff")
texts = st.text(st.sampled_from("'\",01 ") | characters, max_size=30)
lines = st.one_of(
    texts.filter(str.strip),
    st.builds(line, texts, st.just("M"), st.sampled_from("MF"), st.just("1"), st.integers(0, 9)),
)


@given(st.lists(lines, max_size=20))
def test_no_line_is_lost_and_none_becomes_two(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8", newline="")
    table = read_csv(locate(str(path)), SOURCE_COLUMNS)
    assert table["source_row"].to_pylist() == list(range(len(lines)))
    for text, row in zip(lines, table.to_pylist(), strict=True):
        if row["problem"]:
            assert row["content"] == text
        elif text.count(",") == HEADER.count(","):
            assert text.split(",")[1] == row["customer"]
    assert sorted(feed_order(table, ()).tolist()) == list(range(len(lines)))


def test_a_line_may_be_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    path, good = tmp_path / "t.csv", line("C0", "M")
    long = ["x" * 3_000_000, good.replace("es_food", "y" * 3_000_000)]
    path.write_text("\n".join([HEADER, good, *long, good, ""]))
    table = read_csv(locate(str(path)), SOURCE_COLUMNS)
    assert table["content"].to_pylist() == [None, long[0], None, None]
    assert table["source_row"].to_pylist() == [0, 1, 2, 3]


@given(st.lists(lines, max_size=20), st.integers(0, 20))
def test_a_fingerprint_is_of_rows_however_they_are_cut(
    tmp_path: Path, lines: list[str], cut: int
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8", newline="")
    table = read_csv(locate(str(path)), SOURCE_COLUMNS)
    whole, parts, other = Fingerprint(), Fingerprint(), Fingerprint()
    whole.add(table)
    parts.add(table.slice(0, cut))
    parts.add(table.slice(cut))
    other.add(table.slice(1))
    assert str(whole) == str(parts)
    assert (str(other) == str(whole)) == (not lines)
