"""Samples as an expert would make them by hand with Polars and NumPy, day by day.

python benchmarks/baselines/samples_polars.py --input L --out O --first 2026-11-06 --last 2026-11-19
"""

import argparse
import json
import os
import resource
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

LOOKBACK, RATIO, KINDS = 365, 4, [2, 3, 5]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=date.fromisoformat, required=True)
    parser.add_argument("--last", type=date.fromisoformat, required=True)
    parser.add_argument("--threads", default="2")
    options = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = options.threads
    import polars  # noqa: F401

    start, cpu = time.perf_counter(), cpu_seconds()
    rows, day = 0, options.first
    while day <= options.last:
        rows += sample(options.input / "unified_actions", options.out / f"dt={day}", day)
        day += timedelta(days=1)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_seconds() - cpu, "rows": rows}))


def sample(folder: Path, out: Path, day: date) -> int:
    import numpy as np
    import polars as pl

    files = {date.fromisoformat(f.parent.name[3:]): f for f in sorted(folder.glob("dt=*/*.pa*"))}
    before = [f for d, f in files.items() if day - timedelta(days=LOOKBACK) <= d < day]
    pairs = ["customer_id", "item_id"]
    of_day = pl.read_parquet(files[day], columns=[*pairs, "action_type", "occurred_at"])
    positives = (
        of_day.filter(pl.col("action_type").is_in(KINDS))
        .group_by(pairs)
        .agg(pl.col("occurred_at").min())
        .sort(pairs)
    )
    wanted = positives.group_by("customer_id").len("wanted").sort("customer_id")
    wanted = wanted.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    seen = pl.scan_parquet(before).select(pairs)
    candidates = seen.select("item_id").unique().sort("item_id").collect()
    width = len(candidates)
    candidates = candidates.with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64))
    found = seen.join(wanted.lazy().select("customer_id", "row"), on="customer_id")
    known = found.select(pairs).unique().collect()
    cells = (
        pl.concat([known, of_day.select(pairs)])
        .join(wanted, on="customer_id")
        .join(candidates, on="item_id")
        .select(cell=pl.col("row") * width + pl.col("place"))
        .unique()
    )
    num_left = width - np.bincount(cells["cell"].to_numpy() // width, minlength=len(wanted))
    total = np.minimum(wanted["wanted"].to_numpy().astype(np.int64) * RATIO, num_left)
    drawn = draw(cells, total, width)
    rank, row = (drawn[name].to_numpy().astype(np.int64) for name in ("rank", "row"))
    sizes = wanted["wanted"].to_numpy().astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    of = positives[starts[row] + rank // RATIO]
    p = 1 / num_left[row]
    negatives = pl.DataFrame(
        {
            "customer_id": of["customer_id"],
            "item_number": candidates["item_id"][drawn["cell"].to_numpy() % width],
            "label": np.zeros(len(of)),
            "sampling_probability": p,
            "log_q": np.log(total[row] * p),
            "seen_before": np.zeros(len(of), bool),
            "positive_item_id": of["item_id"],
            "occurred_at": of["occurred_at"],
        }
    )
    nothing = pl.lit(None, pl.Float64)
    given = positives.join(
        known.with_columns(seen_before=pl.lit(True)), on=pairs, how="left"
    ).select(
        "customer_id",
        item_number="item_id",
        label=pl.lit(1.0),
        sampling_probability=nothing,
        log_q=nothing,
        seen_before=pl.col("seen_before").fill_null(False),
        positive_item_id="item_id",
        occurred_at="occurred_at",
    )
    samples = (
        pl.concat([given, negatives])
        .with_columns(
            user_id=pl.col("customer_id").cast(pl.String),
            item_id=pl.col("item_number").cast(pl.String),
            positive_item_id=pl.col("positive_item_id").cast(pl.String),
            time_of_day=pl.col("occurred_at").dt.hour().cast(pl.Int32),
            day_of_week=pl.col("occurred_at").dt.weekday().cast(pl.Int32),
        )
        .sort("customer_id", "item_number")
    )
    out.mkdir(parents=True, exist_ok=True)
    samples.write_parquet(out / "samples.parquet", compression="zstd")
    return len(samples)


def draw(cells: Any, total: Any, width: int) -> Any:
    """Rounds of uniform draws, without cells that are seen or drawn, until enough."""
    import numpy as np
    import polars as pl

    rng, missing, given = np.random.default_rng(0), total.copy(), np.zeros(len(total), np.int64)
    found = []
    while missing.any():
        rows = np.repeat(np.arange(len(missing)), (missing * 1.2).astype(np.int64) + (missing > 0))
        places = rng.integers(0, width, len(rows))
        some = (
            pl.DataFrame({"row": rows, "cell": rows * width + places})
            .unique("cell", keep="first", maintain_order=True)
            .join(cells, on="cell", how="anti", maintain_order="left")
            .with_columns(rank=pl.int_range(pl.len()).over("row"))
            .join(pl.DataFrame({"missing": missing}).with_row_index("row").cast(pl.Int64), on="row")
            .filter(pl.col("rank") < pl.col("missing"))
            .select("row", "cell", "rank")
        )
        some = some.with_columns(rank=pl.col("rank") + given[some["row"].to_numpy()])
        found.append(some)
        cells = pl.concat([cells, some.select("cell")])
        counts = np.bincount(some["row"].to_numpy(), minlength=len(missing))
        missing, given = missing - counts, given + counts
    return pl.concat(found)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
