"""The outcomes of all campaigns as docs/reliability.md."""

import html
import re
from typing import Any

from training_assets_tests.reliability.campaign.outcome import Outcome

_ABOUT = {
    "bad_input": "Raw data of every bad kind, planted into a small lake and run through the whole "
    "pipeline; times counts raw tables and formats. Published days are compared with a brute-force "
    "reference, and every row that they lack must be in the quarantine with reason, file and "
    "content.",
    "kills": "Processes killed at random moments of a run; the next run repairs. At every named "
    "step of a run, `training_assets_tests/reliability/test_publishing.py` kills processes.",
    "breakdowns": "The disk of the lake is full or read-only, its S3 server fails, or the engine "
    "dies, under a run.",
    "races": "Two runs at once, while one reader opens the Delta tables and the loader reads days.",
    "late_data": "Raw data that comes, changes or goes after its day was published.",
    "fuzz": "Made-up files and changed bytes, read as the workers read them; times counts files.",
    "transactions": "The feed of transactions and the detector of patterns in it. Afterwards all "
    "tables, chunks and files are compared with those of an undisturbed run.",
    "service_contract": "Random requests after the service's OpenAPI document, valid and invalid "
    "ones, by Schemathesis; times counts requests.",
    "service_kills": "The service killed at random moments while three clients upload files and "
    "repeat what was not answered. At every step of the protocol, "
    "`training_assets_tests/unit/service/test_uploads.py` kills it.",
    "service_consumer": "Two consumers of the topics killed at random moments while messages come "
    "in, every thousandth of them broken.",
}
_HEAD = """# Reliability, measured

Made by `{command}`; the raw figures are in
[`benchmarks/results/reliability.json`](../benchmarks/results/reliability.json). A row is lost when
it is neither in a table nor in the quarantine though its day was published; a day is torn when it
is neither the old nor the new one, whole. Both must be 0 everywhere.
"""


def is_bad(outcome: Outcome) -> bool:
    is_odd = outcome.result.startswith("NOT AS PROMISED")
    return bool(outcome.lost_rows or outcome.torn_days or is_odd)


def markdown(campaigns: dict[str, Any]) -> str:
    parts = [
        _HEAD.format(
            command="python -m training_assets_tests.reliability.campaign --out docs/reliability.md"
        )
    ]
    totals, sections = [], []
    for name, campaign in campaigns.items():
        outcomes = [Outcome(**row) for row in campaign["outcomes"]]
        totals.append(_totals(f"[{name}](#{name})", outcomes, campaign["provenance"]["seconds"]))
        sections.append(_section(name, outcomes, campaign["provenance"]))
    everything = [Outcome(**row) for c in campaigns.values() for row in c["outcomes"]]
    seconds = sum(c["provenance"]["seconds"] for c in campaigns.values())
    totals.append(_totals("**in all**", everything, seconds))
    head = ["campaign", "kinds", "times", "lost rows", "torn days", "not as promised", "seconds"]
    parts.append(_table(head, totals))
    return "\n".join([*parts, *sections])


def _totals(name: str, outcomes: list[Outcome], seconds: float) -> list[str]:
    return [
        name,
        f"{len(outcomes):,}",
        f"{sum(o.times for o in outcomes):,}",
        f"{sum(o.lost_rows for o in outcomes):,}",
        f"{sum(o.torn_days for o in outcomes):,}",
        f"{sum(map(is_bad, outcomes)):,}",
        f"{seconds:,.0f}",
    ]


def _section(name: str, outcomes: list[Outcome], provenance: dict[str, Any]) -> str:
    versions = ", ".join(f"{key} {value}" for key, value in provenance["versions"].items())
    made = (
        f"Commit {provenance['commit']}; {versions}; {provenance['machine']}; "
        f"{provenance['seconds']:,.0f} s. `{provenance['command']}`"
    )
    rows = [
        [_plain(o.kind), f"{o.times:,}", _plain(o.result), str(o.lost_rows), str(o.torn_days)]
        for o in outcomes
    ]
    table = _table(["fault", "times", "outcome", "lost rows", "torn days"], rows)
    return f"## {name}\n\n{_ABOUT[name]}\n\n{made}\n\n{table}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _plain(text: str) -> str:
    """Text that no Markdown reader takes for markup."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\|*_`\[\]#~])", r"\\\1", escaped)
