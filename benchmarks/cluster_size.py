"""From what was measured to the size of a cluster: fills the tables of docs/cluster.md.

    TRAINING_ASSETS_CHECK_CUSTOMERS=20 python benchmarks/shuffle_bytes.py --lake L …
    python benchmarks/cluster_size.py

Multiplies the bytes and the CPU of benchmarks/results/shuffle.json, by action, history and row,
with one day at the scale of the contract.
"""

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
FIRST_TIME = "customer_history, the first time"

# One day at full scale, in millions.
ACTIONS_A_DAY = (150 + 15 + 2) / 7
ACTIONS_A_YEAR = 365 * ACTIONS_A_DAY
TRAINING_ROWS = 1 * 10
HISTORY_ACTIONS = 1 * 1000
# As in the modules of training_assets/tables.
ACTIONS_PER_FILE, ACTIONS_PER_TASK, RANKINGS_PER_FILE, MAX_TASKS = 4, 2, 0.05, 128

CORES_PER_EXECUTOR = 4
HOURS = 0.5
LEAST_HEAP = 2
# Measured with 20,000 histories of 1000 actions in one file.
COPIES = 4.5


class Unit(NamedTuple):
    """What is multiplied: how many in the sample, by the key of its rows, and at full scale."""

    key: str
    name: str
    millions: float


NEW = Unit("actions", "actions of the day", ACTIONS_A_DAY)
YEAR = Unit("actions", "actions of the look-back", ACTIONS_A_YEAR)
SHOWN = Unit("history_actions", "actions in histories", HISTORY_ACTIONS)
TRAINED = Unit("training_rows", "training rows", TRAINING_ROWS)

READ = ("Spark: read", "Python: read")
BYTES = (
    ("unified_actions", "shuffled", NEW, ("Spark: shuffled",)),
    ("unified_actions", "published", NEW, ("published",)),
    ("unified_actions", "at rest", YEAR, ("published",)),
    (FIRST_TIME, "read", YEAR, READ),
    ("customer_history", "read", YEAR, READ),
    ("customer_history", "read by checks", YEAR, ("checks: read",)),
    ("customer_history", "shuffled", SHOWN, ("Spark: shuffled",)),
    ("customer_history", "published", SHOWN, ("published",)),
    ("training_input", "read", SHOWN, READ),
    ("training_input", "shuffled", TRAINED, ("Spark: shuffled",)),
    ("training_input", "published", SHOWN, ("published",)),
)
CPU = (
    ("unified_actions", "CPU", NEW, "build"),
    (FIRST_TIME, "CPU", YEAR, "build"),
    ("customer_history", "CPU", YEAR, "build"),
    ("customer_history", "CPU of checks", YEAR, "checks"),
    ("training_input", "CPU", SHOWN, "build"),
    ("training_input", "CPU of checks", SHOWN, "checks"),
)


class Sizes(NamedTuple):
    """By (table, what): GB and core hours of one day at full scale."""

    gigabytes: dict[tuple[str, str], float]
    core_hours: dict[tuple[str, str], float]

    def shuffled(self) -> float:
        return sum(value for (_, what), value in self.gigabytes.items() if what == "shuffled")

    def daily_core_hours(self) -> float:
        return sum(value for (table, _), value in self.core_hours.items() if table != FIRST_TIME)


def moves(found: dict[str, Any]) -> tuple[str, Sizes]:
    """The first table, line by line, and its results."""
    rows, sizes = found["rows"], Sizes({}, {})
    text = ["| one day | measured | times | makes |", "|---|---|---|---|"]
    for table, what, unit, names in BYTES:
        each = sum(found["tables"][table]["bytes"][name] for name in names) / rows[unit.key]
        makes = sizes.gigabytes[table, what] = each * unit.millions / 1000
        text.append(_line(table, what, f"{each:.2f} bytes", unit, f"{makes:,.1f} GB"))
    for table, what, unit, part in CPU:
        of_table = found["tables"][table]
        micros = of_table[part].get("cpu_ns", 0) / 1e3 + of_table["python_cpu_s"][part] * 1e6
        each = micros / rows[unit.key]
        makes = sizes.core_hours[table, what] = each * unit.millions / 3600
        text.append(_line(table, what, f"{each:.2f} µs", unit, f"{makes:,.2f} core hours"))
    text.append(f"| all shuffles of a day | | | {sizes.shuffled():,.1f} GB |")
    text.append(f"| all CPU of a day | | | {sizes.daily_core_hours():,.1f} core hours |")
    return "\n".join(text), sizes


def _line(table: str, what: str, measured: str, unit: Unit, makes: str) -> str:
    return f"| {table}: {what} | {measured} | {unit.millions:,.1f} million {unit.name} | {makes} |"


def follows(found: dict[str, Any], sizes: Sizes) -> str:
    """The second table: what to ask for."""
    ranges = math.ceil(ACTIONS_A_YEAR / ACTIONS_PER_TASK)
    tasks = min(ranges, MAX_TASKS)
    files = math.ceil(ACTIONS_A_DAY / ACTIONS_PER_FILE), math.ceil(1 / RANKINGS_PER_FILE)
    history_file = RANKINGS_PER_FILE * 1000 * 7 / 1000
    python = COPIES * history_file
    measured = max(of_table["python_peak_mib"] for of_table in found["tables"].values())
    java = max(
        of_table[part].get("peak_memory", 0) / 2**20
        for of_table in found["tables"].values()
        for part in ("build", "checks")
    )
    heap = max(LEAST_HEAP, math.ceil(2 * CORES_PER_EXECUTOR * java / 1024))
    overhead = math.ceil(CORES_PER_EXECUTOR * python)
    cores = math.ceil(sizes.daily_core_hours() / HOURS)
    executors = math.ceil(cores / CORES_PER_EXECUTOR)
    shuffled = sizes.shuffled()
    first = sizes.core_hours[FIRST_TIME, "CPU"]
    first_minutes = first / (executors * CORES_PER_EXECUTOR) * 60
    lines = [
        (
            "tasks that make histories",
            f"{ACTIONS_A_YEAR:,.0f} million actions / {ACTIONS_PER_TASK} million a range = "
            f"{ranges:,} ranges, at most {MAX_TASKS} tasks",
            f"{tasks:,} tasks, {math.ceil(ranges / tasks)} ranges each, one after another",
        ),
        (
            "tasks that write a day",
            f"{ACTIONS_A_DAY:.0f} million actions / {ACTIONS_PER_FILE} million a file; "
            f"1 million histories / {RANKINGS_PER_FILE * 1e6:,.0f} a file",
            f"{files[0]} and {files[1]}",
        ),
        (
            "memory of a Python worker",
            f"{RANKINGS_PER_FILE * 1e6:,.0f} histories x 1000 actions x 7 bytes = "
            f"{history_file:.1f} GB in a file that is written, held about {COPIES} times "
            f"(measured with {found['rows']['histories']:,} histories: {measured} MiB)",
            f"{python:.1f} GB",
        ),
        (
            "memory of Java",
            f"2 x {CORES_PER_EXECUTOR} cores x {java:,.0f} MiB, the largest task measured; not "
            f"less than {LEAST_HEAP} GB, with which a hot customer was tried",
            f"{heap} GB",
        ),
        (
            "an executor",
            f"{CORES_PER_EXECUTOR} cores, {heap} GB of heap, {CORES_PER_EXECUTOR} x "
            f"{python:.1f} GB for Python",
            f"`spark.executor.cores={CORES_PER_EXECUTOR}`, `spark.executor.memory={heap}g`, "
            f"`spark.executor.memoryOverhead={overhead}g`",
        ),
        (
            f"executors for a day in {60 * HOURS:.0f} minutes",
            f"{sizes.daily_core_hours():.1f} core hours / {HOURS} hours = {cores} cores",
            f"{executors}",
        ),
        (
            "disk for shuffles",
            f"{shuffled:.1f} GB a day, in one run over 14 days {14 * shuffled:.0f} GB",
            f"{14 * shuffled / executors:.0f} GB an executor",
        ),
        (
            "the first run",
            f"{sizes.gigabytes[FIRST_TIME, 'read']:.0f} GB read, {first:.1f} core hours",
            f"{first_minutes:.0f} minutes on {executors} executors, once",
        ),
        (
            "`spark.sql.shuffle.partitions`",
            "only checks and figures use it; adaptive execution joins small ones",
            "leave it at 200",
        ),
    ]
    head = ["| what to ask for | why | so |", "|---|---|---|"]
    return "\n".join([*head, *("| " + " | ".join(line) + " |" for line in lines)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results" / "shuffle.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "cluster.md")
    given = parser.parse_args()
    found = json.loads(given.results.read_text())
    first, sizes = moves(found)
    page = given.page.read_text()
    for name, table in (("moves", first), ("follows", follows(found, sizes))):
        start, end = f"<!-- cluster_size.py: {name} -->", "<!-- end -->"
        page, times = re.subn(
            f"{start}.*?{end}",
            lambda _, t=table, s=start, e=end: f"{s}\n{t}\n{e}",
            page,
            flags=re.S,
        )
        if not times:
            raise SystemExit(f"{given.page} has no line {start}")
    given.page.write_text(page)


if __name__ == "__main__":
    main()
