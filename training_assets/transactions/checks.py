"""What must hold of inbox, ledger, state and files; each check looks at all of it anew.

| check                    | of                 | level |
|--------------------------|--------------------|-------|
| chunks_are_contiguous    | transaction_chunks | error |
| ledger_and_inbox_agree   | pattern_state      | error |
| state_equals_chunks      | pattern_state      | error |
| detections_hold          | detections         | error |
| detections_are_in_files  | detections         | error |
| importance_covers_pairs  | pattern_state      | warn  |
| volume                   | transaction_chunks | warn  |
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, LiteralString

import pyarrow as pa

from training_assets.lake import Store, open_store
from training_assets.transactions.database import Database
from training_assets.transactions.export import DETECTIONS, HEADER, file_rows
from training_assets.transactions.inbox import Inbox
from training_assets.transactions.recompute import Key, Pair, recompute, true_now
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.state import prepare

# Above, the state of some merchants is recomputed instead of all of it.
_FULL_ROWS: Final = 2_000_000
_SAMPLED_MERCHANTS: Final = 5
_MIN_COVERED: Final = 0.9
_MAX_QUARANTINED: Final = 0.01
_SHOWN: Final = 3


@dataclass(frozen=True)
class Place:
    """Where the feed and its database are."""

    workdir: Store
    database: Database
    settings: TransactionSettings

    @classmethod
    def of(cls, settings: TransactionSettings, database: Database) -> "Place":
        """Has the schema in the database, so that a check of an empty one finds nothing."""
        database.run(lambda connection: prepare(connection, settings))
        return cls(open_store(settings.workdir), database, settings)

    def ask(self, query: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.database.run(lambda c: c.execute(query, parameters or None).fetchall())


@dataclass(frozen=True)
class Finding:
    """``problems`` are sentences; none means that the check passed."""

    problems: list[str]
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def message(self) -> str:
        more = len(self.problems) - _SHOWN
        return "; ".join(self.problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class TransactionCheck:
    name: str
    asset: str
    severity: Literal["error", "warn"]
    description: str
    find: Callable[[Place], Finding]


def _chunks_are_contiguous(place: Place) -> Finding:
    chunks = Inbox(place.workdir).chunks()
    problems = [
        f"rows {before.last + 1} to {after.first - 1} are missing"
        for before, after in pairwise(chunks)
        if after.first != before.last + 1
    ]
    if chunks and chunks[0].first:
        problems.insert(0, f"rows 0 to {chunks[0].first - 1} are missing")
    return Finding(problems, {"chunks": len(chunks)})


def _ledger_and_inbox_agree(place: Place) -> Finding:
    inbox = Inbox(place.workdir)
    applied = {
        (first, last): sha
        for first, last, sha in place.ask("SELECT first_row, last_row, sha256 FROM applied_chunks")
    }
    problems, waiting = [], 0
    for chunk in inbox.chunks():
        sha256 = applied.pop((chunk.first, chunk.last), None)
        if sha256 is None:
            waiting += 1
        elif sha256 != inbox.sha256(chunk.entry.path):
            problems.append(f"{chunk.entry.path} is other than when it was applied")
    problems += [f"rows {first} to {last} were applied and are gone" for first, last in applied]
    return Finding(problems, {"waiting_chunks": waiting})


def _state_equals_chunks(place: Place) -> Finding:
    merchants = _sampled(place)
    found = recompute(_applied_tables(place), merchants)
    counts, sums = _pairs(place, merchants)
    problems = _differences("customer_merchant_stats.transaction_count", counts, found.counts)
    problems += _differences("customer_merchant_stats.sum_amount", sums, found.sums)
    totals: dict[Any, Any] = dict(place.ask("SELECT * FROM merchant_transaction_counts"))
    totals = _of(totals, merchants)
    problems += _differences("merchant_transaction_counts", totals, found.merchants())
    genders: dict[Any, Any] = dict(place.ask("SELECT customer_id, gender FROM customers"))
    problems += _differences("customers", genders, found.genders)
    problems += _differences(
        "merchant_gender_stats", _gender_counts(place, merchants), found.gender_counts()
    )
    ((rejected,),) = place.ask("SELECT count(*) FROM quarantine WHERE source = 'transactions'")
    if rejected != found.rejected:
        problems.append(f"quarantine has {rejected} rows; expected {found.rejected}")
    return Finding(problems, {"pairs": len(counts)})


def _detections_hold(place: Place) -> Finding:
    merchants = _sampled(place)
    counts, sums = _pairs(place, merchants)
    weights = {
        (merchant, customer): (total, number)
        for merchant, customer, total, number in place.ask(
            "SELECT merchant_id, customer_id, weight_sum, weight_count FROM customer_importance"
        )
    }
    genders = _gender_counts(place, merchants)
    expected = true_now(counts, sums, genders, weights, place.settings)
    current: set[Key] = {
        (pattern, merchant, customer)
        for pattern, merchant, customer in place.ask(
            "SELECT pattern_id, merchant_id, customer_id FROM current_detections"
        )
        if merchants is None or merchant in merchants
    }
    problems = [f"{' '.join(key)} is true and not current" for key in sorted(expected - current)]
    problems += [f"{' '.join(key)} is current and not true" for key in sorted(current - expected)]
    unmade = place.ask(
        "SELECT pattern_id, merchant_id, customer_id FROM current_detections "
        "WHERE detection_id IS NULL ORDER BY 1, 2, 3"
    )
    problems += [f"{' '.join(key)} is current and was never detected" for key in unmade]
    return Finding(problems, {"current": len(current)})


def _detections_are_in_files(place: Place) -> Finding:
    store, problems, next_detection = place.workdir.child(DETECTIONS), [], 1
    files = place.ask(
        "SELECT first_detection, last_detection, name FROM detection_files ORDER BY 1"
    )
    for first, last, name in files:
        if first != next_detection:
            problems.append(f"{name} begins at {first}; expected {next_detection}")
        if last - first + 1 > place.settings.file_rows:
            problems.append(f"{name} has {last - first + 1} detections")
        problems += _file_problems(place, store, first, last, name)
        next_detection = last + 1
    ((made,),) = place.ask("SELECT count(*) FROM detections")
    ((highest,),) = place.ask("SELECT coalesce(max(detection_id), 0) FROM detections")
    if highest != made or next_detection > made + 1:
        problems.append(
            f"{made} detections are numbered to {highest}, in files to {next_detection - 1}"
        )
    waiting = made - next_detection + 1
    if waiting >= place.settings.file_rows:
        problems.append(f"{waiting} detections are in no file")
    return Finding(problems, {"files": len(files), "waiting_detections": waiting})


def _file_problems(place: Place, store: Store, first: int, last: int, name: str) -> Iterator[str]:
    expected = place.database.run(lambda c: file_rows(c, first, last))
    rows = [list(row.values()) for row in expected.to_pylist()]
    try:
        found = list(csv.reader(io.StringIO(store.read(f"{name}.csv").decode())))
    except FileNotFoundError:
        yield f"{name}.csv is not there"
        return
    if found != [list(HEADER), *rows]:
        yield f"{name}.csv holds other detections than the database"


def _importance_covers_pairs(place: Place) -> Finding:
    ((pairs, covered),) = place.ask(
        "SELECT count(*), count(*) FILTER (WHERE weight_count > 0) FROM customer_merchant_stats"
    )
    share = covered / pairs if pairs else 1.0
    problems = [] if share >= _MIN_COVERED else [f"{covered} of {pairs} pairs have a weight"]
    return Finding(problems, {"covered": share})


def _volume(place: Place) -> Finding:
    ((rows, quarantined),) = place.ask(
        "SELECT coalesce(sum(row_count), 0)::float8, coalesce(sum(quarantined_count), 0)::float8 "
        "FROM applied_chunks"
    )
    share = quarantined / rows if rows else 0.0
    problems = [f"{quarantined:.0f} of {rows:.0f} rows are quarantined"]
    return Finding(problems if share > _MAX_QUARANTINED else [], {"quarantined": share})


CHECKS: Final = (
    TransactionCheck(
        "chunks_are_contiguous",
        "transaction_chunks",
        "error",
        "The chunks follow one another from row 0 on.",
        _chunks_are_contiguous,
    ),
    TransactionCheck(
        "ledger_and_inbox_agree",
        "pattern_state",
        "error",
        "Every applied chunk lies in the inbox with the bytes that were applied.",
        _ledger_and_inbox_agree,
    ),
    TransactionCheck(
        "state_equals_chunks",
        "pattern_state",
        "error",
        "Counts, sums and genders are those of all applied chunks; of some merchants if many.",
        _state_equals_chunks,
    ),
    TransactionCheck(
        "detections_hold",
        "detections",
        "error",
        "What is current is what is true of the state, and was detected.",
        _detections_hold,
    ),
    TransactionCheck(
        "detections_are_in_files",
        "detections",
        "error",
        "Every detection is in one file, files are full or closed, and hold what the table does.",
        _detections_are_in_files,
    ),
    TransactionCheck(
        "importance_covers_pairs",
        "pattern_state",
        "warn",
        f"At least {_MIN_COVERED:.0%} of the pairs have a weight.",
        _importance_covers_pairs,
    ),
    TransactionCheck(
        "volume",
        "transaction_chunks",
        "warn",
        f"At most {_MAX_QUARANTINED:.0%} of the rows are quarantined.",
        _volume,
    ),
)


def _sampled(place: Place) -> set[str] | None:
    """Merchants to look at; None for all."""
    ((rows,),) = place.ask("SELECT coalesce(sum(row_count), 0) FROM applied_chunks")
    if rows <= _FULL_ROWS:
        return None
    found = place.ask(
        "SELECT merchant_id FROM merchant_transaction_counts ORDER BY md5(merchant_id) LIMIT %s",
        _SAMPLED_MERCHANTS,
    )
    return {merchant for (merchant,) in found}


def _applied_tables(place: Place) -> Iterator[pa.Table]:
    inbox = Inbox(place.workdir)
    ((next_row,),) = place.ask("SELECT next_row FROM progress")
    for chunk in inbox.chunks():
        if chunk.last < next_row:
            yield inbox.read(chunk.entry.path)[0]


def _pairs(place: Place, merchants: set[str] | None) -> tuple[dict[Pair, int], dict[Pair, Any]]:
    rows = place.ask(
        "SELECT merchant_id, customer_id, transaction_count, sum_amount "
        "FROM customer_merchant_stats WHERE %s OR merchant_id = ANY(%s)",
        merchants is None,
        sorted(merchants or ()),
    )
    return {(m, c): count for m, c, count, _ in rows}, {(m, c): total for m, c, _, total in rows}


def _gender_counts(place: Place, merchants: set[str] | None) -> dict[Pair, int]:
    return {
        (merchant, gender): count
        for merchant, gender, count in place.ask("SELECT * FROM merchant_gender_stats")
        if merchants is None or merchant in merchants
    }


def _of(totals: dict[str, int], merchants: set[str] | None) -> dict[str, int]:
    return {m: count for m, count in totals.items() if merchants is None or m in merchants}


def _differences(table: str, found: dict[Any, Any], expected: dict[Any, Any]) -> list[str]:
    keys = sorted(found.keys() | expected.keys(), key=str)
    return [
        f"{table} of {key} is {found.get(key)}; expected {expected.get(key)}"
        for key in keys
        if found.get(key) != expected.get(key)
    ]
