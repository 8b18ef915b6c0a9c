"""Tabular batches: what is in them, every example once, resumed anywhere, by parts of a split."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from training_assets.errors import SchemaError, SettingsError
from training_assets.lake import Lake
from training_assets.loader import SampleBatch, TrainingDays, Vocabulary, published_days
from training_assets.schemas import SCHEMA_VERSION, TRAINING_SAMPLES
from training_assets_tests.support.planting import publish_day

DAYS = [date(2024, 5, n) for n in (1, 2, 3)]
TABLE = TRAINING_SAMPLES.name
NAMES = ("seen_before", "session_position", "time_of_day", "day_of_week", "item_price")
SCHEMA = TRAINING_SAMPLES.arrow_schema.append(pa.field("item_price", pa.decimal128(18, 4)))


def rows_of(day: date, size: int = 30) -> list[dict[str, Any]]:
    rng = np.random.default_rng(day.day)
    return [
        {
            "user_id": f"u{n // 5}",
            "item_id": f"i{n}",
            "customer_id": n // 5,
            "item_number": int(rng.integers(1, 1000)),
            "label": float(n % 5 == 0),
            "sampling_probability": None if n % 5 == 0 else 0.01,
            "log_q": None if n % 5 == 0 else float(np.log(4 * 0.01)),
            "seen_before": bool(rng.integers(2)),
            "positive_item_id": f"i{n // 5 * 5}",
            "occurred_at": None,
            "session_id": None,
            "session_position": None if n % 7 == 0 else int(rng.integers(1, 9)),
            "time_of_day": int(rng.integers(24)),
            "day_of_week": day.isoweekday(),
            "item_price": None if n % 3 == 0 else "12.5000",
        }
        for n in range(size)
    ]


def publish(lake: Lake, day: date, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> None:
    typed = [{**row, "item_price": _decimal(row["item_price"])} for row in rows]
    table = pa.Table.from_pylist(typed, SCHEMA).select(schema.names)
    manifest = {
        "table": TABLE,
        "dt": str(day),
        "schema_version": SCHEMA_VERSION,
        "settings": {"lookback_days": 7},
        "figures": {"positives": int(sum(row["label"] for row in rows))},
    }
    half = len(rows) // 2
    publish_day(lake, TRAINING_SAMPLES, day, table[:half], table[half:], manifest=manifest)


def _decimal(text: str | None) -> Any:
    return None if text is None else Decimal(text)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    for day in DAYS:
        publish(Lake.at(root), day, rows_of(day))
    return root


def samples(lake: Path, **options: Any) -> TrainingDays:
    return TrainingDays(lake, table=TABLE, **{"batch_size": 7, "seed": 3, **options})  # type: ignore[arg-type]


def seen(batches: Any) -> list[Any]:
    return [(batch.dt, row) for batch in batches for row in batch.rows.tolist()]


def test_batches_hold_features_ids_labels_and_weights(lake: Path) -> None:
    days = samples(lake, shuffle="none", batch_size=30)
    assert days.feature_names == NAMES
    assert published_days(lake, table=TABLE) == DAYS
    for batch, day in zip(days, DAYS, strict=True):
        rows = rows_of(day)
        assert isinstance(batch, SampleBatch)
        assert (batch.dt, batch.names, batch.features.shape) == (day, NAMES, (30, 5))
        assert {
            batch.features.dtype,
            batch.labels.dtype,
            batch.log_q.dtype,
            batch.weights.dtype,
        } == {np.dtype(np.float32)}
        expected = [
            [np.nan if row[name] is None else float(row[name]) for name in NAMES] for row in rows
        ]
        np.testing.assert_array_equal(batch.features, np.array(expected, np.float32))
        assert batch.customer_ids.tolist() == [row["customer_id"] for row in rows]
        assert batch.item_ids.tolist() == [row["item_number"] for row in rows]
        assert batch.labels.tolist() == [row["label"] for row in rows]
        np.testing.assert_allclose(batch.log_q, [row["log_q"] or 0.0 for row in rows], rtol=1e-6)
        assert set(batch.weights.tolist()) == {1.0}


def test_negatives_may_weigh_what_they_stand_for(lake: Path) -> None:
    batch = next(iter(samples(lake, shuffle="none", weights="inverse_probability")))
    np.testing.assert_allclose(batch.weights, np.where(batch.labels == 1, 1, 25), rtol=1e-6)


def test_features_may_be_chosen_and_items_encoded(lake: Path) -> None:
    vocabulary = Vocabulary(np.array(sorted({r["item_number"] for r in rows_of(DAYS[0])})))
    days = samples(
        lake, shuffle="none", features=["item_price", "time_of_day"], vocabulary=vocabulary
    )
    batch = next(iter(days))
    assert batch.names == ("item_price", "time_of_day")
    assert (
        batch.item_ids.tolist()
        == vocabulary.encode(
            np.array([row["item_number"] for row in rows_of(DAYS[0])[:7]])
        ).tolist()
    )


@pytest.mark.parametrize("shuffle", ["examples", "histories"])
def test_every_sample_comes_once_an_epoch_and_epochs_differ(lake: Path, shuffle: Any) -> None:
    days = samples(lake, shuffle=shuffle)
    first, second = seen(days), seen(days)
    assert first != second
    assert sorted(first) == sorted(second) == [(day, n) for day in DAYS for n in range(30)]
    assert days.num_examples == 90
    assert len(days) == 15
    assert days.memory_bound_bytes > 90 * 5 * 4


def test_a_customers_samples_stay_together_where_histories_are_shuffled(lake: Path) -> None:
    days = samples(lake, shuffle="histories", batch_size=30)
    customers = next(iter(days)).customer_ids
    assert (np.diff(customers) != 0).sum() == 5


def test_ranks_may_change_in_the_middle_of_an_epoch(lake: Path) -> None:
    found: list[Any] = []
    state = None
    for world_size, steps in ((1, 2), (2, 1), (4, 1), (1, 99)):
        ranks = [
            samples(lake, batch_size=8 // world_size, world_size=world_size, rank=rank)
            for rank in range(world_size)
        ]
        for rank in ranks if state else ():
            rank.load_state_dict(json.loads(json.dumps(state)))
        for _, *batches in zip(range(steps), *ranks, strict=False):
            found += seen(batches)
        state = ranks[0].state_dict()
    assert sorted(found) == [(day, n) for day in DAYS for n in range(30)]
    with pytest.raises(SettingsError, match="expected"):
        samples(lake, batch_size=9).load_state_dict(state or {})


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataloader_gives_tensors_and_other_epochs(lake: Path, num_workers: int) -> None:
    torch = pytest.importorskip("torch")
    expected = samples(lake)
    days = samples(lake)
    loader = torch.utils.data.DataLoader(days.dataset(), batch_size=None, num_workers=num_workers)
    epochs = [seen(loader) for _ in range(2)]
    assert epochs == [seen(expected) for _ in range(2)]
    batch = next(iter(samples(lake).tensors()))
    assert batch.features.dtype == torch.float32
    assert batch.to("cpu").labels.shape == (7,)


def test_a_part_of_the_split_gives_its_days(lake: Path, tmp_path: Path) -> None:
    parts = {
        name: {"days": [str(day)], "rows": 30, "positives": 6}
        for name, day in zip(("train", "validation", "test"), DAYS, strict=True)
    }
    content = {
        "version": 1,
        "table": TABLE,
        "start_date": str(DAYS[0]),
        "end_date": str(DAYS[-1]),
        "ratios": ["1/3"] * 3,
        "gap_days": 0,
        "cuts": [str(DAYS[1]), str(DAYS[2])],
        "parts": parts,
        "left_out": [],
        "versions": {},
    }
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    for name, day in zip(parts, DAYS, strict=True):
        assert samples(lake, split=name, splits=other).days == (day,)
    with pytest.raises(SettingsError, match="split is 'dev'; expected one of train, validation"):
        samples(lake, split="dev", splits=other)
    with pytest.raises(SettingsError, match=r"splits\.json is not there; .*training-assets split"):
        samples(lake, split="train")
    with pytest.raises(SettingsError, match="days and split are both given"):
        samples(lake, split="train", splits=other, days=DAYS)
    other.write_text("{}")
    with pytest.raises(SettingsError, match="cannot be used"):
        samples(lake, split="train", splits=other)


def test_what_cannot_be_given_is_named(lake: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="features has session_id; expected some of seen_before"
    ):
        samples(lake, features=["session_id"])
    with pytest.raises(SettingsError, match="features is 'time_of_day'; expected a collection"):
        samples(lake, features="time_of_day")
    with pytest.raises(SettingsError, match="weights is 'half'"):
        samples(lake, weights="half")
    with pytest.raises(SettingsError, match=r"extras is \['mask'\] with table='training_samples'"):
        samples(lake, extras=["mask"])
    with pytest.raises(SettingsError, match="table is 'user_features'"):
        TrainingDays(lake, table="user_features", batch_size=1)  # type: ignore[arg-type]
    other = Lake.at(tmp_path / "lake")
    publish(other, DAYS[0], rows_of(DAYS[0]))
    publish(other, DAYS[1], rows_of(DAYS[1]), TRAINING_SAMPLES.arrow_schema)
    with pytest.raises(SchemaError, match="2024-05-02: there is no item_price; expected the feat"):
        samples(tmp_path / "lake")
    assert samples(tmp_path / "lake", features=["time_of_day"]).num_examples == 60


def test_a_state_of_another_table_is_refused(lake: Path) -> None:
    days, of = samples(lake), {"training_input": 3, "customer_history": 2}
    with pytest.raises(SettingsError, match="is of training_input, customer_history; expected"):
        days.load_state_dict({**days.state_dict(), "versions": of})
