from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.errors import SettingsError
from training_assets.sample.distributions import top_share
from training_assets.sample.generate import SampleSpec, SampleSummary, generate
from training_assets.schemas import RAW_TABLES

END = date(2024, 6, 30)
SMALL = SampleSpec(customers=300, items=200, interactions=3_000, days=15, end_date=END, seed=7)
ITEM_COLUMN = {"clicks": "item_id", "add_to_carts": "config_id", "previous_orders": "config_id"}
TIME_COLUMN = {
    "clicks": "click_time",
    "add_to_carts": "occurred_at",
    "previous_orders": "occurred_at",
}


class Sample:
    """What was written, by table and day, read file by file."""

    def __init__(self, lake: Path, spec: SampleSpec, summary: SampleSummary) -> None:
        self.lake, self.spec, self.summary = lake, spec, summary
        self.tables = {
            table: {
                day: pq.ParquetFile(lake / f"raw/{table}/dt={day}/part-0.parquet").read()
                for day in spec.dates
            }
            for table in RAW_TABLES
        }

    def actions(self, table: str, day: date) -> list[tuple[int, int]]:
        rows = self.tables[table][day]
        return list(
            zip(rows["customer_id"].to_pylist(), rows[ITEM_COLUMN[table]].to_pylist(), strict=True)
        )

    def all_actions(self) -> np.ndarray[Any, Any]:
        """Customer and item of every action, [actions, 2]."""
        pairs = (self.actions(table, day) for table in ITEM_COLUMN for day in self.spec.dates)
        return np.array([pair for some in pairs for pair in some])


def made(lake: Path, spec: SampleSpec) -> Sample:
    return Sample(lake, spec, generate(lake, spec))


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return made(tmp_path_factory.mktemp("default"), SampleSpec(end_date=END))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return made(tmp_path_factory.mktemp("small"), SMALL)


def files(lake: Path) -> dict[str, bytes]:
    return {str(f.relative_to(lake)): f.read_bytes() for f in sorted(lake.rglob("part-0.*"))}


def auc(scores: list[float], labels: list[bool]) -> float:
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    assert len(values) > 1
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    is_positive = np.array(labels)
    num = int(is_positive.sum())
    return float((ranks[is_positive].sum() - num * (num + 1) / 2) / (num * (len(labels) - num)))


def test_same_spec_gives_the_same_bytes_and_another_seed_does_not(
    small: Sample, tmp_path: Path
) -> None:
    generate(tmp_path / "again", SMALL)
    generate(tmp_path / "other", replace(SMALL, seed=8))
    assert files(tmp_path / "again") == files(small.lake)
    assert files(tmp_path / "other") != files(small.lake)


def test_files_have_the_raw_schema_and_order_date_but_no_dt(small: Sample) -> None:
    for name, table in RAW_TABLES.items():
        for day, rows in small.tables[name].items():
            expected = [(c.name, c.arrow) for c in table.columns if c.name != "dt"]
            assert [(f.name, f.type) for f in rows.schema] == [
                (n, as_read(t)) for n, t in expected
            ], name
            if name == "previous_orders":
                assert set(rows["order_date"].to_pylist()) <= {day}
    metadata = pq.ParquetFile(next(small.lake.rglob("*.parquet"))).metadata
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def as_read(arrow: pa.DataType) -> pa.DataType:
    """The type as a Parquet reader names it: list entries are called element."""
    if pa.types.is_list(arrow):
        return pa.list_(pa.field("element", arrow.value_type))
    return arrow


def test_summary_counts_what_lies_in_the_lake(small: Sample) -> None:
    summary = small.summary
    counted = {t: sum(r.num_rows for r in small.tables[t].values()) for t in RAW_TABLES}
    assert summary.rows == counted
    assert summary.days == 15
    # Of the catalogue and of users a snapshot a week.
    assert summary.files == 5 * 15 + 2 * 3 == len(files(small.lake))
    assert summary.bytes == sum(map(len, files(small.lake).values()))
    assert not [path for path in small.lake.rglob("*") if path.name.startswith(("_", "."))]


def test_a_second_sample_replaces_its_days_and_leaves_others(tmp_path: Path) -> None:
    spec = replace(SMALL, interactions=200, days=2)
    generate(tmp_path, spec)
    before = files(tmp_path)
    generate(tmp_path, replace(spec, days=1, seed=9))
    changed = {path for path, content in files(tmp_path).items() if before.get(path) != content}
    assert changed
    assert all(f"dt={END}" in path for path in changed)


def test_progress_is_reported_in_at_most_ten_lines(tmp_path: Path) -> None:
    lines: list[str] = []
    generate(tmp_path, replace(SMALL, interactions=100), lines.append)
    assert len(lines) == 10
    assert lines[-1] == "generated 15 of 15 days, up to 2024-06-30"


def test_actions_number_exactly_the_interactions_in_a_falling_funnel(default: Sample) -> None:
    rows = default.summary.rows
    assert (rows["clicks"], rows["add_to_carts"], rows["previous_orders"]) == (
        80_000,
        12_000,
        8_000,
    )


def test_top_fifth_of_items_and_customers_makes_80_percent_within_3_points(
    default: Sample,
) -> None:
    customers, items = default.all_actions().T
    assert top_share(np.bincount(customers, minlength=10_001)[1:]) == pytest.approx(0.8, abs=0.03)
    assert top_share(np.bincount(items, minlength=5_001)[1:]) == pytest.approx(0.8, abs=0.03)


def test_a_few_customers_go_beyond_1000_actions(default: Sample) -> None:
    per_customer = np.bincount(default.all_actions()[:, 0])
    assert 3 <= (per_customer > 1_000).sum() <= 20


def test_ids_are_within_the_numbers_asked_for(default: Sample) -> None:
    customers, items = default.all_actions().T
    assert (customers.min(), items.min()) >= (1, 1)
    assert customers.max() <= 10_000
    assert items.max() <= 5_000


def test_evenings_and_weekends_are_busier(default: Sample) -> None:
    hours: Counter[int] = Counter()
    weekdays: Counter[int] = Counter()
    for day, rows in default.tables["clicks"].items():
        weekdays[day.weekday()] += rows.num_rows
        hours.update(at.hour for at in rows["click_time"].to_pylist())
    assert hours[20] > 1.5 * hours[10] > 15 * hours[3]
    assert weekdays[6] > 1.1 * weekdays[1]


def test_actions_of_a_day_come_in_short_sessions(default: Sample) -> None:
    gaps = []
    for rows in default.tables["clicks"].values():
        times = defaultdict(list)
        for customer, at in zip(rows["customer_id"], rows["click_time"], strict=True):
            times[customer.as_py()].append(at.value)
        for some in times.values():
            gaps += np.diff(sorted(some)).tolist()
    seconds = np.array(gaps) / 1e6
    assert 5 < np.median(seconds) < 120
    assert (seconds > 3_600).mean() > 0.02


def test_about_one_percent_is_filed_a_day_late_and_nothing_else_is_off(default: Sample) -> None:
    late = []
    for table, column in TIME_COLUMN.items():
        for day, rows in default.tables[table].items():
            days_late = {at.date(): (day - at.date()).days for at in rows[column].to_pylist()}
            assert set(days_late.values()) <= {0, 1}
            late += [days_late[at.date()] for at in rows[column].to_pylist()]
    assert 0.003 < np.mean(late) < 0.03


def test_is_order_is_true_exactly_for_the_orders_of_that_customer_and_day(
    default: Sample, small: Sample
) -> None:
    for sample in (default, small):
        num_positives = 0
        for day in sample.spec.dates:
            ordered = set(sample.actions("previous_orders", day))
            for row in sample.tables["impressions"][day].to_pylist():
                for item in row["impressions"]:
                    is_ordered = (row["customer_id"], item["item_id"]) in ordered
                    assert item["is_order"] == is_ordered
                    num_positives += is_ordered
        assert num_positives > 0.5 * sample.summary.rows["previous_orders"]


def test_rankings_hold_ten_items_and_have_ids_of_their_own(default: Sample) -> None:
    ids: list[str] = []
    several = 0
    for rows in default.tables["impressions"].values():
        assert 450 <= rows.num_rows <= 700
        assert {len(entries) for entries in rows["impressions"].to_pylist()} == {10}
        ids += rows["ranking_id"].to_pylist()
        several += max(Counter(rows["customer_id"].to_pylist()).values()) > 1
    assert len(set(ids)) == len(ids)
    assert several == 90


def test_some_customers_see_rankings_without_any_history(default: Sample) -> None:
    acted = set(default.all_actions()[:, 0].tolist())
    seen = set(default.tables["impressions"][END]["customer_id"].to_pylist())
    assert 10 < len(seen - acted) < 0.3 * len(seen)


def test_earlier_actions_tell_orders_better_than_popularity_does(default: Sample) -> None:
    popularity: Counter[int] = Counter()
    history: Counter[tuple[int, int]] = Counter()
    by_popularity, by_history, labels = [], [], []
    for day in default.spec.dates:
        if day > END - timedelta(days=14):
            for row in default.tables["impressions"][day].to_pylist():
                for entry in row["impressions"]:
                    item = entry["item_id"]
                    by_popularity.append(float(popularity[item]))
                    by_history.append(history[row["customer_id"], item] + popularity[item] / 1e6)
                    labels.append(entry["is_order"])
        for table, weight in (("clicks", 1), ("add_to_carts", 3)):
            for customer, item in default.actions(table, day):
                popularity[item] += 1
                history[customer, item] += weight
    assert 0.01 < np.mean(labels) < 0.05
    assert auc(by_popularity, labels) < 0.68
    assert auc(by_history, labels) > auc(by_popularity, labels) + 0.1


@pytest.mark.parametrize("sizes", [{"interactions": 1}, {"days": 1}, {"days": 40}])
def test_tiny_samples_work(tmp_path: Path, sizes: dict[str, int]) -> None:
    spec = replace(SampleSpec(customers=20, items=20, interactions=30, end_date=END), **sizes)
    summary = generate(tmp_path, spec)
    actions = sum(rows for table, rows in summary.rows.items() if table != "impressions")
    assert actions == spec.interactions
    assert summary.files == 5 * spec.days + 2 * -(-spec.days // 7)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("customers", 3, "from 20"),
        ("items", 2**31, "to 2147483647"),
        ("interactions", 0, "from 1"),
        ("days", 1.5, "a whole number"),
        ("seed", -1, "from 0"),
    ],
)
def test_sizes_that_cannot_work_are_refused_by_name(name: str, value: float, expected: str) -> None:
    with pytest.raises(SettingsError, match=f"^generate: {name} is {value}; .*{expected}"):
        replace(SMALL, **{name: value})


def test_end_date_with_a_time_is_refused() -> None:
    with pytest.raises(SettingsError, match="end_date is '2024-06-30'; expected a date"):
        SampleSpec(end_date="2024-06-30")  # type: ignore[arg-type]
