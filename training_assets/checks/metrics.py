"""Figures of each day of a table, for its manifest, the UI and the command line.

All are exact. They are sums of the facts of files, which the checks have read already.
``age_days`` is that of the newest action in any history of the day.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext
from training_assets.checks.facts import Facts
from training_assets.checks.files import distinct_rows
from training_assets.checks.structure import facts_of
from training_assets.schemas import (
    ACTION_TYPES,
    INTERACTIONS,
    RETURN,
    STORED_TYPES,
    TRAINING_INPUT,
    re_delivered,
)

# Upper ends, in actions; the last bin is open.
HISTOGRAM_BINS: Final = (0, 2, 5, 10, 20, 50, 100, 200, 500, 999)

Figures = dict[str, Any]


def action_metrics(context: CheckContext) -> dict[date, Figures]:
    """Of ``unified_actions``."""
    return _described(context, _of_actions)


def history_metrics(context: CheckContext) -> dict[date, Figures]:
    """Of ``customer_history``."""
    return _described(context, _of_histories)


def row_metrics(context: CheckContext) -> dict[date, Figures]:
    """Of ``training_input``."""
    return _described(context, _of_rows)


def interaction_metrics(context: CheckContext) -> dict[date, Figures]:
    """Of ``interactions``: rows, customers, those of bots, and what each step took out."""
    rows = context.columns(INTERACTIONS, context.days, ["customer_id", "is_bot"])
    found = (
        rows.groupBy("dt")
        .agg(F.countDistinct("customer_id").alias("customers"), F.count_if("is_bot").alias("bots"))
        .collect()
    )
    counted = {row["dt"]: row for row in found}
    return {
        day: {
            "rows": sum(file.rows for file in files),
            "customers": counted[day]["customers"] if day in counted else 0,
            "rows_of_bots": counted[day]["bots"] if day in counted else 0,
            "quarantined": {
                of.name: context.rejected_rows(of, day)
                for of in (INTERACTIONS, re_delivered(INTERACTIONS))
            },
        }
        for day, files in facts_of(context).items()
    }


def snapshot_metrics(context: CheckContext) -> dict[date, Figures]:
    """Of ``items`` and ``users``: rows, and how many of them are active and listed."""
    rows = context.columns(context.table, context.days, ["is_active", "is_listed"])
    found = (
        rows.groupBy("dt")
        .agg(F.count_if("is_active").alias("active"), F.count_if("is_listed").alias("listed"))
        .collect()
    )
    counted = {row["dt"]: (row["active"], row["listed"]) for row in found}
    return {
        day: {
            "rows": sum(file.rows for file in files),
            "active": counted.get(day, (0, 0))[0],
            "listed": counted.get(day, (0, 0))[1],
            "quarantined": {s.name: context.rejected_rows(s, day) for s in context.sources},
        }
        for day, files in facts_of(context).items()
    }


def count_rows(context: CheckContext) -> dict[date, Figures]:
    """Of any table."""
    return {day: {"rows": sum(f.rows for f in files)} for day, files in facts_of(context).items()}


def _described(
    context: CheckContext, describe: Callable[[Sequence[Facts]], Figures]
) -> dict[date, Figures]:
    facts = facts_of(context)
    distinct = _count_distinct(context, [day for day in facts if _share_customers(facts[day])])
    return {
        day: describe(files) | distinct.get(day, {}) | {"quarantined": _set_aside(context, day)}
        for day, files in facts.items()
    }


def _set_aside(context: CheckContext, day: date) -> dict[str, int]:
    """Rows by source; those that were delivered again only where there are any."""
    found = {s.name: context.rejected_rows(s, day) for s in context.sources}
    again = {of.name: context.rejected_rows(of, day) for of in map(re_delivered, context.sources)}
    return found | {name: rows for name, rows in again.items() if rows}


def _of_actions(files: Sequence[Facts]) -> Figures:
    return {
        "rows": sum(file.rows for file in files),
        "customers": sum(file.customers for file in files),
        **_types(files),
    }


def _of_histories(files: Sequence[Facts]) -> Figures:
    lengths = np.array([file.lengths for file in files], np.int64).sum(axis=0)
    rows = int(lengths.sum())
    figures = {"rows": rows, "customers": rows, "median_length": 0.0, **_types(files)}
    if not rows:
        return figures
    newest = [file.newest_days for file in files if file.newest_days is not None]
    ends = np.cumsum(lengths)
    bins = [int(ends[min(high, len(ends) - 1)]) for high in HISTOGRAM_BINS] + [rows]
    return {
        **figures,
        "actions": int(lengths @ np.arange(len(lengths))),
        "share_without_history": round(int(lengths[0]) / rows, 6),
        "share_at_limit": round(int(lengths[-1]) / rows, 6),
        "median_length": _percentile(ends, 0.5),
        "p99_length": _percentile(ends, 0.99),
        **({"age_days": min(newest)} if newest else {}),
        "length_histogram": np.diff(bins, prepend=0).tolist(),
    }


def _of_rows(files: Sequence[Facts]) -> Figures:
    rows, positives = sum(f.rows for f in files), sum(f.positives for f in files)
    figures = {"rows": rows, "customers": sum(f.customers for f in files), "positives": positives}
    if not rows:
        return figures
    rankings = sum(f.rankings for f in files)
    return figures | {"rankings": rankings, "positives_rate": round(positives / rows, 6)}


def _types(files: Sequence[Facts]) -> Figures:
    """Number and share of the actions of each known type."""
    found = {
        code: sum(file.by_type[n] for file in files) for n, code in enumerate(sorted(STORED_TYPES))
    }
    counts = {name: found[code] for code, name in ACTION_TYPES.items()}
    total = sum(counts.values())
    shares = {f"share_{k}s": round(n / total, 6) if total else 0.0 for k, n in counts.items()}
    returns = {"num_returns": found[RETURN]} if found[RETURN] else {}
    return {f"num_{name}s": n for name, n in counts.items()} | returns | shares


def _percentile(ends: "np.ndarray[Any, Any]", share: float) -> float:
    """Between the two nearest ranks in proportion; ``ends`` counts values of 0..n by n.

    Of lengths 0, 1, 3, of which ``ends`` is [1, 2, 2, 3], the 0.75th is 2.0.
    """
    place = share * (int(ends[-1]) - 1)
    low = int(place)
    below, above = (int(np.searchsorted(ends, rank, "right")) for rank in (low, low + 1))
    above = min(above, len(ends) - 1)
    return round(below + (place - low) * (above - below), 6)


def _share_customers(files: Sequence[Facts]) -> bool:
    """Whether a customer may stand in two of the files."""
    bounds = sorted((f.low, f.high) for f in files if f.low is not None and f.high is not None)
    return any(low <= high for (_, high), (low, _) in pairwise(bounds))


def _count_distinct(context: CheckContext, days: Sequence[date]) -> dict[date, Figures]:
    """Distinct customers, and rankings, of days of which files share customers."""
    if not days:
        return {}
    table = context.table
    keys = ["customer_id", *(["ranking_id"] if table is TRAINING_INPUT else [])]
    types = {column.name: column.type for column in table.stored_columns}

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return distinct_rows(batches, table, keys)

    ddl = ", ".join(["dt date", *(f"{key} {types[key]}" for key in keys)])
    counts = [F.countDistinct("customer_id").alias("customers")]
    if table is TRAINING_INPUT:
        counts.append(F.countDistinct(*keys).alias("rankings"))
    rows = context.on_files(table, days, read, ddl).groupBy("dt").agg(*counts).collect()
    return {row["dt"]: {k: v for k, v in row.asDict().items() if k != "dt"} for row in rows}
