"""Vocabularies know the items of their days and no others."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.errors import SchemaError, SettingsError
from training_assets.loader import Vocabulary
from training_assets_tests.support.loader_lakes import random_days, write_lake


def test_build_counts_items_of_the_given_days_only(tmp_path: Path) -> None:
    plain = random_days(20, num_items=60)
    lake = write_lake(tmp_path, plain, num_files=2)
    counts: Counter[int] = Counter()
    for day in plain[:2]:
        counts.update(item for _, _, item, _ in day.rows)
        counts.update(action[0] for actions in day.histories.values() for action in actions)
    for min_count in (1, 4):
        known = sorted(item for item, count in counts.items() if count >= min_count)
        days = [day.dt for day in plain[:2]]
        vocabulary = Vocabulary.build(lake, days=days, min_count=min_count)
        assert vocabulary.item_ids.tolist() == known
        assert vocabulary.days == tuple(days)
        assert vocabulary.size == len(known) + 2


def test_build_from_training_input_knows_the_same_items(tmp_path: Path) -> None:
    plain = random_days(21, num_days=1)
    lake = write_lake(tmp_path, plain)
    one = Vocabulary.build(lake, days=["2024-03-01"])
    other = Vocabulary.build(lake, days=["2024-03-01"], source="training_input")
    assert one.item_ids.tolist() == other.item_ids.tolist()


@pytest.mark.parametrize("largest", [30, 2**31 - 1])
def test_encode_and_decode(largest: int) -> None:
    vocabulary = Vocabulary(np.array([7, largest]))
    items = np.array([[largest, 7], [8, 0], [1, 2**31 - 2]], np.int32)
    assert vocabulary.encode(items).tolist() == [[3, 2], [1, 0], [1, 1]]
    assert vocabulary.encode(items).dtype == np.int32
    assert vocabulary.decode(np.array([0, 1, 2, 3])).tolist() == [0, -1, 7, largest]
    assert len(vocabulary) == 4


def test_an_empty_vocabulary_knows_nothing() -> None:
    vocabulary = Vocabulary(np.zeros(0, np.int64))
    assert vocabulary.encode(np.array([0, 5])).tolist() == [0, 1]
    assert vocabulary.size == 2


def test_save_and_load(tmp_path: Path) -> None:
    lake = write_lake(tmp_path / "lake", random_days(22))
    vocabulary = Vocabulary.build(lake, days=["2024-03-01", "2024-03-02"])
    vocabulary.save(tmp_path / "vocabulary.parquet")
    path = tmp_path / "vocabulary.parquet"
    for location in (path, str(path), path.as_uri()):
        loaded = Vocabulary.load(location)
        assert loaded.item_ids.tolist() == vocabulary.item_ids.tolist()
        assert loaded.days == vocabulary.days
    assert "built from 2024-03-01 to 2024-03-02" in repr(loaded)


def test_load_of_another_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(SchemaError, match="not a vocabulary, columns are x"):
        Vocabulary.load(tmp_path / "other.parquet")


@pytest.mark.parametrize("ids", [[0, 1], [2, 2], [3, 2]])
def test_ids_that_are_not_ascending_are_refused(ids: list[int]) -> None:
    with pytest.raises(SettingsError, match="not unique, ascending and at least 1"):
        Vocabulary(np.array(ids))
