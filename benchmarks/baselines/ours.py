"""The platform itself, by its own functions.

    python benchmarks/baselines/ours.py --engine sail|spark --lake L --out O --first D --last D \
        --output history|published --threads 2

``history`` stages customer_history as a run does and moves it in, ``published`` goes on to
training_input and publishes both, without checks, as the other contestants have none;
``--checked`` runs ``build_days`` as it is, with all of them. Compacted blocks that the lake has are
used; ``--unprepared`` hides them, so that they are made within the job.
"""

from pathlib import Path
from typing import Any, Final

from job import Clock, Job, days_between, parse

from training_assets import spark_session
from training_assets.lake import Lake, stage_days
from training_assets.pipeline import build_days
from training_assets.pipeline.action_blocks import COMPACTED
from training_assets.pipeline.stages import STAGES, Build
from training_assets.provenance import Provenance
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS
from training_assets.settings import Settings

ENGINES: Final = ("sail", "spark")


def open_lake(job: Job, links: list[str]) -> Lake:
    """A lake at ``job.out`` that shares some tables of ``job.lake`` and keeps its own outputs."""
    job.out.mkdir(parents=True, exist_ok=True)
    for name in links:
        (job.lake / name).mkdir(exist_ok=True)
        (job.out / name).symlink_to(job.lake / name)
    return Lake(job.out)


def build(spark: Any, lake: Lake, settings: Settings, job: Job) -> dict[str, float]:
    """The tables of the days, staged as in a run and published without checks."""
    tables = [CUSTOMER_HISTORY, TRAINING_INPUT] if job.is_published else [CUSTOMER_HISTORY]
    with stage_days(lake, job.days, wait_seconds=0, progress=print) as staging:
        one = Build(spark, lake, settings, staging, print, Provenance(lake, settings))
        for table in tables:
            STAGES[table.name](one, job.days)
            for day in job.days:
                staging.publish(table.name, day, {})
    return {}


def build_checked(
    spark: Any, lake: Lake, settings: Settings, job: Job, from_raw_days: int
) -> dict[str, float]:
    """Both tables as a run makes them; with ``from_raw_days``, that many days of actions first."""
    seconds: dict[str, dict[str, float]] = {}
    spans = [([CUSTOMER_HISTORY, TRAINING_INPUT], job.days)]
    if from_raw_days:
        last = job.days[-1]
        days = days_between(last.fromordinal(last.toordinal() - from_raw_days + 1), last)
        spans.insert(0, ([UNIFIED_ACTIONS], days))
    for tables, days in spans:
        for report in build_days(spark, lake, settings, tables, days):
            if report.problem:
                raise SystemExit(report.problem)
            seconds[report.table] = report.seconds
    stages = sorted({name for table in seconds.values() for name in table})
    return {f"{s}_s": round(sum(t.get(s, 0.0) for t in seconds.values()), 3) for s in stages}


def add_options(parser: Any) -> None:
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--unprepared", action="store_true")
    parser.add_argument("--checked", action="store_true")
    parser.add_argument("--from-raw", type=int, default=0, metavar="DAYS")
    parser.add_argument("--lookback", type=int, default=365)
    parser.add_argument("--memory", default="8g", help="driver heap of Spark")


def main() -> None:
    clock = Clock()
    job, given = parse(__doc__, add_options)
    links = ["raw"] if given.from_raw else ["raw", UNIFIED_ACTIONS.name]
    if not given.unprepared and not given.from_raw:
        links.append(COMPACTED)
    lake = open_lake(job, links)
    settings = Settings(lake=Path(lake.root), lookback_days=given.lookback)
    master = f"local[{job.threads}]"
    with spark_session(given.engine, master=master, memory=given.memory) as spark:
        clock.ready()
        if given.checked or given.from_raw:
            clock.report(**build_checked(spark, lake, settings, job, given.from_raw))
        else:
            clock.report(**build(spark, lake, settings, job))


if __name__ == "__main__":
    main()
