"""The platform itself, by its own functions.

    python benchmarks/baselines/ours.py --engine sail|spark --lake L --out O --first D --last D \
        --output history|published --threads 2

``history`` writes customer_history as a run does and commits it, ``published`` goes on to
training_input and commits both, without checks, as the other contestants have none; ``--checked``
runs ``build_days`` as it is, with all of them. Action blocks that the lake has are used;
``--unprepared`` hides them, so that they are made within the job.
"""

from typing import Any, Final

from job import Clock, Job, days_between, parse

from training_assets import spark_session
from training_assets.lake import Lake, NewDay, publish
from training_assets.pipeline import build_days
from training_assets.provenance import Provenance
from training_assets.settings import Settings
from training_assets.tables import Build, customer_history, training_input, unified_actions
from training_assets.tables.action_blocks import BLOCKS

ENGINES: Final = ("sail", "spark")


def open_lake(job: Job, links: list[str]) -> Lake:
    """A lake at ``job.out`` that shares some tables of ``job.lake`` and keeps its own outputs."""
    job.out.mkdir(parents=True, exist_ok=True)
    for name in links:
        (job.lake / name).mkdir(exist_ok=True)
        (job.out / name).symlink_to(job.lake / name)
    return Lake.at(job.out)


def build(spark: Any, lake: Lake, settings: Settings, job: Job) -> dict[str, float]:
    """The tables of the days, written as in a run and published without checks."""
    specs = [customer_history.SPEC, training_input.SPEC]
    one = Build(spark, settings, Provenance(lake, settings), print)
    for spec in specs if job.is_published else specs[:1]:
        one.provenance.look_again_at_tables()
        written = spec.build(one, job.days)
        new = {
            day: NewDay(files.files, files.bounds, {"inputs": ""}) for day, files in written.items()
        }
        before = lake.snapshot(spec.name)
        publish(lake.table_store(spec.name), spec.table, new, before, {"run": one.run})
    return {}


def build_checked(
    spark: Any, lake: Lake, settings: Settings, job: Job, from_raw_days: int
) -> dict[str, float]:
    """Both tables as a run makes them; with ``from_raw_days``, that many days of actions first."""
    seconds: dict[str, dict[str, float]] = {}
    spans = [([customer_history.SPEC, training_input.SPEC], job.days)]
    if from_raw_days:
        last = job.days[-1]
        days = days_between(last.fromordinal(last.toordinal() - from_raw_days + 1), last)
        spans.insert(0, ([unified_actions.SPEC], days))
    for specs, days in spans:
        for report in build_days(spark, lake, settings, specs, days):
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
    links = ["raw"] if given.from_raw else ["raw", unified_actions.SPEC.name]
    if not given.unprepared and not given.from_raw:
        links.append(BLOCKS)
    lake = open_lake(job, links)
    settings = Settings(lake=lake.store.url, lookback_days=given.lookback)
    master = f"local[{job.threads}]"
    with spark_session(given.engine, master=master, memory=given.memory) as spark:
        clock.ready()
        if given.checked or given.from_raw:
            clock.report(**build_checked(spark, lake, settings, job, given.from_raw))
        else:
            clock.report(**build(spark, lake, settings, job))


if __name__ == "__main__":
    main()
