"""The rules evaluated over a day: per rule the rows looked at, those broken, a verdict, examples.

Rows are looked at in parts that hold all rows of a customer, or of an item; findings of parts are
added up. What the reader set aside is counted by its reason. Runs on the workers; pyarrow only.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.list_format import SealedParquet
from training_assets.schemas import SHOP_TABLES, UNKNOWN
from training_assets.sources.memo import kept
from training_assets.sources.rules import Rule, Terms, broken_rows, rules_of

Verdict = Literal["ok", "warn", "error", "not judged"]
FINDINGS_DDL: Final = (
    "dt date, rule string, looked long, broken long, early long, examples array<string>"
)
FINDINGS: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("rule", pa.string()),
        ("looked", pa.int64()),
        ("broken", pa.int64()),
        ("early", pa.int64()),
        ("examples", pa.list_(pa.string())),
    ]
)
EXAMPLES: Final = 5
EARLY_DAYS: Final = 3
# Free text is no example: nobody knows what stands in it.
_FREE_TEXT: Final = ("title", "description", "attributes", "preferences", "location")
_MAX_EXAMPLE: Final = 60
_TYPES: Final = "types"
# What is among rows that were not set aside is what its source takes.
_SPARED: Final = Terms(True, ("customer", "item"))
_MARKUP: Final = frozenset("|<>[]`*\\!")


@dataclass(frozen=True)
class Known:
    """Ids of a catalogue, and since when each is there; from files, or as they are.

    ``since`` is the column that says it, a date or a time. ``early`` are ids of the days after.
    """

    files: tuple[str, ...] = ()
    key: str = ""
    since: str = ""
    values: pa.Table | None = None
    early: tuple[str, ...] = ()
    early_values: pa.Table | None = None

    def load(self) -> tuple[pa.Array, pa.Array]:
        return _ids_since(self.files, self.key, self.since, self.values)

    def load_early(self) -> pa.Array:
        return _ids_since(self.early, self.key, self.since, self.early_values)[0]


def _ids_since(
    files: tuple[str, ...], key: str, since: str, values: pa.Table | None
) -> tuple[pa.Array, pa.Array]:
    if values is not None:
        return values[key].combine_chunks(), _micros(values[since].combine_chunks())
    return _read_ids(files, key, since)


@kept(8)
def _read_ids(files: tuple[str, ...], key: str, since: str) -> tuple[pa.Array, pa.Array]:
    if not files:
        return pa.array([], pa.int64()), pa.array([], pa.int64())
    rows = pa.concat_tables(SealedParquet(file).read([key, since]) for file in files)
    return rows[key].combine_chunks(), _micros(rows[since].combine_chunks())


def _micros(times: pa.Array) -> pa.Array:
    return times.cast(pa.timestamp("us")).cast(pa.int64())


class Finding(NamedTuple):
    """Of one rule in a part: of ``looked`` rows ``broken`` ones, and those that are early."""

    rule: str
    looked: int
    broken: int
    early: int = 0
    examples: tuple[str, ...] = ()


def examine(
    table: str, rows: pa.Table, *, now: datetime, items: Known | None, users: Known | None
) -> list[Finding]:
    """All rules of a table but the order of sessions, over rows that were not set aside.

    A return among them is one that its source takes.

    ``rows`` have the columns as delivered; ids may be texts or integers, as those of ``items`` and
    ``users`` are. Without these, ids are not judged.
    """
    texts = {c.name for c in SHOP_TABLES[table].columns if c.type == "string"}
    plain = rows
    for name in texts & set(rows.column_names):
        if not pa.types.is_string(rows[name].type):
            place = plain.schema.get_field_index(name)
            plain = plain.set_column(place, name, rows[name].cast(pa.string()))
    found = [
        Finding(
            rule.name, len(rows), int(pc.sum(mask).as_py() or 0), 0, _examples(rule, rows, mask)
        )
        for rule, mask in broken_rows(table, plain, now=now, terms=_SPARED)
    ]
    named = {finding.rule for finding in found}
    for rule in rules_of(table):
        if rule.is_of_rows and rule.name not in named:
            found.append(Finding(rule.name, len(rows), 0))
        elif rule.kind == "nulls":
            found.append(_nulls(rule, rows))
        elif rule.kind == "unique":
            found.append(_repeated_values(rule, rows))
        elif rule.kind == "repeated":
            found.append(_repeated_rows(rule, rows))
        elif rule.kind in ("known", "not before"):
            known = items if "item_id" in rule.columns else users
            if known is not None:
                found.append(_unknown(rule, rows, known))
    return found


def _examples(rule: Rule, rows: pa.Table, mask: pa.Array) -> tuple[str, ...]:
    if rule.column in _FREE_TEXT or rule.column not in rows.column_names:
        return ()
    values = rows[rule.column].filter(mask).slice(0, EXAMPLES).to_pylist()
    return tuple(_shown(value) for value in values)


def _shown(value: Any) -> str:
    return str(value)[:_MAX_EXAMPLE]


def _nulls(rule: Rule, rows: pa.Table) -> Finding:
    if rule.column not in rows.column_names:
        return Finding(rule.name, len(rows), len(rows))
    column = rows[rule.column]
    # What cleaning has filled in was not said either.
    filled = pc.sum(pc.equal(column, UNKNOWN)).as_py() or 0
    return Finding(rule.name, len(rows), column.null_count + int(filled))


def _repeated_values(rule: Rule, rows: pa.Table) -> Finding:
    if rule.column not in rows.column_names:
        return Finding(rule.name, 0, 0)
    values = rows[rule.column].drop_null()
    counts = pc.value_counts(values)
    more = counts.filter(pc.greater(counts.field("counts"), 1))
    broken = (pc.sum(more.field("counts")).as_py() or 0) - len(more)
    shown = tuple(_shown(v) for v in more.field("values").slice(0, EXAMPLES).to_pylist())
    return Finding(rule.name, len(values), int(broken), 0, shown)


def _repeated_rows(rule: Rule, rows: pa.Table) -> Finding:
    apart = ("dt", "part", "ingested_at", "is_bot")
    names = [n for n in rows.column_names if n not in apart and rows[n].null_count < len(rows)]
    keys = [n for n in ("user_id", "item_id", "timestamp") if n in names]
    if not keys or not len(rows):
        return Finding(rule.name, len(rows), 0)
    numbered = rows.select(names).append_column("row", pa.array(np.arange(len(rows))))
    groups = numbered.group_by(keys, use_threads=False).aggregate([("row", "count")])
    if len(groups) == len(rows):
        return Finding(rule.name, len(rows), 0)
    whole = rows.select(names).group_by(names, use_threads=False).aggregate([([], "count_all")])
    more = whole.filter(pc.greater(whole["count_all"], 1))
    shown = tuple(
        ", ".join(_shown(row[name]) for name in keys)
        for row in more.slice(0, EXAMPLES).select(keys).to_pylist()
    )
    return Finding(rule.name, len(rows), len(rows) - len(whole), 0, shown)


def _unknown(rule: Rule, rows: pa.Table, known: Known) -> Finding:
    """Ids that the catalogue lacks; or, of those that it has, times before it had them."""
    column = rule.columns[-1] if rule.kind == "not before" else rule.column
    ids = rows[column].combine_chunks()
    keys, since = known.load()
    if not len(keys):
        return Finding(rule.name, 0, 0)
    keys = keys.cast(ids.type)
    places = pc.index_in(ids, keys)
    if rule.kind == "not before":
        begins = since.take(places)
        at = rows["timestamp"].combine_chunks().cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        is_broken = pc.fill_null(pc.less(at, begins), False)
        shown = tuple(_shown(v) for v in ids.filter(is_broken).slice(0, EXAMPLES).to_pylist())
        return Finding(rule.name, len(ids), int(pc.sum(is_broken).as_py() or 0), 0, shown)
    missing = pc.is_null(places)
    early_ids = known.load_early()
    is_early = pc.and_(missing, pc.is_in(ids, early_ids.cast(ids.type)))
    is_broken = pc.and_not(missing, is_early)
    shown = tuple(_shown(v) for v in ids.filter(is_broken).unique().slice(0, EXAMPLES).to_pylist())
    broken, early = (int(pc.sum(mask).as_py() or 0) for mask in (is_broken, is_early))
    return Finding(rule.name, len(ids), broken, early, shown)


def examine_order(rows: pa.Table) -> Finding:
    """The order of times within sessions, of rows as they stand in a file."""
    (rule,) = (r for r in rules_of("interactions") if r.kind == "order")
    known = rows.filter(pc.is_valid(rows["session_id"]))
    sessions = known["session_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    at = known["timestamp"].combine_chunks().cast(pa.int64()).to_numpy()
    order = np.argsort(sessions, kind="stable")
    same = sessions[order][1:] == sessions[order][:-1]
    is_broken = same & (at[order][1:] < at[order][:-1])
    names = known["session_id"].take(pa.array(order[1:][is_broken][:EXAMPLES])).to_pylist()
    return Finding(rule.name, len(known), int(is_broken.sum()), 0, tuple(names))


def batch_of(day: date, findings: Iterable[Finding]) -> pa.RecordBatch:
    """Findings as workers give them; rows of ``FINDINGS_DDL``."""
    rows = [{"dt": day, **f._asdict(), "examples": list(f.examples)} for f in findings]
    return pa.RecordBatch.from_pylist(rows, FINDINGS)


def findings_in(rows: Iterable[Any]) -> Iterator[tuple[date, Finding]]:
    for row in rows:
        examples = tuple(row["examples"])
        yield row["dt"], Finding(row["rule"], row["looked"], row["broken"], row["early"], examples)


@dataclass
class Line:
    """One rule in a report."""

    rule: str
    code: str
    severity: str
    threshold: float
    rows: int = 0
    broken: int = 0
    early: int = 0
    examples: list[str] = field(default_factory=list)
    is_judged: bool = False
    at_threshold: bool = False

    @property
    def share(self) -> float:
        return self.broken / self.rows if self.rows else 0.0

    @property
    def verdict(self) -> Verdict:
        if not self.is_judged:
            return "not judged"
        if self.at_threshold:
            # Of unknown ids some are usual.
            return "error" if self.share >= self.threshold else "warn" if self.broken else "ok"
        is_broken = self.share > self.threshold
        return ("error" if self.severity == "error" else "warn") if is_broken else "ok"

    def add(self, finding: Finding) -> None:
        self.is_judged = True
        self.rows += finding.looked
        self.broken += finding.broken
        self.early += finding.early
        self.examples = list(dict.fromkeys([*self.examples, *finding.examples]))[:EXAMPLES]


class Report:
    """What the rules say of a day of a table; add what was found, then ask."""

    def __init__(self, table: str, day: date) -> None:
        self.table, self.day, self.rows, self.rejected = table, day, 0, 0
        self.lines = {
            r.name: Line(r.name, r.code, r.severity, r.threshold, at_threshold=r.kind == "known")
            for r in rules_of(table)
        }

    def add(self, finding: Finding) -> None:
        self.lines[finding.rule].add(finding)

    def add_rejected(self, reason: str, code: str, rows: int, examples: Sequence[str]) -> None:
        """Rows that were set aside for a reason, of a rule or of the reader."""
        self.rejected += rows
        rule = next((r for r in rules_of(self.table) if r.reason == reason), None)
        name = rule.name if rule else f"{self.table}.{_TYPES}: {reason}"
        line = self.lines.setdefault(name, Line(name, code, "error", 0.0))
        shown = () if rule and rule.column in _FREE_TEXT else tuple(examples[:EXAMPLES])
        line.add(Finding(name, rows, rows, 0, shown))

    def close(self, valid: int) -> "Report":
        """All rows are counted: those of a rule of rows were looked at, set aside or not."""
        self.rows = valid + self.rejected
        of_rows = {rule.name for rule in rules_of(self.table) if rule.is_of_rows}
        for name, line in self.lines.items():
            if name in of_rows or f".{_TYPES}: " in name:
                line.rows, line.is_judged = self.rows, True
        return self

    @property
    def verdict(self) -> Verdict:
        verdicts = {line.verdict for line in self.lines.values()}
        return next((v for v in ("error", "warn") if v in verdicts), "ok")  # type: ignore[return-value]

    @property
    def blocks(self) -> bool:
        """Whether so many ids are unknown that the day is not to be used."""
        return any(line.at_threshold and line.verdict == "error" for line in self.lines.values())

    def broken(self) -> list[Line]:
        return [line for line in self.lines.values() if line.verdict in ("warn", "error")]

    def as_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "table": self.table,
            "dt": str(self.day),
            "rows": self.rows,
            "rejected": self.rejected,
            "verdict": self.verdict,
            "rules": [
                {
                    "rule": line.rule,
                    "code": line.code,
                    "severity": line.severity,
                    "rows": line.rows,
                    "broken": line.broken,
                    "early": line.early,
                    "share": round(line.share, 6),
                    "threshold": line.threshold,
                    "verdict": line.verdict,
                    "examples": line.examples,
                }
                for line in self.lines.values()
            ],
        }

    def as_markdown(self) -> str:
        head = f"# {self.table} of {self.day}: {self.verdict}\n\n{self.rows} rows, "
        lines = [
            f"{head}{self.rejected} of them set aside.\n",
            "| rule | rows | broken | share | allowed | verdict | examples |",
            "|---|---:|---:|---:|---:|---|---|",
        ]
        order = {"error": 0, "warn": 1, "ok": 2, "not judged": 3}
        for line in sorted(self.lines.values(), key=lambda line: order[line.verdict]):
            examples = ", ".join(_cell(example) for example in line.examples)
            lines.append(
                f"| {_cell(line.rule)} | {line.rows} | {line.broken} | {line.share * 100:.3g} % | "
                f"{line.threshold * 100:g} % | {line.verdict} | {examples} |"
            )
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text of the data in a cell of Markdown: neither markup nor another cell."""
    if text.isprintable() and _MARKUP.isdisjoint(text):
        return text
    return "".join(c if c.isprintable() and c not in _MARKUP else f"&#{ord(c)};" for c in text)


def report_paths(day: date, run: str) -> tuple[str, str]:
    """Where a day's report lies beside its table: JSON, and Markdown."""
    return f"_validation/dt={day}/{run}.json", f"_validation/dt={day}/{run}.md"
