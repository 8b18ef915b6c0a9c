"""Inputs of benchmarks/samples.py, and what its outputs must be like."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

LAST = date(2026, 11, 19)
NUM_DAYS, CUSTOMERS, ITEMS, POSITIVES, RATIO, SEED = 380, 33_000, 50_000, 200_000, 4, 1
DAYS_WITH_FEATURES = 14


def actions(lake: Path, num_actions: int) -> Path:
    """A lake with published actions; what is there is kept."""
    if (lake / "done").exists():
        return lake
    shutil.rmtree(lake, ignore_errors=True)
    from training_assets.kernels import write_actions
    from training_assets.lake import Lake, new_run, publish
    from training_assets.schemas import UNIFIED_ACTIONS

    opened, rng, run = Lake.at(lake), np.random.default_rng(SEED), new_run()
    store = opened.table_store(UNIFIED_ACTIONS.name)
    new = {}
    for n in reversed(range(NUM_DAYS)):
        day = LAST - timedelta(days=n)
        size = num_actions // NUM_DAYS
        number = day.toordinal() - date(1970, 1, 1).toordinal()
        # A tenth of the customers come on a day.
        here = rng.choice(CUSTOMERS, CUSTOMERS // 10, replace=False) + 1
        micros = number * 86_400_000_000 + rng.integers(0, 86_400_000_000, size)
        batch = pa.RecordBatch.from_pydict(
            {
                "dt": pa.array(np.full(size, number, np.int32)).view(pa.date32()),
                "customer_id": rng.choice(here, size),
                "item_id": (ITEMS * rng.random(size) ** 2).astype(np.int32) + 1,
                "action_type": rng.choice(np.array([1, 2, 3], np.int8), size),
                "occurred_at": pa.array(micros).view(pa.timestamp("us", "UTC")),
                "part": np.zeros(size, np.int32),
            }
        )
        (written,) = (
            row for b in write_actions([batch], store.uri(), run) for row in b.to_pylist()
        )
        new[day] = _new_day(UNIFIED_ACTIONS.name, day, run, written)
    before = opened.snapshot(UNIFIED_ACTIONS.name)
    publish(store, UNIFIED_ACTIONS, new, before, {"run": run})
    (lake / "done").write_text("")
    return lake


def features(lake: Path, with_actions: Path) -> Path:
    """The same actions, with features of all users and items of the last days; made-up values."""
    if (lake / "done").exists():
        return lake
    shutil.rmtree(lake, ignore_errors=True)
    from training_assets.kernels import write_rows
    from training_assets.lake import Lake, new_run, publish
    from training_assets.tables import item_features, user_features

    shutil.copytree(with_actions, lake, ignore=shutil.ignore_patterns("done"))
    opened, rng, run = Lake.at(lake), np.random.default_rng(SEED), new_run()
    for spec, size in ((user_features.SPEC, CUSTOMERS), (item_features.SPEC, ITEMS)):
        table = spec.built_from.table
        store, new = opened.table_store(table.name), {}
        for n in range(DAYS_WITH_FEATURES):
            day = LAST - timedelta(days=n)
            batch = _made_up(table.arrow_schema, table.key[0], size, day, rng)
            rows = write_rows([batch], table, store.uri(), run)
            (written,) = (row for b in rows for row in b.to_pylist())
            new[day] = _new_day(table.name, day, run, written)
        publish(store, table, new, opened.snapshot(table.name), {"run": run})
    (lake / "done").write_text("")
    return lake


def catalogue(lake: Path, with_actions: Path) -> Path:
    """The same actions, with a snapshot of all items before each of the last days; made up."""
    if (lake / "done").exists():
        return lake
    shutil.rmtree(lake, ignore_errors=True)
    from training_assets.kernels import write_rows
    from training_assets.lake import Lake, new_run, publish
    from training_assets.tables import SPECS

    shutil.copytree(with_actions, lake, ignore=shutil.ignore_patterns("done"))
    opened, rng, run = Lake.at(lake), np.random.default_rng(SEED), new_run()
    table = SPECS["items"].built_from.table
    store, new = opened.table_store(table.name), {}
    known: dict[str, Any] = {
        name: [f"{name} {number}" for number in rng.integers(0, values, ITEMS)]
        for name, values in (("category", 40), ("subcategory", 400), ("brand", 2_000))
    }
    known["price"] = np.round(rng.lognormal(3, 1, ITEMS), 2)
    for n in range(1, DAYS_WITH_FEATURES + 1):
        day = LAST - timedelta(days=n)
        batch = _made_up(table.arrow_schema, table.key[0], ITEMS, day, rng).to_pydict()
        batch |= known | {"is_active": rng.random(ITEMS) < 0.8, "is_listed": [True] * ITEMS}
        types = {**{f.name: f.type for f in table.arrow_schema}, "dt": pa.date32()}
        columns = {
            name: pa.array(values).cast(types.get(name, pa.int32()))
            for name, values in batch.items()
        }
        rows = write_rows([pa.RecordBatch.from_pydict(columns)], table, store.uri(), run)
        (written,) = (row for b in rows for row in b.to_pylist())
        new[day] = _new_day(table.name, day, run, written)
    publish(store, table, new, opened.snapshot(table.name), {"run": run})
    (lake / "done").write_text("")
    return lake


def _made_up(schema: pa.Schema, key: str, size: int, day: date, rng: Any) -> pa.RecordBatch:
    """Rows of a table of features: numbers of any size, ids from 1, and null for all else."""
    columns = {}
    for field in schema:
        if field.name == key:
            columns[field.name] = pa.array(np.arange(1, size + 1)).cast(field.type)
        elif pa.types.is_floating(field.type):
            columns[field.name] = pa.array(rng.random(size)).cast(field.type)
        elif pa.types.is_integer(field.type):
            columns[field.name] = pa.array(rng.integers(0, 100, size)).cast(field.type)
        else:
            columns[field.name] = pa.nulls(size, field.type)
    columns["dt"] = pa.repeat(pa.scalar(day), size)
    columns["part"] = pa.array(np.zeros(size, np.int32))
    return pa.RecordBatch.from_pydict(columns)


def _new_day(table: str, day: date, run: str, written: dict[str, Any]) -> Any:
    from training_assets.lake import DataFile, NewDay, content_of

    file = DataFile(written["name"], written["bytes"], written["rows"])
    manifest = {
        "table": table,
        "dt": str(day),
        "run": run,
        "inputs": run,
        "settings": {},
        "content": content_of([file]),
    }
    return NewDay((file,), ((written["low"], written["high"]),), manifest)


def pairs(folder: Path, num_actions: int) -> Path:
    """Positives, seen and candidates; what is there is kept."""
    if (folder / "seen.parquet").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)

    def some(size: int) -> pl.DataFrame:
        items = (ITEMS * rng.random(size) ** 2).astype(np.int64) + 1
        customers = rng.integers(1, CUSTOMERS + 1, size)
        return pl.DataFrame({"customer_id": customers, "item_id": items}).select(
            pl.lit(LAST).alias("dt"), "customer_id", "item_id"
        )

    seen = some(num_actions)
    counts = seen.group_by("item_id").len("weight")
    items = pl.DataFrame({"item_id": np.arange(1, ITEMS + 1)})
    candidates = items.join(counts, on="item_id", how="left").select(
        pl.lit(LAST).alias("dt"), "item_id", pl.col("weight").fill_null(0).cast(pl.Int64)
    )
    some(POSITIVES).write_parquet(folder / "positives.parquet")
    candidates.write_parquet(folder / "candidates.parquet")
    seen.write_parquet(folder / "seen.parquet")
    return folder


def interactions(folder: Path, rows: int) -> Path:
    """occurred_at in whole seconds of ninety days, so that many rows share one; interaction_id."""
    if (folder / "interactions.parquet").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    start = (LAST - date(1970, 1, 1)).days * 86_400
    seconds = start - rng.integers(0, 90 * 86_400, rows)
    times = pl.from_numpy(seconds * 1_000_000, ["occurred_at"]).select(
        pl.col("occurred_at").cast(pl.Datetime("us", "UTC")),
        interaction_id=pl.len().cast(pl.Int64) - pl.int_range(pl.len()),
    )
    times.write_parquet(folder / "interactions.parquet")
    return folder


def check_table(lake: Path, outs: list[Path], *, has_features: str) -> None:
    """Raise where samples of the last day break the contract; has_features: "", or the case."""
    found = [pl.read_parquet(out / f"dt={LAST}" / "*.parquet") for out in outs]
    keys = ["customer_id", "item_number"]
    positives = [some.filter(label=1.0).select(keys).sort(keys) for some in found]
    for other in positives[1:]:
        assert positives[0].equals(other.cast(dict(positives[0].schema)))
    assert len({len(some) for some in found}) == 1
    if has_features:
        names = ["user_total_interactions", "item_popularity_score"]
        names = names if has_features == "features" else ["user_item_affinity", "category_match"]
        assert not found[0].select(pl.any_horizontal(pl.col(names).is_null()).any()).item()
    start = LAST - timedelta(days=365)
    files = sorted((lake / "unified_actions").glob("dt=*/*.parquet"))
    counted = [f for f in files if str(start) <= f.parent.name[3:] <= str(LAST)]
    seen = pl.scan_parquet(counted).select("customer_id", item_number="item_id")
    for some in found:
        drawn = some.filter(label=0.0).select(keys)
        assert not drawn.is_duplicated().any()
        acted = drawn.lazy().cast({"item_number": pl.Int32}).join(seen, on=keys, how="semi")
        assert acted.collect().is_empty()


def check_draws(folder: Path, out: Path, strategy: str) -> None:
    """Raise where the samples break the contract."""
    samples = pl.read_parquet(out / "*.parquet").select("customer_id", "item_id", "label", "^s.*$")
    negatives = samples.filter(label=0.0)
    positives = pl.read_parquet(folder / "positives.parquet").select("customer_id", "item_id")
    seen = pl.scan_parquet(folder / "seen.parquet").select("customer_id", "item_id")
    pairs = negatives.select("customer_id", "item_id")
    acted_on = pairs.lazy().join(seen, on=["customer_id", "item_id"], how="semi").collect()
    assert acted_on.is_empty(), acted_on.head(3)
    assert pairs.join(positives, on=["customer_id", "item_id"], how="semi").is_empty()
    assert not pairs.is_duplicated().any()
    assert len(negatives) == RATIO * positives.n_unique()
    if strategy == "uniform":
        left = (1 / negatives["sampling_probability"]).round().cast(pl.Int64)
        assert left.is_between(ITEMS - 2_000, ITEMS).all(), left.min()
    assert negatives["sampling_probability"].is_between(0, 0.01, closed="right").all()
