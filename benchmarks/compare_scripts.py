"""The platform against what an expert would write by hand: same input, same output, side by side.

    python benchmarks/compare_scripts.py --scratch /tmp/bench --actions 30M
    python benchmarks/compare_scripts.py --scratch /tmp/bench --actions 5M --repeats 1
    python benchmarks/compare_scripts.py --self-test      does the comparison notice a wrong row

Generates the lake of that size under ``--scratch``, where it is kept, and builds its
unified_actions with the platform. Every run is a fresh process; contestants take turns within each
repeat. All outputs of a case must hold the same rows, or the exit code is 1. Inputs come from the
page cache.

Prints a table and writes results/scripts-<size>.json (every run), .md and .svg.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
from baselines.measure import run_measured

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SEED, ITEMS, NUM_DAYS, LAST = 1, 50_000, 380, date(2026, 11, 19)
# Actions to generate, and by how many customers.
SIZES = {"5M": (5_000_000, 5_500), "30M": (30_000_000, 33_000), "100M": (100_000_000, 110_000)}
CONTESTANTS = {
    "ours-sail": ["ours.py", "--engine", "sail"],
    "ours-sail-unprepared": ["ours.py", "--engine", "sail", "--unprepared"],
    "ours-sail-checked": ["ours.py", "--engine", "sail", "--checked"],
    "ours-spark": ["ours.py", "--engine", "spark"],
    "duckdb": ["duckdb_script.py"],
    "polars": ["polars_script.py"],
    "spark-window": ["spark_window.py"],
}
# Compacted blocks made within the job; with all checks.
ONLY = {"ours-sail-unprepared": "history", "ours-sail-checked": "published"}
TABLES = {"history": ["customer_history"], "published": ["customer_history", "training_input"]}
PACKAGES = ("duckdb", "polars", "pyarrow", "numpy", "pyspark", "pysail", "training-assets")
# Not by name alone: a contestant that writes other types, or other columns, must not pass.
COLUMNS = {
    "customer_history": {
        "customer_id": "BIGINT",
        "action_items": "INTEGER[]",
        "action_types": "TINYINT[]",
        "action_days_ago": "SMALLINT[]",
    },
    "training_input": {
        "customer_id": "BIGINT",
        "ranking_id": "VARCHAR",
        "impression_item_id": "BIGINT",
        "is_order": "INTEGER",
        "action_items": "INTEGER[]",
        "action_types": "INTEGER[]",
    },
}


@dataclass(frozen=True)
class Case:
    """One job that all contestants do."""

    output: str
    days: int

    @property
    def title(self) -> str:
        return f"{self.output}, {self.days} {'day' if self.days == 1 else 'days'}"


# ------------------------------------------------------------------------------------------- lake


def prepare(size: str, scratch: Path) -> Path:
    """The lake of this size, generated and with unified_actions; what is there is kept."""
    lake = scratch / f"lake-{size}"
    actions, customers = SIZES[size]
    generate_lake(lake, customers, actions, NUM_DAYS, SEED)
    days = [LAST - timedelta(days=n) for n in reversed(range(NUM_DAYS))]
    missing = [d for d in days if not (lake / "unified_actions" / f"dt={d}").exists()]
    if missing:
        build_actions(lake, missing)
    return lake


def generate_lake(root: Path, customers: int, actions: int, days: int, seed: int) -> None:
    """Raw rows of the four tables, where there are none; the scripts know of no others."""
    from training_assets.sample.generate import generate
    from training_assets.sample.shop import SampleSpec

    if (root / "raw" / "impressions" / f"dt={LAST}").exists():
        return
    spec = SampleSpec(
        customers=customers,
        items=ITEMS,
        interactions=actions,
        days=days,
        end_date=LAST,
        seed=seed,
    )
    generate(str(root), spec, lambda line: print(line, flush=True), with_stream=False)


def compact(lake: Path, options: Any) -> None:
    """Let the platform make the action blocks that the cases need, as a first run does."""
    for days in options.days:
        found = run("ours-sail", Case("history", days), lake, own_folder(options.scratch), options)
        if "error" in found:
            raise SystemExit(found["error"])


def build_actions(root: Path, days: list[date]) -> None:
    from training_assets import spark_session
    from training_assets.lake import Lake
    from training_assets.pipeline import build_days
    from training_assets.settings import Settings
    from training_assets.tables import unified_actions

    with spark_session("sail") as spark:
        for start in range(0, len(days), 40):
            part = days[start : start + 40]
            for report in build_days(
                spark, Lake.at(root), Settings(lake=str(root)), [unified_actions.SPEC], part
            ):
                if report.problem:
                    raise SystemExit(report.problem)
            print(f"unified_actions: {start + len(part)} of {len(days)} days", flush=True)


def describe(lake: Path) -> dict[str, Any]:
    """Rows and bytes of what the contestants read."""
    found = {}
    for table in ("unified_actions", "raw/impressions"):
        files = sorted((lake / table).glob("dt=*/*.parquet"))
        (rows,) = duckdb.execute(
            "SELECT sum(num_rows) FROM parquet_file_metadata(?)", [[str(f) for f in files]]
        ).fetchone()
        size = sum(file.stat().st_size for file in files)
        found[table] = {"days": len(files), "rows": int(rows), "bytes": size}
    return found


# -------------------------------------------------------------------------------------------- runs


def run(contestant: str, case: Case, lake: Path, out: Path, options: Any) -> dict[str, Any]:
    """One contestant's run in a fresh process, measured, and a fingerprint of what it wrote."""
    script, *more = CONTESTANTS[contestant]
    first = LAST - timedelta(days=case.days - 1)
    span = ["--first", str(first), "--last", str(LAST), "--output", case.output]
    command = [sys.executable, str(HERE / "baselines" / script), *more, *span]
    command += ["--lake", str(lake), "--out", str(out), "--threads", str(options.threads)]
    shutil.rmtree(out, ignore_errors=True)
    measured = run_measured(command, timeout=options.timeout)
    found: dict[str, Any] = {"contestant": contestant, **asdict(case), **measured}
    if "error" not in found:
        found["output_bytes"] = {table: size_of(out / table) for table in TABLES[case.output]}
        try:
            found["fingerprint"] = {
                table: fingerprint(out, table, first, case.days) for table in TABLES[case.output]
            }
        except (ValueError, duckdb.Error) as error:
            found["error"] = str(error)
    shutil.rmtree(out, ignore_errors=True)
    return found


def is_slow(runs: list[dict[str, Any]], contestant: str, case: Case, patience: float) -> bool:
    """Whether it has run twice and took longer than ``patience`` seconds each time."""
    walls = [
        one.get("wall_s", patience)
        for one in runs
        if (one["contestant"], one["output"], one["days"]) == (contestant, case.output, case.days)
    ]
    return len(walls) >= 2 and min(walls) > patience


def own_folder(scratch: Path) -> Path:
    """For outputs; two campaigns may share what they read."""
    return scratch / f"out-{os.getpid()}"


def size_of(table: Path) -> int:
    return sum(file.stat().st_size for file in table.glob("dt=*/*.parquet"))


def fingerprint(out: Path, table: str, first: date, num_days: int) -> dict[str, list[Any]]:
    """By day: rows and a sum of row hashes, which does not depend on files or on their order.

    Raises ``ValueError`` for other columns or types than those of the contract, and for rows that
    are not in order of customer (and ranking) within a file.
    """
    connection, found = duckdb.connect(config={"threads": 2}), {}
    order = "(customer_id, ranking_id)" if table == "training_input" else "customer_id"
    for number in range(num_days):
        day = first + timedelta(days=number)
        source = f"read_parquet('{out}/{table}/dt={day}/*.parquet', hive_partitioning = false)"
        described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        types = {name: kind for name, kind, *_ in described}
        if types != COLUMNS[table]:
            raise ValueError(f"{table} {day}: found {types}; expected {COLUMNS[table]}")
        columns = ", ".join(COLUMNS[table])
        found[str(day)] = [
            str(value)
            for value in connection.execute(
                f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM {source}"
            ).fetchone()
        ]
        (num_wrong,) = connection.execute(
            f"SELECT count(*) FROM (SELECT {order} AS key, lag({order}) OVER "
            f"(PARTITION BY filename ORDER BY file_row_number) AS before FROM read_parquet("
            f"'{out}/{table}/dt={day}/*.parquet', hive_partitioning = false, filename = true, "
            "file_row_number = true)) WHERE key < before"
        ).fetchone()
        if num_wrong:
            raise ValueError(f"{table} {day}: {num_wrong} rows are out of order")
    return found


def disagreements(runs: list[dict[str, Any]]) -> list[str]:
    """Cases and tables in which a run failed or its rows differ from those of the first run."""
    problems, expected = [], {}
    for one in runs:
        case = Case(one["output"], one["days"])
        if "error" in one:
            problems.append(f"{case.title}: {one['contestant']} failed: {one['error']}")
            continue
        for table, found in one["fingerprint"].items():
            name, rows = expected.setdefault((case, table), (one["contestant"], found))
            different = [day for day in rows if rows[day] != found.get(day)]
            if different:
                problems.append(
                    f"{case.title}: {table} of {one['contestant']} differs from that of {name} on "
                    f"{', '.join(different)}"
                )
    return problems


def self_test() -> None:
    """Write a small day, perturb one value at a time, and require that each is noticed."""
    select = (
        "SELECT (i * 7)::BIGINT AS customer_id, {items}::INT[] AS action_items, "
        "[2, {type}]::TINYINT[] AS action_types, [1, {ago}]::SMALLINT[] AS action_days_ago "
        "FROM range({rows}) t(i) ORDER BY {order}"
    )
    good = {"items": "[i, i + 1]", "type": "3", "ago": "2", "rows": 1000, "order": "customer_id"}
    faults = {
        "one item of one row": {"items": "[i, CASE WHEN i = 500 THEN 0 ELSE i + 1 END]"},
        "two items in another order": {"items": "CASE WHEN i = 7 THEN [8, 7] ELSE [i, i + 1] END"},
        "a null for one item": {"items": "[i, CASE WHEN i = 3 THEN NULL ELSE i + 1 END]"},
        "one type of one row": {"type": "CASE WHEN i = 999 THEN 1 ELSE 3 END"},
        "one days_ago of one row": {"ago": "CASE WHEN i = 0 THEN 1 ELSE 2 END"},
        "a missing row": {"rows": 999},
        "rows out of order": {"order": "customer_id DESC"},
    }
    with tempfile.TemporaryDirectory() as scratch:

        def print_of(name: str, options: str = "", **changes: Any) -> dict[str, Any]:
            folder = Path(scratch) / name / "customer_history" / f"dt={LAST}"
            folder.mkdir(parents=True)
            sql = select.format(**{**good, **changes})
            duckdb.execute(f"COPY ({sql}) TO '{folder}/a.parquet' (FORMAT parquet{options})")
            try:
                return fingerprint(Path(scratch) / name, "customer_history", LAST, 1)
            except ValueError as error:
                return {"error": str(error)}

        expected = print_of("good")
        if print_of("other layout", ", ROW_GROUP_SIZE 2048, COMPRESSION zstd") != expected:
            raise SystemExit("self-test: another file layout is taken for other rows")
        for name, changes in faults.items():
            if print_of(name, **changes) == expected:
                raise SystemExit(f"self-test: {name} was not noticed")
            print(f"noticed: {name}")


# ------------------------------------------------------------------------------------------ report


def summarize(runs: list[dict[str, Any]]) -> str:
    """Median, spread and ratio to ours on Sail by case and contestant, as Markdown."""
    by_case: dict[Case, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for one in runs:
        if "error" not in one:
            by_case[Case(one["output"], one["days"])][one["contestant"]].append(one)
    lines = [
        "| case | contestant | runs | seconds, median | min to max | times ours | start s "
        "| CPU s, job | CPU s, all | peak GB | read MB | written MB | output MB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case, contestants in by_case.items():
        ours = contestants.get("ours-sail")
        base = statistics.median(one["wall_s"] for one in ours) if ours else None
        for name, found in contestants.items():

            def median(key: str, found: list[dict[str, Any]] = found) -> float:
                return statistics.median(one[key] for one in found)

            walls = [one["wall_s"] for one in found]
            output = sum(found[0]["output_bytes"].values())
            ratio = f"{median('wall_s') / base:.2f}" if base else ""
            lines.append(
                f"| {case.title} | {name} | {len(found)} | {median('wall_s'):.2f} "
                f"| {min(walls):.2f} to {max(walls):.2f} | {ratio} | {median('start_s'):.2f} "
                f"| {median('cpu_s'):.1f} | {median('process_cpu_s'):.1f} "
                f"| {median('peak_rss_bytes') / 1e9:.2f} | {median('rchar') / 1e6:.0f} "
                f"| {median('wchar') / 1e6:.0f} | {output / 1e6:.0f} |"
            )
    return "\n".join(lines)


def plot(runs: list[dict[str, Any]], title: str, path: Path) -> None:
    """Seconds by contestant, a panel for each case; bars are medians, lines the spread."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "scripts"
    import matplotlib.pyplot as plt

    good = [one for one in runs if "error" not in one]
    cases = list(dict.fromkeys(Case(one["output"], one["days"]) for one in good))
    columns = min(2, len(cases))
    rows = -(-len(cases) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 2.2 * rows), squeeze=False)
    for axis in axes.flat[len(cases) :]:
        axis.remove()
    for case, axis in zip(cases, axes.flat, strict=False):
        walls: dict[str, list[float]] = defaultdict(list)
        for one in good:
            if Case(one["output"], one["days"]) == case:
                walls[one["contestant"]].append(one["wall_s"])
        for place, (name, seconds) in enumerate(walls.items()):
            middle = statistics.median(seconds)
            colour = "#1f5f99" if name.startswith("ours") else "#b4b9be"
            axis.barh(place, middle, color=colour, height=0.62)
            axis.plot([min(seconds), max(seconds)], [place, place], color="#333333", linewidth=1.2)
            axis.annotate(
                f"{middle:.1f}",
                (max(seconds), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axis.set_yticks(range(len(walls)), walls)
        axis.invert_yaxis()
        axis.set_title(case.title, fontsize=9, loc="left")
        axis.set_xlim(0, 1.15 * max(max(seconds) for seconds in walls.values()))
        axis.tick_params(labelsize=8, length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.supxlabel("seconds of the job, without start; median, line from min to max", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def about(options: argparse.Namespace, lake: Path) -> dict[str, Any]:
    def git(*command: str) -> str:
        ran = subprocess.run(
            ["git", *command], check=False, capture_output=True, text=True, cwd=HERE
        )
        return ran.stdout.strip()

    actions, customers = SIZES[options.actions]
    return {
        "commit": git("rev-parse", "--verify", "HEAD") or None,
        "is_modified": bool(git("status", "--porcelain")),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "generator": {
            "actions": actions,
            "customers": customers,
            "items": ITEMS,
            "days": NUM_DAYS,
            "last_day": str(LAST),
            "seed": SEED,
        },
        "lake": describe(lake),
        "repeats": options.repeats,
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actions", choices=SIZES, default="30M")
    parser.add_argument("--scratch", type=Path, help="where lakes are kept and outputs come and go")
    parser.add_argument("--lake", type=Path, help="a lake of that size that is there; only read")
    parser.add_argument("--days", type=int, nargs="+", default=[1, 14])
    parser.add_argument("--outputs", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=1800, help="seconds that a run may take")
    parser.add_argument(
        "--patience", type=float, default=30, help="what takes more seconds is run twice at most"
    )
    parser.add_argument("--label", help="to add to the names of the results")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args(arguments)
    if not options.self_test and options.scratch is None:
        parser.error("--scratch is needed: a folder with room for the lakes")
    return options


def main() -> None:
    options = parse()
    self_test()
    if options.self_test:
        return
    scratch = options.scratch = options.scratch.absolute()
    scratch.mkdir(parents=True, exist_ok=True)
    lake = options.lake.absolute() if options.lake else prepare(options.actions, scratch)
    compact(lake, options)
    cases = [Case(output, days) for output in options.outputs for days in options.days]
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / "-".join(filter(None, ["scripts", options.actions, options.label]))
    runs: list[dict[str, Any]] = []
    problems: list[str] = []
    started = time.monotonic()
    for repeat in range(options.repeats):
        for case in cases:
            for contestant in options.contestants:
                if ONLY.get(contestant, case.output) != case.output:
                    continue
                if is_slow(runs, contestant, case, options.patience):
                    continue
                one = run(contestant, case, lake, own_folder(scratch), options)
                runs.append({"repeat": repeat, **one})
                shown = one.get("error") or f"{one['wall_s']:.2f} s, {one['cpu_s']:.1f} CPU s"
                print(
                    f"{repeat + 1}/{options.repeats} {case.title}, {contestant}: {shown}",
                    flush=True,
                )
        # After each repeat, so that a campaign that is interrupted leaves what it has.
        problems = disagreements(runs)
        content = {**about(options, lake), "problems": problems, "runs": runs}
        path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    table = summarize(runs)
    print(f"\n{table}\n\n{len(runs)} runs in {time.monotonic() - started:.0f} s")
    path.with_suffix(".md").write_text(table + "\n")
    plot(runs, f"{options.actions} actions, {options.threads} threads", path.with_suffix(".svg"))
    for problem in problems:
        print(problem)
    print("DIFFERENT" if problems else "all contestants wrote the same rows")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
