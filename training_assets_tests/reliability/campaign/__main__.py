"""Everything that can go wrong, tried: writes docs/reliability.md.

    python -m training_assets_tests.reliability.campaign --out docs/reliability.md
    python -m training_assets_tests.reliability.campaign --out docs/reliability.md \\
        --campaign fuzz --fuzz-seconds 60

Campaigns: bad_input (raw data of every bad kind), kills (processes killed at random moments),
breakdowns (full and read-only disks, S3 servers that fail, engines that die), races (several runs
at once), late_data (raw data that comes or changes late), fuzz (made-up files),
transactions (feed and detector, and their database), service_contract (random requests after the
OpenAPI document), service_kills and service_consumer (the service and the consumers of its topics
killed under load).

A campaign that is run by itself replaces its own rows only; those of the others are kept from
benchmarks/results/reliability.json. Exit code 1 where a row was lost, a day was torn, or anything
was not as promised.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training_assets_tests.reliability.campaign import report
from training_assets_tests.reliability.campaign.outcome import Outcome

CAMPAIGNS = (
    "bad_input",
    "kills",
    "breakdowns",
    "races",
    "late_data",
    "fuzz",
    "transactions",
    "service_contract",
    "service_kills",
    "service_consumer",
)
RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "reliability.json"
_PACKAGES = ("pyspark", "pysail", "pyarrow", "deltalake", "dagster", "hypothesis")


def main() -> None:
    given = _arguments()
    ran: dict[str, Any] = {}
    names = CAMPAIGNS if given.campaign == "all" else (given.campaign,)
    for name in names:
        times = given.fuzz_seconds if name == "fuzz" else given.times
        print(f"== {name}", flush=True)
        started = time.monotonic()
        # Imported one by one: a campaign needs no more than it uses.
        campaign = importlib.import_module(f"training_assets_tests.reliability.campaign.{name}")
        with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
            outcomes = campaign.run(Path(scratch), given.seed, times)
        ran[name] = {
            "provenance": _provenance(name, given, time.monotonic() - started),
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        # After each, so that a later one that breaks costs none of those before it.
        known = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | ran
        known = {key: known[key] for key in CAMPAIGNS if key in known}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
        given.out.write_text(report.markdown(known))
    found = [Outcome(**row) for name in names for row in ran[name]["outcomes"]]
    bad = [outcome for outcome in found if report.is_bad(outcome)]
    for outcome in bad:
        print(f"{outcome.campaign}: {outcome.kind}: {outcome.result}")
    print(
        f"{len(found)} kinds, {sum(o.times for o in found):,} times: "
        f"{sum(o.lost_rows for o in found)} rows lost, {sum(o.torn_days for o in found)} days torn"
    )
    sys.exit(bool(bad))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--campaign", choices=[*CAMPAIGNS, "all"], default="all")
    parser.add_argument("--times", type=int, default=20, help="of each fault, where it is random")
    parser.add_argument("--fuzz-seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="where lakes are made; the system's default")
    return parser.parse_args()


def _provenance(name: str, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    knobs = {"fuzz": f"--fuzz-seconds {given.fuzz_seconds}", "bad_input": ""}
    command = (
        f"python -m training_assets_tests.reliability.campaign --out {given.out} --campaign {name} "
    )
    command += knobs.get(name, f"--times {given.times}")
    return {
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in _PACKAGES},
        "seed": given.seed,
        "command": f"{command.strip()} --seed {given.seed}",
        "seconds": round(seconds, 1),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _commit() -> str:
    """The commit of the code, marked where there are changes besides."""

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", Path(__file__).parent, *args],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    changes = git("status", "--porcelain", "--", "../../../training_assets")
    return f"{git('rev-parse', '--short', 'HEAD') or 'unknown'}{' with changes' if changes else ''}"


if __name__ == "__main__":
    main()
