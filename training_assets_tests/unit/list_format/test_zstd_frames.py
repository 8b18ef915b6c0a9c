"""Frames that say where they repeat hold what was meant, for the library of the format."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_assets.list_format.zstd_frames import MAX_ROW, MIN_ROW, frame, repeated, repeated_rows


def read(content: bytes, size: int) -> bytes:
    found: bytes = pa.Codec("zstd").decompress(content, size, asbytes=True)
    return found


@settings(max_examples=100, deadline=None)
@given(data=st.data(), unit=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
def test_rows_are_read_back(data: st.DataObject, unit: int, seed: int) -> None:
    row_size = unit * data.draw(
        st.one_of(
            st.integers(-(-MIN_ROW // unit), 400),
            st.sampled_from([MAX_ROW // 2 // unit, MAX_ROW // unit - 1, MAX_ROW // unit]),
        )
    )
    # Where a repetition becomes long enough to be one, and where it needs a block more.
    edges = [0, unit, MIN_ROW // unit * unit, (MIN_ROW // unit + 1) * unit, row_size]
    num_bytes = st.one_of(
        st.sampled_from(edges),
        st.sampled_from(edges).map(lambda edge: row_size - edge),
        st.integers(0, row_size // unit).map(lambda values: values * unit),
    ).map(lambda size: min(max(size, 0), row_size))
    full_blocks = MAX_ROW // row_size
    times = st.one_of(st.integers(1, 4), st.integers(full_blocks, full_blocks + 3)).map(
        lambda many: max(many, 1)
    )
    rows = data.draw(st.lists(st.tuples(num_bytes, times), min_size=1, max_size=6))
    rng = np.random.default_rng(seed)
    padding = rng.bytes(unit)
    contents = [rng.bytes(size) for size, _ in rows]
    blocks, ends = repeated_rows(
        np.frombuffer(b"".join(contents), np.uint8),
        np.array([size for size, _ in rows]),
        padding,
        row_size,
        np.array([many for _, many in rows]),
    )
    expected = [
        (own + padding * ((row_size - len(own)) // unit)) * many
        for own, (_, many) in zip(contents, rows, strict=True)
    ]
    size = sum(map(len, expected))
    assert read(frame(size, [blocks]), size) == b"".join(expected)
    # The blocks of each row are a frame of their own.
    last = len(rows) - 1
    start = 0 if last == 0 else int(ends[last - 1])
    alone = frame(len(expected[last]), [blocks[start : ends[last]]])
    assert read(alone, len(expected[last])) == expected[last]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 130, 131, 132, MAX_ROW])
@pytest.mark.parametrize("times", [1, 2, 3, 26, 27, 28, 44, 131, 132, 133, 1000])
def test_a_piece_is_read_back(size: int, times: int) -> None:
    piece = np.random.default_rng(size).bytes(size)
    blocks = [repeated(b"head", 1), repeated(piece, times), repeated(b"tail", 1)]
    expected = b"head" + piece * times + b"tail"
    assert read(frame(len(expected), blocks), len(expected)) == expected


def test_repetitions_take_no_room() -> None:
    piece = np.random.default_rng(0).bytes(1000)
    assert len(repeated(piece, 100)) < 1050
    assert len(repeated(piece, 10_000)) < 1000 + 20 * (10_000_000 // MAX_ROW + 2)
