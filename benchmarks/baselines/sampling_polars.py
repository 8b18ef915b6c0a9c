"""Negatives as an expert would draw them by hand with Polars and NumPy.

    python benchmarks/baselines/sampling_polars.py --input F --out O --strategy uniform --threads 2

    seen of customers with positives ──> cells (customer, candidate), each once
    rounds of draws for all customers ──> without cells that are seen or drawn ──> until enough

A generator with state draws, so rows depend on the order of customers.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strategy", required=True)
    parser.add_argument("--threads", default="2")
    options = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = options.threads
    import polars  # noqa: F401

    start, cpu = time.perf_counter(), cpu_seconds()
    rows = sample(options.input, options.out, options.strategy)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_seconds() - cpu, "rows": rows}))


def sample(folder: Path, out: Path, strategy: str, ratio: int = 4) -> int:
    import numpy as np
    import polars as pl

    positives = pl.read_parquet(folder / "positives.parquet").unique()
    wanted = positives.group_by("dt", "customer_id").len("wanted").sort("customer_id")
    wanted = wanted.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    candidates = pl.read_parquet(folder / "candidates.parquet").sort("item_id")
    candidates = candidates.with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64))
    width = len(candidates)
    weights = np.ones(width)
    if strategy == "popularity":
        weights = candidates["weight"].clip(lower_bound=1).to_numpy() ** 0.75
    sums = np.cumsum(weights)

    pairs = pl.concat(
        [
            pl.scan_parquet(folder / "seen.parquet").select("customer_id", "item_id"),
            positives.lazy().select("customer_id", "item_id"),
        ]
    )
    cells = (
        pairs.join(wanted.lazy().select("customer_id", "row"), on="customer_id")
        .join(candidates.lazy().select("item_id", "place"), on="item_id")
        .select(cell=pl.col("row") * width + pl.col("place"))
        .unique()
        .collect()
    )
    seen = cells["cell"].to_numpy()
    gone = np.bincount(seen // width, weights=weights[seen % width], minlength=len(wanted))
    num_gone = np.bincount(seen // width, minlength=len(wanted))
    left = sums[-1] - gone
    missing = np.minimum(wanted["wanted"].to_numpy() * ratio, width - num_gone)

    rng = np.random.default_rng(0)
    found = []
    while missing.any():
        rows = np.repeat(np.arange(len(wanted)), (missing * 1.2).astype(np.int64) + (missing > 0))
        places = np.searchsorted(sums, rng.random(len(rows)) * sums[-1], side="right")
        drawn = (
            pl.DataFrame({"row": rows, "cell": rows * width + places})
            .unique("cell", keep="first", maintain_order=True)
            .join(cells, on="cell", how="anti", maintain_order="left")
            .with_columns(rank=pl.int_range(pl.len()).over("row"))
            .join(pl.DataFrame({"missing": missing}).with_row_index("row").cast(pl.Int64), on="row")
            .filter(pl.col("rank") < pl.col("missing"))
            .select("row", "cell")
        )
        found.append(drawn)
        cells = pl.concat([cells, drawn.select("cell")])
        missing = missing - np.bincount(drawn["row"].to_numpy(), minlength=len(wanted))
    negatives = pl.concat(found)
    place = negatives["cell"].to_numpy() % width
    row = negatives["row"].to_numpy()
    samples = pl.concat(
        [
            positives.with_columns(
                label=pl.lit(1.0), sampling_probability=pl.lit(None, pl.Float64)
            ),
            wanted[row]
            .select("dt", "customer_id")
            .with_columns(
                item_id=candidates["item_id"][place],
                label=pl.lit(0.0),
                sampling_probability=pl.Series(weights[place] / left[row]),
            ),
        ]
    )
    out.mkdir(parents=True, exist_ok=True)
    samples.write_parquet(out / "samples.parquet", compression="zstd")
    return len(samples)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
