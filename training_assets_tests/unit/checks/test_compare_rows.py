"""Random training rows against histories, some of them wrong: judged as plain loops judge them."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.checks import compare_rows as module
from training_assets.checks.compare_rows import RIGHT, judge_rows
from training_assets.checks.padded_pages import padded_rows
from training_assets.checks.shape import LISTS
from training_assets.list_format import SealedParquet, file_hash, seal
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT
from training_assets_tests.support.frames import DAY
from training_assets_tests.unit.list_format.columns import full, write_groups

LENGTH = 6

Values = list[int | None] | None
History = tuple[int, Values, Values]
HISTORIES: list[History] = [
    (-(2**63), [], []),
    (1, [4, 5], [1, 2]),
    (2, [2**31 - 1] * LENGTH, [3] * LENGTH),
    (3, [1] * (LENGTH + 3), [1] * (LENGTH + 3)),
    # What nobody can carry rightly.
    (4, [0, 5], [1, 2]),
    (5, [4, 5], [1, 6]),
    (6, [4, None], [1, 2]),
    (7, [4, 5], [1]),
    (8, None, None),
    (9, None, []),
    (2**63 - 1, [8], [2]),
]
BAD_HISTORIES, WITHOUT_HISTORY = (4, 5, 6, 7, 8, 9), 99


def padded(values: Values) -> list[int | None]:
    return [*(values or []), *[0] * LENGTH][:LENGTH]


def random_rows(rng: random.Random) -> Iterator[tuple[int, Any, Any, bool]]:
    """(customer, items, types, whether they are right)."""
    for _ in range(200):
        customer, items, types = rng.choice(HISTORIES)
        row: tuple[int, Any, Any] = (customer, padded(items), padded(types))
        others = [
            (WITHOUT_HISTORY, padded([]), padded([])),
            (customer, row[1][:-1], row[2]),
            (customer, row[1], [*row[2], 0]),
            (customer, None, row[2]),
            (customer, row[1], None),
            (customer, [None, *row[1][1:]], row[2]),
            (customer, [9, *row[1][1:]], row[2]),
            (customer, row[1], [*row[2][:-1], 3 - row[2][-1]]),
            (customer, padded((items or [])[:LENGTH][::-1]), padded((types or [])[:LENGTH][::-1])),
        ]
        other = rng.choice(others)
        if rng.random() < 0.5:
            yield (*row, customer not in BAD_HISTORIES)
        else:
            yield (*other, other == row and customer not in BAD_HISTORIES)


def kind_of(customer: int, items: Values, types: Values, is_right: bool) -> str:
    """The first of the contract's rules that a row breaks."""
    if is_right:
        return RIGHT
    if items is None or types is None or len(items) != LENGTH or len(types) != LENGTH:
        return "length"
    actions = []
    has_ended = False
    for item, kind in zip(items, types, strict=True):
        has_ended = has_ended or item == 0
        if item is None or kind is None or (has_ended and (item, kind) != (0, 0)):
            return "holes"
        if not has_ended and (item < 1 or kind not in (1, 2, 3, 4, 5)):
            return "holes"
        if not has_ended:
            actions.append((item, kind))
    history = [(t_items, t_types) for c, t_items, t_types in HISTORIES if c == customer]
    if not history or None in history[0] or len(history[0][0]) != len(history[0][1]):
        return "wrong"
    true = Counter(zip(*history[0], strict=True))
    return "misordered" if Counter(actions) == true else "wrong"


@pytest.mark.parametrize("at_once", [1, 3, 2_048])
@pytest.mark.parametrize("seed", range(5))
def test_each_row_is_charged_with_the_first_that_is_wrong_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int, at_once: int
) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", at_once)
    rows = list(random_rows(random.Random(seed)))
    file = write_rows(tmp_path, rows)
    histories = [
        write_histories(tmp_path / f"histories-{number}.parquet", some)
        for number, some in enumerate((HISTORIES[:4], HISTORIES[4:]))
    ]
    judged = judge(file, range(7), {DAY: histories})
    for number in range(7):
        kinds: dict[str, list[int]] = {}
        for row in rows[number * 30 : number * 30 + 30]:
            kinds.setdefault(kind_of(*row), []).append(row[0])
        examples = {kind: sorted(set(who))[:3] for kind, who in kinds.items() if kind != RIGHT}
        assert judged[number] == {
            kind: (len(who), examples.get(kind, [])) for kind, who in kinds.items()
        }


@pytest.mark.parametrize(("seed", "at_once"), [(0, 7), *((n, 2_048) for n in range(5))])
def test_rows_of_our_own_writer_are_judged_as_those_of_arrow_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int, at_once: int
) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", at_once)
    rng = random.Random(seed)
    fit = [
        row
        for row in random_rows(rng)
        for values in (row[1:3],)
        if all(v is not None and len(v) == LENGTH and None not in v for v in values)
    ]
    rows = [row for row in fit for _ in range(rng.choice([1, 1, 3, 12]))]
    own = write_encoded(tmp_path, rows)
    histories = [write_histories(tmp_path / "histories.parquet", HISTORIES)]
    expected = judge(write_rows(tmp_path, rows), range(-(-len(rows) // 30)), {DAY: histories})
    with SealedParquet(own) as parquet:
        for name in LISTS[:2]:
            assert padded_rows(parquet, 0, name, LENGTH) is not None
        assert parquet.num_row_groups == len(expected)
    assert judge(own, range(len(expected)), {DAY: histories}) == expected


def write_encoded(folder: Path, rows: list[Any]) -> str:
    """The same rows as ``write_rows`` writes, by the writer of lists."""
    schema = TRAINING_INPUT.arrow_schema
    groups = []
    for start in range(0, len(rows), 30):
        some = rows[start : start + 30]
        columns = [
            pa.array([row[0] for row in some], pa.int64()),
            pa.nulls(len(some), pa.string()),
            pa.array([1] * len(some), pa.int64()),
            pa.array([0] * len(some), pa.int32()),
            *(full(np.array([row[n] for row in some], np.int32), range(len(some))) for n in (1, 2)),
        ]
        groups.append(columns)
    unsealed = write_groups(folder / "own", schema, groups)
    content = seal(unsealed.read_bytes())
    path = folder / f"part-00000-{file_hash(content)}-0123456789ab.parquet"
    path.write_bytes(content)
    return str(path)


def judge(
    file: str, groups: range, histories: dict[date, list[str]]
) -> list[dict[str, tuple[int, list[int]]]]:
    """By row group: rows and examples of each kind."""
    listed = [{"dt": DAY, "uri": file, "row_group": n} for n in groups]
    batches = judge_rows([pa.RecordBatch.from_pylist(listed)], histories, LENGTH)
    return [
        {row["kind"]: (row["rows"], row["examples"]) for row in batch.to_pylist()}
        for batch in batches
    ]


def write_rows(folder: Path, rows: list[Any]) -> str:
    table = pa.table(
        {
            "customer_id": [row[0] for row in rows],
            "ranking_id": [None] * len(rows),
            "impression_item_id": [1] * len(rows),
            "is_order": [0] * len(rows),
            "action_items": [row[1] for row in rows],
            "action_types": [row[2] for row in rows],
        },
        schema=TRAINING_INPUT.arrow_schema,
    )
    pq.write_table(table, folder / "rows.parquet", row_group_size=30)
    return str(folder / "rows.parquet")


def write_histories(file: Path, histories: list[History]) -> str:
    names = ("customer_id", *LISTS[:2])
    columns: dict[str, Any] = dict(zip(names, map(list, zip(*histories, strict=True)), strict=True))
    columns["action_days_ago"] = columns["action_types"]
    table = pa.table(columns, schema=CUSTOMER_HISTORY.arrow_schema)
    pq.write_table(table, file, row_group_size=2)
    return str(file)


def test_without_any_history_no_row_is_right(tmp_path: Path) -> None:
    rows = [(customer, padded([]), padded([]), False) for customer in (1, 2)]
    file = write_rows(tmp_path, [*rows, (None, padded([]), padded([]), False)])
    assert judge(file, range(1), {DAY: []}) == [{"wrong": (3, [1, 2])}]


def test_a_row_of_nobody_carries_no_history_even_of_customer_0(tmp_path: Path) -> None:
    histories = write_histories(tmp_path / "histories.parquet", [(0, [4], [1])])
    file = write_rows(tmp_path, [(who, padded([4]), padded([1]), False) for who in (0, None)])
    assert judge(file, range(1), {DAY: [histories]}) == [{RIGHT: (1, []), "wrong": (1, [])}]


def test_without_row_groups_there_is_nothing_to_say() -> None:
    assert list(judge_rows(iter(()), {}, LENGTH)) == []
