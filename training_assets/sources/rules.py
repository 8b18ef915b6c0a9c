"""What must hold of interactions, items and users: every rule once, as data.

The reader, the checks, the report, the JSON Schema, the documentation and the service go by this
list. Rules of a single row say what is broken as an expression over a table; those of many rows,
and those that ask the catalogue, are looked at in ``validation.py``.

Rules of a row derive from what ``schemas`` says of its columns. Runs on the workers; needs pyarrow
only.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from training_assets.schemas import (
    MAX_ITEM_ID,
    MIN_ITEM_ID,
    RETURN_WORD,
    SHOP_TABLES,
    WORTH_COLUMNS,
    Column,
    Table,
)
from training_assets.sources.ids import are_integers, is_integer
from training_assets.sources.plain_texts import PlainTexts, plain_texts
from training_assets.sources.text_ids import ENTITY_OF, Entity

Severity = Literal["error", "warn"]
Kind = Literal[
    "required",
    "allowed",
    "range",
    "length",
    "json",
    "future",
    "past",
    "integer",
    "nulls",
    "unique",
    "repeated",
    "order",
    "known",
    "not before",
]
# Of the service's closed list, and what only a look at many rows can find.
Code = Literal[
    "required",
    "not_allowed",
    "out_of_range",
    "too_long",
    "not_json",
    "duplicate_id",
    "duplicate_row",
    "unknown_id",
    "out_of_order",
]

FUTURE: Final = timedelta(minutes=5)
OLDEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
MAX_UNKNOWN_SHARE: Final = 0.01
_OF_ROWS: Final = ("required", "allowed", "range", "length", "json", "future", "past", "integer")
_INTEGER_IDS: Final = (
    ("user_id", -(2**63), 2**63 - 1, "outside 64 bits"),
    ("item_id", MIN_ITEM_ID, MAX_ITEM_ID, f"outside {MIN_ITEM_ID}..{MAX_ITEM_ID}"),
)
_MAX_VALUE: Final = 200


@dataclass(frozen=True)
class Rule:
    """What may not be: ``columns`` of ``table`` are broken in the way of ``kind``.

    ``phrase`` follows the name of the column: *is null*. Of the rows that are looked at a share of
    ``threshold`` may be broken; above, the rule is broken with its ``severity``. ``limits`` are
    what the kind needs: allowed values, the smallest and the largest, a length.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    kind: Kind
    code: Code
    severity: Severity
    phrase: str
    threshold: float = 0.0
    limits: tuple[Any, ...] = ()

    @property
    def column(self) -> str:
        return self.columns[0]

    @property
    def is_of_rows(self) -> bool:
        """Whether a single row tells; such rows are set aside where the rule is an error."""
        return self.kind in _OF_ROWS

    @property
    def spares_returns(self) -> bool:
        """Whether a purchase that was taken back keeps the rule in its own way."""
        is_type = self.kind == "allowed" and self.column == "interaction_type"
        return is_type or (self.kind == "range" and self.column in WORTH_COLUMNS)

    @property
    def reason(self) -> str:
        return f"{self.column} {self.phrase}"

    def broken(self, values: pa.Array, now: datetime) -> pa.BooleanArray:
        """Of the values of its column true where they break the rule; null or false elsewhere.

        Raises ``ValueError`` for a rule that no single row breaks.
        """
        return _BROKEN[self.kind](self, values, now)


class Terms(NamedTuple):
    """What a source says of its rows that rules go by.

    With ``takes_returns`` rows that are named a return may be below zero. Ids of the entities
    ``takes_digits`` are texts also where one looks like an integer.
    """

    takes_returns: bool = False
    takes_digits: tuple[Entity, ...] = ()


NO_TERMS: Final = Terms()


class RowFault(NamedTuple):
    """Row ``row`` (from 0) breaks a rule; ``value`` is the cell as text, cut after 200 letters."""

    row: int
    column: str
    code: Code
    message: str
    value: str | None
    severity: Severity
    rule: str


def _no_row(rule: Rule, values: pa.Array, now: datetime) -> pa.BooleanArray:
    raise ValueError(f"{rule.name}: no single row breaks it; expected a rule of rows.")


def _is_missing(rule: Rule, values: pa.Array, now: datetime) -> pa.BooleanArray:
    if _column(rule).type != "string":
        return pc.is_null(values)
    is_blank = pc.equal(pc.utf8_trim_whitespace(values), "")
    return pc.fill_null(is_blank, True)


def _is_outside(rule: Rule, values: pa.Array, now: datetime) -> pa.BooleanArray:
    low, high, above = rule.limits
    type_ = _column(rule).arrow
    parts = [pc.is_finite(values)] if pa.types.is_floating(type_) else []
    if low is not None:
        parts.append(pc.greater_equal(values, _scalar(low, type_)))
    if above is not None:
        parts.append(pc.greater(values, _scalar(above, type_)))
    if high is not None:
        parts.append(pc.less_equal(values, _scalar(high, type_)))
    # Not a number is neither below nor above anything.
    return pc.invert(reduce(pc.and_kleene, parts))


def _is_not_allowed(rule: Rule, values: pa.Array, now: datetime) -> pa.BooleanArray:
    return pc.invert(pc.is_in(values, pa.array([*rule.limits, None], values.type)))


def _is_no_integer_id(rule: Rule, texts: pa.Array, now: datetime) -> pa.BooleanArray:
    """Of texts that are integers, which are outside; by their length where 64 bits are too few."""
    low, high = rule.limits
    is_integer_id = are_integers(texts)
    if not is_integer_id.true_count:
        return is_integer_id
    fits = pc.and_(is_integer_id, pc.less_equal(pc.binary_length(texts), 18))
    numbers = pc.if_else(fits, texts, pa.scalar("1", texts.type)).cast(pa.int64())
    outside = pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
    if pc.all(pc.equal(fits, is_integer_id), min_count=0).as_py():
        return outside
    long = [
        text is not None and len(text) > 18 and is_integer(text) and not low <= int(text) <= high
        for text in texts.to_pylist()
    ]
    return pc.or_(outside, pa.array(long))


def _scalar(limit: float, type_: pa.DataType) -> pa.Scalar:
    return pa.scalar(Decimal(str(limit)) if pa.types.is_decimal(type_) else limit, type_)


_TIME: Final = pa.timestamp("us", "UTC")
_BROKEN: Final = {
    "required": _is_missing,
    "allowed": _is_not_allowed,
    "range": _is_outside,
    "length": lambda rule, values, now: pc.greater(pc.utf8_length(values), rule.limits[0]),
    "json": lambda rule, values, now: _is_no_object(values),
    "future": lambda rule, values, now: pc.greater(values, pa.scalar(now + FUTURE, _TIME)),
    "past": lambda rule, values, now: pc.less(values, pa.scalar(OLDEST, _TIME)),
    "integer": _is_no_integer_id,
    **dict.fromkeys(("nulls", "unique", "repeated", "order", "known"), _no_row),
    "not before": _no_row,
}


def _column(rule: Rule) -> Column:
    return next(c for c in SHOP_TABLES[rule.table].columns if c.name == rule.column)


def _of_column(table: Table, column: Column) -> Iterator[Rule]:
    def rule(kind: Kind, code: Code, phrase: str, *limits: Any) -> Rule:
        name = f"{table.name}.{column.name}.{kind}"
        return Rule(name, table.name, (column.name,), kind, code, "error", phrase, 0.0, limits)

    if column.is_required:
        yield rule("required", "required", "is null")
    if column.allowed:
        phrase = f"is not one of {', '.join(column.allowed)}"
        yield rule("allowed", "not_allowed", phrase, *column.allowed)
    limits = (column.minimum, column.maximum, column.above)
    if limits != (None, None, None):
        low, high, above = ("" if limit is None else f"{limit:g}" for limit in limits)
        phrase = f"is not within {low}..{high}" if high else f"is below {low}"
        phrase = f"is not above {above}" if above else phrase
        yield rule("range", "out_of_range", phrase, *limits)
    if column.max_length is not None:
        phrase = f"is longer than {column.max_length} characters"
        yield rule("length", "too_long", phrase, column.max_length)
    if column.is_json:
        yield rule("json", "not_json", "is not a JSON object")
    if column.max_null_share is not None:
        name = f"{table.name}.{column.name}.nulls"
        phrase = f"is null in more than {column.max_null_share * 100:g} % of the rows"
        share = column.max_null_share
        yield Rule(
            name, table.name, (column.name,), "nulls", "required", "warn", phrase, threshold=share
        )


def _of_times(table: str, column: str) -> Iterator[Rule]:
    future = "is more than 5 minutes in the future"
    past = f"is before {OLDEST.date()}"
    yield Rule(
        f"{table}.{column}.future", table, (column,), "future", "out_of_range", "error", future
    )
    yield Rule(f"{table}.{column}.past", table, (column,), "past", "out_of_range", "error", past)


def _of_ids(table: Table) -> Iterator[Rule]:
    for column, low, high, phrase in _INTEGER_IDS:
        if column in table.column_names:
            name = f"{table.name}.{column}.integer"
            limits = (low, high)
            yield Rule(
                name, table.name, (column,), "integer", "out_of_range", "error", phrase, 0.0, limits
            )


def _of_many_rows() -> Iterator[Rule]:
    def rule(
        table: str,
        columns: tuple[str, ...],
        kind: Kind,
        code: Code,
        severity: Severity,
        phrase: str,
        threshold: float = 0.0,
    ) -> Rule:
        name = f"{table}.{columns[0]}.{kind.replace(' ', '_')}"
        return Rule(name, table, columns, kind, code, severity, phrase, threshold)

    table = "interactions"
    again = "stands in more than one row"
    yield rule(table, ("interaction_id",), "unique", "duplicate_id", "error", again)
    yield rule(
        table,
        ("row",),
        "repeated",
        "duplicate_row",
        "warn",
        "is equal to another in all of its columns",
    )
    yield rule(
        table,
        ("session_id", "timestamp"),
        "order",
        "out_of_order",
        "warn",
        "goes on before the time of the row before it",
    )
    share = MAX_UNKNOWN_SHARE
    for column, of in (("item_id", "items"), ("user_id", "users")):
        phrase = f"is not in {of} as of the day"
        yield rule(table, (column,), "known", "unknown_id", "error", phrase, share)
    for name, column, of in (
        ("item", "item_id", "created_at of the item"),
        ("user", "user_id", "join_date of the user"),
    ):
        yield Rule(
            f"{table}.timestamp.before_{name}",
            table,
            ("timestamp", column),
            "not before",
            "out_of_range",
            "warn",
            f"is before the {of}",
        )
    for other, key in (("items", "item_id"), ("users", "user_id")):
        yield rule(other, (key,), "unique", "duplicate_id", "error", again)


# In the order in which a row's first fault is looked for.
RULES: Final[tuple[Rule, ...]] = (
    *(
        rule
        for table in SHOP_TABLES.values()
        for column in table.columns
        for rule in _of_column(table, column)
    ),
    *_of_times("interactions", "timestamp"),
    *(rule for table in SHOP_TABLES.values() for rule in _of_ids(table)),
    *_of_many_rows(),
)


_ORDER: Final = {rule.name: number for number, rule in enumerate(RULES)}
_RULES_OF: Final = {
    name: tuple(rule for rule in RULES if rule.table == name) for name in SHOP_TABLES
}


def rules_of(table_name: str) -> tuple[Rule, ...]:
    """All rules of a table; none for a table that has no rules."""
    return _RULES_OF.get(table_name, ())


def judge_rows(
    table_name: str, rows: pa.Table, *, now: datetime, terms: Terms = NO_TERMS
) -> list[RowFault]:
    """What is wrong with single rows, by row and then in the order of the rules.

    ``rows`` has the table's columns as ``schemas`` types them; an absent one reads as null. ``now``
    is the moment beyond which the future begins. A row has a fault for each rule that it breaks.
    """
    faults = []
    for rule, mask in broken_rows(table_name, rows, now=now, terms=terms):
        places = pc.indices_nonzero(mask)
        values = (
            rows[rule.column].take(places).to_pylist()
            if rule.column in rows.column_names
            else [None] * len(places)
        )
        for row, value in zip(places.to_pylist(), values, strict=True):
            shown = None if value is None else str(value)[:_MAX_VALUE]
            faults.append(
                RowFault(row, rule.column, rule.code, rule.phrase, shown, rule.severity, rule.name)
            )
    return sorted(faults, key=lambda fault: (fault.row, _ORDER[fault.rule]))


def broken_rows(
    table_name: str, rows: pa.Table, *, now: datetime, terms: Terms = NO_TERMS
) -> list[tuple[Rule, pa.BooleanArray]]:
    """The rules of rows that any row breaks, each with a mask of those rows."""
    if not len(rows):
        return []
    rules = [rule for rule in rules_of(table_name) if rule.is_of_rows]
    known = set(rows.column_names)
    columns = {name: _combined(rows[name]) for name in {rule.column for rule in rules} & known}
    plain = {name: plain_texts(values) for name, values in columns.items()}
    found = []
    for rule in rules:
        if rule.kind == "integer" and ENTITY_OF[rule.column] in terms.takes_digits:
            continue
        values = columns.get(rule.column)
        if values is None or values.null_count == len(rows):
            # Nothing but null breaks no rule but that there must be something.
            if rule.kind != "required":
                continue
            mask = pa.repeat(pa.scalar(True), len(rows))
        elif _all_keep(rule, plain[rule.column]):
            continue
        else:
            mask = rule.broken(values, now)
        if terms.takes_returns and rule.spares_returns and "interaction_type" in known:
            mask = _without_returns(mask, rule, rows)
        if mask.true_count:
            found.append((rule, pc.fill_null(mask, False)))
    return found


def _all_keep(rule: Rule, texts: PlainTexts | None) -> bool:
    """Whether texts keep a rule for sure, by their lengths."""
    if texts is None:
        return False
    if rule.kind == "required":
        return texts.shortest > 0
    if rule.kind == "length":
        return texts.longest <= int(rule.limits[0])
    if rule.kind == "integer":
        low, high = rule.limits
        return texts.longest < 19 and max(-low, 0) >= 10**texts.longest <= high
    return False


def first_reasons(
    table_name: str, rows: pa.Table, *, now: datetime, terms: Terms = NO_TERMS
) -> pa.StringArray:
    """Of each row the reason why it cannot be used, null where it can."""
    reasons = pa.nulls(len(rows), pa.string())
    for rule, mask in broken_rows(table_name, rows, now=now, terms=terms):
        if rule.severity == "error":
            hit = pc.and_(mask, pc.is_null(reasons))
            reasons = pc.if_else(hit, pa.scalar(rule.reason), reasons)
    return reasons


def _without_returns(mask: pa.BooleanArray, rule: Rule, rows: pa.Table) -> pa.BooleanArray:
    """Returns alone may be called so, and be below zero; not a number is neither."""
    spared = pc.equal(_combined(rows["interaction_type"]), RETURN_WORD)
    values = _combined(rows[rule.column])
    if pa.types.is_floating(values.type):
        spared = pc.and_(spared, pc.is_finite(values))
    return pc.and_not(mask, pc.fill_null(spared, False))


def _combined(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _is_no_object(texts: pa.Array) -> pa.BooleanArray:
    # Many rows say the same: each text is read once.
    encoded = texts.dictionary_encode()
    known = encoded.dictionary.to_pylist()
    is_none = [text is not None and not _is_object(text) for text in known]
    return pc.fill_null(pa.array(is_none, pa.bool_()).take(encoded.indices), False)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


# --- the same as JSON Schema ----------------------------------------------------------------------

_JSON_TYPES: Final[dict[str, Sequence[str]]] = {
    "string": ("string",),
    "long": ("integer",),
    "double": ("number",),
    "decimal(18,4)": ("number", "string"),
    "boolean": ("boolean",),
    "date": ("string",),
    "timestamp": ("string",),
}
_FORMATS: Final = {"date": "date", "timestamp": "date-time"}


def json_schema(data_type: str, terms: Terms = NO_TERMS) -> dict[str, Any]:
    """One delivered object of a table as JSON Schema 2020-12; raises ``KeyError`` for another name.

    Columns that have aliases may come under any of their names. Where returns are taken, nothing
    is said of what is worth less than nothing: the kind of the interaction decides it.
    """
    table = SHOP_TABLES[data_type]
    columns = [column for column in table.columns if column.name != table.day_column]
    if terms.takes_returns:
        columns = [_with_returns(column) for column in columns]
    properties = {
        name: _property(column) for column in columns for name in (column.name, *column.aliases)
    }
    needed = [column for column in columns if column.is_required]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": table.name,
        "description": f"{table.description} One object is {table.grain}.",
        "type": "object",
        "properties": properties,
        "required": [column.name for column in needed if not column.aliases],
        "allOf": [
            {"anyOf": [{"required": [name]} for name in (column.name, *column.aliases)]}
            for column in needed
            if column.aliases
        ],
        "additionalProperties": True,
    }


def _with_returns(column: Column) -> Column:
    if column.name == "interaction_type":
        return replace(column, allowed=(*column.allowed, RETURN_WORD))
    return replace(column, minimum=None, above=None) if column.name in WORTH_COLUMNS else column


def _property(column: Column) -> dict[str, Any]:
    types = list(_JSON_TYPES[column.type])
    if column.is_id:
        types.append("integer")
    if column.is_json:
        types.append("object")
    if not column.is_required:
        types.append("null")
    found: dict[str, Any] = {
        "type": types[0] if len(types) == 1 else types,
        "description": column.description,
    }
    if column.type in _FORMATS:
        found["format"] = _FORMATS[column.type]
    limits = {
        "enum": [*column.allowed, *([] if column.is_required else [None])]
        if column.allowed
        else None,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "exclusiveMinimum": column.above,
        "maxLength": column.max_length,
        "minLength": 1 if column.is_required and column.type == "string" else None,
    }
    return found | {name: value for name, value in limits.items() if value is not None}


def rules_markdown(tables: Iterable[str] = tuple(SHOP_TABLES)) -> str:
    """All rules as a Markdown table, for the documentation."""
    lines = ["| rule | broken where | level | allowed share |", "|---|---|---|---|"]
    lines += [
        f"| {rule.name} | {rule.reason} | {rule.severity} | {rule.threshold * 100:g} % |"
        for table in tables
        for rule in rules_of(table)
    ]
    return "\n".join(lines)
