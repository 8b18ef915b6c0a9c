"""Campaign: raw data that comes, changes or goes after its day was published.

The lake is that of the tests: 30 days of actions, five of impressions, look-back 20 days, all
published. Each kind of change is made ``times`` times, on days and for customers drawn with
``seed``, to a copy of it. Then it is measured whether

- the report names exactly the days that the change is of, and those that it may touch;
- the rebuild builds exactly those that are reported, and later ones only where something before
  them changed;
- afterwards every published day has exactly the rows that plain loops make of the raw files of now
  (or, where its raw data is gone, those from before), and nothing is out of date.

A reader looks at all published days while they are rebuilt: each must have the rows that its
manifest says, in files that fit their checksums.
"""

import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from training_assets.engine import spark_session
from training_assets.lake import Lake
from training_assets.settings import Settings
from training_assets.tables import SPECS
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.support.frames import DAY, at, before, click, order
from training_assets_tests.support.lakes import (
    ACTION_DAYS,
    IMPRESSION_DAYS,
    SETTINGS,
    SHOWN,
    write_tiny_lake,
)
from training_assets_tests.support.late_lakes import (
    CH,
    TI,
    UA,
    Days,
    build,
    everything,
    grow_orders,
    outdated,
    put,
    raw_file,
    rebuild,
    tables_of,
    truth,
    unordered,
)

CAMPAIGN = "late_data"
_SOME = [day for day in ACTION_DAYS if before(13) <= day < DAY and day != before(10)]


@dataclass(frozen=True)
class _Change:
    """What was done to the raw files: by table the days that are out of date by it.

    ``kept`` are days that cannot be built any more, ``is_same`` says that no row is another one.
    """

    days: dict[str, Days]
    kept: Days = field(default_factory=list)
    is_same: bool = False
    settings: Settings = SETTINGS


_Make = Callable[[Path, random.Random], _Change]


def _late_file(root: Path, rng: random.Random) -> _Change:
    day, customer = rng.choice(ACTION_DAYS[:-1]), rng.choice(SHOWN)
    rows = [click(customer, 100 + n, day, at(day)) for n in range(rng.randint(1, 5))]
    put(raw_file(root, "clicks", day, "late.parquet"), "clicks", rows)
    return _Change({UA: [day]})


def _corrected_file(root: Path, rng: random.Random) -> _Change:
    day = rng.choice(_SOME)
    file = raw_file(root, "clicks", day)
    rows = pq.ParquetFile(file).read().to_pylist()
    put(file, "clicks", [{**row, "item_id": (row["item_id"] or 0) + 1} for row in rows])
    return _Change({UA: [day]})


def _removed_file(root: Path, rng: random.Random) -> _Change:
    day = rng.choice(_SOME)
    raw_file(root, rng.choice(["clicks", "add_to_carts"]), day).unlink()
    return _Change({UA: [day]})


def _touched_file(root: Path, rng: random.Random) -> _Change:
    day = rng.choice(_SOME)
    os.utime(raw_file(root, rng.choice(["clicks", "add_to_carts"]), day))
    return _Change({UA: [day]}, is_same=True)


def _empty_file(root: Path, rng: random.Random) -> _Change:
    day = rng.choice(ACTION_DAYS[:-1])
    put(raw_file(root, "clicks", day, "empty.parquet"), "clicks", [])
    return _Change({UA: [day]}, is_same=True)


def _grown_orders(root: Path, rng: random.Random) -> _Change:
    day = rng.choice(ACTION_DAYS[:-1])
    grow_orders(root, order(rng.choice(SHOWN), 5, day, at(day)))
    return _Change({UA: [day]})


def _corrected_impressions(root: Path, rng: random.Random) -> _Change:
    day = rng.choice(IMPRESSION_DAYS)
    file = raw_file(root, "impressions", day)
    rows = pq.ParquetFile(file).read().to_pylist()
    for row in rows:
        for item in row["impressions"]:
            item["is_order"] = rng.random() < 0.5
    put(file, "impressions", rows[1:])
    return _Change({CH: [day], TI: [day]})


def _deleted_day(root: Path, rng: random.Random) -> _Change:
    day = rng.choice(_SOME)
    shutil.rmtree(raw_file(root, "clicks", day).parent)
    return _Change({UA: [day]}, kept=[day])


def _other_settings(root: Path, rng: random.Random) -> _Change:
    settings = replace(SETTINGS, history_length=rng.randint(2, 5))
    if rng.random() < 0.5:
        settings = replace(SETTINGS, lookback_days=rng.randint(1, 10))
    return _Change({CH: IMPRESSION_DAYS, TI: IMPRESSION_DAYS}, settings=settings)


def _missing_day(root: Path, rng: random.Random) -> _Change:
    # The copy is made of a lake that lacks this day; see ``_measure``.
    return _Change({UA: [_MISSING]})


_MISSING = before(7)
_KINDS: dict[str, _Make] = {
    "a file of clicks that comes late": _late_file,
    "a file of clicks replaced by a corrected one": _corrected_file,
    "a file removed": _removed_file,
    "a file touched": _touched_file,
    "a file without rows added": _empty_file,
    "flat orders grown by an order of an old day": _grown_orders,
    "impressions corrected": _corrected_impressions,
    "the raw folder of a published day deleted": _deleted_day,
    "history length or look-back changed": _other_settings,
    "a day within the look-back that comes after the histories": _missing_day,
}


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """One outcome per kind of change."""
    rng = random.Random(seed)
    outcomes = []
    with spark_session("sail") as spark:
        whole = _publish(spark, scratch / "whole", ACTION_DAYS)
        others = [day for day in ACTION_DAYS if day != _MISSING]
        lacking = _publish(spark, scratch / "lacking", others)
        for kind, make in _KINDS.items():
            template = lacking if make is _missing_day else whole
            found = [_measure(spark, template, scratch / "tried", make, rng) for _ in range(times)]
            outcomes.append(_outcome(kind, found))
            print(f"{kind} ×{times}: {outcomes[-1].result}", flush=True)
    return outcomes


@dataclass
class _Measured:
    rebuilt: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    lost_rows: int = 0
    torn_days: int = 0
    odd: list[str] = field(default_factory=list)


def _publish(spark: SparkSession, root: Path, days: Days) -> Lake:
    lake = Lake.at(write_tiny_lake(root))
    later = raw_file(root, "clicks", _MISSING).parent
    if _MISSING not in days:
        later.rename(root / "later")
    problems = build(spark, lake, SETTINGS, [SPECS[UA]], days)
    problems += build(spark, lake, SETTINGS, [SPECS[CH], SPECS[TI]], IMPRESSION_DAYS)
    assert not problems, problems
    assert outdated(lake) == ({}, {})
    if _MISSING not in days:
        (root / "later").rename(later)
    return lake


def _measure(
    spark: SparkSession, template: Lake, root: Path, make: _Make, rng: random.Random
) -> _Measured:
    shutil.rmtree(root, ignore_errors=True)
    lake = Lake.at(shutil.copytree(template.store.uri(), root))
    old = unordered(everything(lake))
    change = make(root, rng)
    measured = _Measured(kept=len(change.kept))
    _judge_report(lake, change, measured)
    with _Reader(lake) as reader:
        done = rebuild(spark, lake, change.settings)
    for result in done:
        measured.rebuilt[result.table] = len(result.days)
        measured.changed[result.table] = len(result.changed)
        if sorted(result.failed) != (change.kept if result.table == UA else []):
            measured.odd.append(f"{result.table}: {result.failed}")
    _judge_rebuilt(change, measured)
    torn = set(reader.torn)
    new = truth(lake, change.settings)
    for key, rows in unordered(everything(lake)).items():
        expected = old[key] if change.kept else new[key]
        if rows != expected:
            torn.add(key)
            measured.lost_rows += (Counter(expected) - Counter(rows)).total()
    measured.torn_days += len(torn)
    kept = {UA: change.kept} if change.kept else {}
    if outdated(lake, change.settings)[0] != kept:
        measured.odd.append(f"still out of date: {outdated(lake, change.settings)[0]}")
    if reader.looks == 0:
        measured.odd.append("nobody looked on")
    return measured


def _judge_report(lake: Lake, change: _Change, measured: _Measured) -> None:
    late, touched = outdated(lake, change.settings)
    if late != change.days:
        measured.odd.append(f"reported {late} instead of {change.days}")
    moved = [day for day in change.days.get(UA, []) if day not in change.kept]
    back = timedelta(days=SETTINGS.lookback_days or 0)
    after = [d for d in IMPRESSION_DAYS if any(day < d <= day + back for day in moved)]
    if touched != ({CH: after, TI: after} if after else {}):
        measured.odd.append(f"said to be touched {touched} instead of {after}")


def _judge_rebuilt(change: _Change, measured: _Measured) -> None:
    rebuilt = sum(len(days) for days in change.days.values()) - len(change.kept)
    if change.is_same and measured.rebuilt.total() != rebuilt:
        measured.odd.append(f"rebuilt {dict(measured.rebuilt)} though no row changed")
    if change.is_same and measured.changed.total():
        measured.odd.append(f"changed {dict(measured.changed)} though no row changed")
    if not change.is_same and not change.kept and not measured.changed.total():
        measured.odd.append("nothing changed")


def _outcome(kind: str, found: list[_Measured]) -> Outcome:
    odd = sorted({text for one in found for text in one.odd})
    sums = {
        table: (sum(one.rebuilt[table] for one in found), sum(one.changed[table] for one in found))
        for table in (UA, CH, TI)
    }
    built = ", ".join(f"{table} {days} ({changed})" for table, (days, changed) in sums.items())
    words = (
        f"exactly its days reported, with the reason; days rebuilt (and changed by it): {built}; "
        "then every row as from scratch and nothing out of date"
    )
    if found[0].kept:
        words = "exactly its day reported, as impossible to build; it stands as it was"
    if odd:
        words = f"NOT AS PROMISED: {'; '.join(odd)[:600]}"
    return Outcome(
        CAMPAIGN,
        kind,
        len(found),
        words,
        sum(one.lost_rows for one in found),
        sum(one.torn_days for one in found),
    )


class _Reader:
    """Looks at all published days again and again: each must be what its manifest describes."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._end = lake, threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        self.looks = 0
        self.torn: list[tuple[str, date]] = []

    def __enter__(self) -> "_Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._end.is_set():
            now = Lake(self._lake.store)
            for table in (UA, CH, TI):
                for day in now.days(table):
                    self.looks += 1
                    rows = sum(len(part) for part in tables_of(now, table, day))
                    if rows != now.manifest(table, day)["rows"]:
                        self.torn.append((table, day))
