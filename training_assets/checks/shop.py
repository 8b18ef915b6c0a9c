"""Interactions, items and users against what was delivered, and against each other."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.checks.files import files_in, open_declared
from training_assets.checks.structure import facts_of
from training_assets.lake import quarantine_path
from training_assets.list_format import SealedParquet
from training_assets.schemas import (
    INTERACTIONS,
    ITEMS,
    RAW_INTERACTIONS,
    RAW_ITEMS,
    RAW_USERS,
    RE_DELIVERED_ID,
    USERS,
    Table,
    re_delivered,
)
from training_assets.sources import declarations
from training_assets.sources.cleaning import latest_time
from training_assets.sources.copies import without_copies
from training_assets.sources.judged import code_of
from training_assets.sources.validation import (
    EARLY_DAYS,
    FINDINGS_DDL,
    Finding,
    Known,
    Report,
    batch_of,
    examine,
    findings_in,
    report_paths,
)

_MAX_SHRINK: Final = 0.2
_UNKNOWN: Final = (
    "Deliver what items or users lack, or, where they are a part only of those there are, write "
    "complete = false under [items] or [users] of sources.toml."
)
_AGAIN: Final = re_delivered(RAW_INTERACTIONS)
_NAMES: Final = {"customer_id": "user_id", "occurred_at": "timestamp"}


def check_interaction_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows of raw files = published + quarantined + delivered again."""
    raw = without_copies(context.raw(RAW_INTERACTIONS))[0].count_rows()
    outcomes = {}
    for day, facts in facts_of(context).items():
        good, bad = sum(f.rows for f in facts), context.rejected_rows(RAW_INTERACTIONS, day)
        again, rows = context.rejected_rows(_AGAIN, day), raw[day]
        metrics: dict[str, Metric] = {
            "rows_in": rows,
            "valid": good,
            "quarantined": bad,
            "re_delivered": again,
        }
        text = (
            f"Rows were lost or added on {day}: {rows} in, {good} valid + {bad} quarantined + "
            f"{again} delivered again."
        )
        is_right = rows == good + bad + again
        outcomes[day] = CheckOutcome(is_right, metrics, "" if is_right else text)
    return outcomes


def check_validation(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Every rule, on what is published and what was set aside; writes the day's report."""
    outcomes, files = {}, {}
    store = context.lake.table_store(INTERACTIONS.name)
    for day, report in validation_reports(context).items():
        run = context.run or context.lake.snapshot(INTERACTIONS.name).run(day)
        as_json, as_markdown = report_paths(day, run)
        shown = report.as_markdown()
        files[as_json] = json.dumps(report.as_json(), indent=1).encode()
        files[as_markdown] = shown.encode()
        metrics: dict[str, Metric] = {
            "verdict": report.verdict,
            "rows": report.rows,
            "rules_broken": len(report.broken()),
            "report": store.uri(as_json),
            "report_markdown": shown,
        }
        broken = "; ".join(
            f"{line.rule}: {line.broken} of {line.rows} rows" for line in report.broken()
        )
        text = f"On {day} rules are broken: {broken}." if broken else ""
        if report.blocks:
            text = f"{text[:-1]}. {_UNKNOWN}"
        outcomes[day] = CheckOutcome(
            not broken, metrics, text, None if report.blocks or not broken else "warn"
        )
    store.put_all(files)
    return outcomes


def validation_reports(context: CheckContext) -> dict[date, Report]:
    """The report of each day under check."""
    known = {
        day: (_known(context, ITEMS, day, "created_at"), _known(context, USERS, day, "join_date"))
        for day in context.days
    }

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for file in files_in(batches):
            with open_declared(INTERACTIONS, file) as parquet:
                rows = parquet.read(use_threads=False)
            names = [_NAMES.get(name, name) for name in rows.column_names]
            items, users = known[file.day]
            found = examine(
                INTERACTIONS.name,
                rows.rename_columns(names),
                now=latest_time(file.day),
                items=items,
                users=users,
            )
            yield batch_of(file.day, found)

    reports = {day: Report(INTERACTIONS.name, day) for day in context.days}
    rows = context.on_files(INTERACTIONS, context.days, work, FINDINGS_DDL).collect()
    for day, finding in findings_in(rows):
        reports[day].add(finding)
    for day, facts in facts_of(context).items():
        for reason, count, examples in _rejected(context, RAW_INTERACTIONS, day):
            reports[day].add_rejected(reason, code_of(reason), count, examples)
        found = {reason: count for reason, count, _ in _rejected(context, _AGAIN, day)}
        again = found.get(RE_DELIVERED_ID, 0)
        rule = f"{INTERACTIONS.name}.interaction_id.unique"
        reports[day].add(Finding(rule, again, again))
        reports[day].close(sum(file.rows for file in facts))
    return reports


def _known(context: CheckContext, table: Table, day: date, since: str) -> Known | None:
    """The newest snapshot up to the day, and of items those of the next days; None without any.

    One that is declared not to have all says of nobody that he is unknown.
    """
    snapshot = context.lake.snapshot(table.name)
    before = [d for d in snapshot.days if d <= day]
    source = RAW_ITEMS if table is ITEMS else RAW_USERS
    if not before or not declarations(context.lake).of(source).is_complete:
        return None
    after = [d for d in snapshot.days if day < d <= day + timedelta(days=EARLY_DAYS)]
    early = tuple(snapshot.uris(after[-1])) if after and table is ITEMS else ()
    (key,) = table.key
    return Known(tuple(snapshot.uris(before[-1])), key, since, early=early)


def _rejected(context: CheckContext, source: Table, day: date) -> list[tuple[str, int, list[str]]]:
    """(reason, rows, the files they came from) of what was set aside."""
    if context.written is not None:
        folder = quarantine_path(day, context.run)
    else:
        folder = context.lake.snapshot(context.table.name).quarantine_path(day)
    store = context.lake.table_store(context.table.name)
    found: dict[str, tuple[int, list[str]]] = {}
    for entry in store.list(f"{folder}/source={source.name}"):
        rows = SealedParquet(store.uri(entry.path)).read(["reason", "source_file"])
        counts: Any = rows["reason"].value_counts().to_pylist()
        for count in counts:
            reason = count["values"]
            of = rows.filter(pc.equal(rows["reason"], reason))
            files = of["source_file"].unique().slice(0, 5).to_pylist()
            before, names = found.get(reason, (0, []))
            found[reason] = (before + count["counts"], [*names, *files])
    return [(reason, count, names) for reason, (count, names) in sorted(found.items())]


def check_snapshot_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Every delivered key is listed, each key once, and nobody is lost who was known before."""
    outcomes = {}
    delivered, published = _delivered(context), _published(context)
    for day in context.days:
        rows, keys, listed = published.get(day, (0, 0, 0))
        came, before = delivered.get(day, 0), _rows_before(context, day, published)
        metrics: dict[str, Metric] = {
            "rows": rows,
            "delivered": came,
            "listed": listed,
            "rows_before": before,
        }
        problems = []
        if keys != rows:
            problems.append(f"{rows - keys} rows repeat a key")
        if listed < came:
            problems.append(f"{came} were delivered and {listed} are listed")
        if rows < max(before, came):
            problems.append(f"{max(before, came)} were known and {rows} are there")
        text = f"On {day}: {'; '.join(problems)}." if problems else ""
        outcomes[day] = CheckOutcome(not problems, metrics, text)
    return outcomes


def check_snapshot_size(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """A full snapshot that shrinks by more than 20 %; one of changes is as small as it is."""
    outcomes = {}
    is_full = declarations(context.lake).of(context.sources[0]).snapshot == "full"
    delivered, published = _delivered(context), _published(context)
    for day in context.days:
        came, before = delivered.get(day, 0), _listed_before(context, day, published)
        is_usual = not is_full or came >= (1 - _MAX_SHRINK) * before
        text = (
            f"{context.table.name} of {day} has {came}, {before} were listed before; what it lacks "
            "is not taken as deleted."
        )
        metrics: dict[str, Metric] = {"delivered": came, "listed_before": before}
        outcomes[day] = CheckOutcome(is_usual, metrics, "" if is_usual else text)
    return outcomes


def _delivered(context: CheckContext) -> dict[date, int]:
    """Distinct keys of the valid rows of each day."""
    if "delivered" not in context.memo:
        (source,) = context.sources
        rows = context.raw(source).read_valid(context.spark)
        counted = rows.groupBy("dt").agg(F.countDistinct(source.key[0]).alias("n")).collect()
        context.memo["delivered"] = {row["dt"]: row["n"] for row in counted}
    found: dict[date, int] = context.memo["delivered"]
    return found


def _published(context: CheckContext) -> dict[date, tuple[int, int, int]]:
    """Rows, distinct keys, and listed ones of each day under check."""
    if "published" not in context.memo:
        (key,) = context.table.key
        rows = context.columns(context.table, context.days, [key, "is_listed"])
        counted = rows.groupBy("dt").agg(
            F.count(F.lit(1)).alias("rows"),
            F.countDistinct(key).alias("keys"),
            F.count_if("is_listed").alias("listed"),
        )
        context.memo["published"] = {
            row["dt"]: (row["rows"], row["keys"], row["listed"]) for row in counted.collect()
        }
    found: dict[date, tuple[int, int, int]] = context.memo["published"]
    return found


def _rows_before(
    context: CheckContext, day: date, published: Mapping[date, tuple[int, int, int]]
) -> int:
    return _before(context, day, published, 0, "rows")


def _listed_before(
    context: CheckContext, day: date, published: Mapping[date, tuple[int, int, int]]
) -> int:
    return _before(context, day, published, 2, "listed")


def _before(
    context: CheckContext,
    day: date,
    published: Mapping[date, tuple[int, int, int]],
    place: int,
    figure: str,
) -> int:
    """A figure of the newest day before, under check or published."""
    snapshot = context.lake.snapshot(context.table.name)
    days = [d for d in {*snapshot.days, *published} if d < day]
    if not days:
        return 0
    newest = max(days)
    if newest in published:
        return published[newest][place]
    return int(snapshot.manifest(newest).get("figures", {}).get(figure, 0))
