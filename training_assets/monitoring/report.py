"""The report of a day: one HTML file that asks for nothing else, readable on a phone."""

from collections.abc import Iterable, Iterator
from datetime import date
from html import escape
from typing import Final

from training_assets.checks import CheckResult
from training_assets.monitoring.charts import bar_chart, line_chart
from training_assets.monitoring.drift import FAIL_PSI, WARN_PSI, Drift
from training_assets.monitoring.report_data import DayOfReport, Series, TableReport
from training_assets.monitoring.report_style import STYLE

MAX_BYTES: Final = 1_000_000
REPORTS: Final = "reports"
_MAX_HISTOGRAMS: Final = 6
_MAX_ROWS: Final = 40


def report_path(day: date) -> str:
    """Where the report of a day lies in the lake."""
    return f"{REPORTS}/{day}.html"


def render_report(found: DayOfReport, place: str) -> str:
    """The page; ``place`` is where the lake lies."""
    body = "".join(
        [
            _head(found, place),
            *_sections(found),
            "<footer>Made from what is recorded with the published days. PSI: population stability "
            f"index against the 28 days before; {WARN_PSI:g} warns, {FAIL_PSI:g} fails, beyond "
            "what is noise.</footer>",
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>Report of {found.day}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _head(found: DayOfReport, place: str) -> str:
    failed = found.failed
    errors = sum(result.severity == "error" for result in failed)
    kind = "fail" if errors else "warn" if failed else "good"
    watches = sum(len(table.verdicts) for table in found.tables)
    text = {
        "good": f"All {watches} watches are quiet.",
        "warn": f"{len(failed)} of {watches} watches warn.",
        "fail": f"{errors} of {watches} watches fail"
        + (f", {len(failed) - errors} warn." if len(failed) > errors else "."),
    }[kind]
    missing = (
        f'<p class="note">Not published for the day: {escape(", ".join(found.missing))}.</p>'
        if found.missing
        else ""
    )
    items = "".join(_finding(result) for result in failed)
    return (
        f"<header><h1>{found.day:%A}, {found.day.day} {found.day:%B %Y}</h1>"
        f'<p class="place">{escape(place)}</p></header>'
        f'<section class="verdict {kind}"><h2>{text}</h2>{missing}<ul>{items}</ul></section>'
    )


def _finding(result: CheckResult) -> str:
    kind = "fail" if result.severity == "error" else "warn"
    name = f"{result.check.table} {result.check.name}"
    return (
        f'<li><span class="tag {kind}">{escape(result.severity)}</span> '
        f"<b>{escape(name)}</b> {escape(result.message)}</li>"
    )


def _sections(found: DayOfReport) -> Iterator[str]:
    drift = [(t, n, d) for t in found.tables for n, d in t.drift.items() if n not in t.growing]
    drift = [entry for entry in drift if len(entry[2].labels) > 1]
    drift.sort(key=lambda entry: (-entry[2].psi, entry[0].name, entry[1]))
    yield _section("Drift", "Each feature now and in the 28 days before.", _drift(drift, found))
    yield _section(
        "Volume",
        "Rows by day.",
        _grid(
            (f"{t.name}: {source}" if source != "table" else t.name, series, False)
            for t in found.tables
            for source, series in t.rows.items()
            if any(series.values())
        ),
    )
    yield _section(
        "Valid rows",
        "Share of each source's rows that could be used.",
        _grid((f"{t.name}: {s}", v, True) for t in found.tables for s, v in t.valid_share.items()),
    )
    yield _section(
        "Labels",
        "Share of positives among the rows.",
        _grid((t.name, t.positives_rate, True) for t in found.tables),
    )
    yield _section("Sequences", "Length of the lists, now and before.", _lengths(found.tables))
    yield _section("Nulls", "Columns with any, fullest last.", _nulls(found.tables))
    yield _section(
        "Latency",
        "Hours from the newest event of a day until it was published.",
        _grid((t.name, t.latency_hours, False) for t in found.tables) + _seconds(found.tables),
    )


def _section(title: str, says: str, content: str) -> str:
    if not content:
        return ""
    return f"<section><h2>{title}</h2><p>{says}</p>{content}</section>"


def _grid(charts: Iterable[tuple[str, Series, bool]]) -> str:
    cards = []
    for title, series, is_share in charts:
        if not series:
            continue
        last = series[max(series)]
        shown = f"{last:.2%}" if is_share else f"{last:,.0f}" if last >= 100 else f"{last:,.3g}"
        chart = line_chart(series, title, is_share=is_share)
        cards.append(_card(title, shown, chart))
    return f'<div class="grid">{"".join(cards)}</div>' if cards else ""


def _card(title: str, figure: str, chart: str, kind: str = "") -> str:
    return (
        f'<figure class="{kind}"><figcaption>{escape(title)}<b>{escape(figure)}</b></figcaption>'
        f"{chart}</figure>"
    )


_KINDS: Final = {"fails": "fail", "warns": "warn", "passed": "", "not judged": ""}


def _drift(drift: list[tuple[TableReport, str, Drift]], found: DayOfReport) -> str:
    growing = sum(len(table.growing) for table in found.tables)
    note = (
        f'<p class="note">{growing} features are not judged yet: their look-back is still '
        "filling.</p>"
        if growing
        else ""
    )
    if not drift:
        return note or '<p class="note">Too few days before this one to compare with.</p>'
    cards = "".join(
        _card(
            f"{table.name}: {name}",
            f"PSI {entry.psi:.3f}",
            bar_chart(entry.labels, entry.before, entry.now, f"{table.name} {name}"),
            _KINDS[entry.verdict],
        )
        for table, name, entry in drift[:_MAX_HISTOGRAMS]
    )
    rows = "".join(
        f"<tr><td>{escape(table.name)}</td><td>{escape(name)}</td>"
        f'<td class="bar {_KINDS[entry.verdict]}">'
        f'<i style="width:{min(1.0, entry.psi / FAIL_PSI):.0%}"></i></td>'
        f"<td>{entry.psi:.4f}</td><td>{escape(entry.verdict)}</td></tr>"
        for table, name, entry in drift[:_MAX_ROWS]
    )
    legend = '<p class="legend"><i class="before"></i>28 days before <i class="now"></i>now</p>'
    head = '<tr><th>table</th><th>feature</th><th class="bar"></th><th>PSI</th><th></th></tr>'
    return (
        f'{note}{legend}<div class="grid">{cards}</div>'
        f'<div class="scroll"><table>{head}{rows}</table></div>'
    )


def _lengths(tables: Iterable[TableReport]) -> str:
    cards = [
        _card(
            f"{table.name}: {name}",
            f"{drift.rows_now:,} rows",
            bar_chart(drift.labels, drift.before, drift.now, f"lengths {table.name} {name}"),
        )
        for table in tables
        for name, drift in table.drift.items()
        if name.endswith(".length")
    ]
    return f'<div class="grid">{"".join(cards)}</div>' if cards else ""


def _nulls(tables: Iterable[TableReport]) -> str:
    shares = [
        (table.name, column, now, before)
        for table in tables
        for column, (now, before) in table.nulls.items()
        if now or before
    ]
    shares.sort(key=lambda entry: (entry[3] - entry[2], entry[:2]))
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(column)}</td><td>{now:.1%}</td>"
        f"<td>{before:.1%}</td></tr>"
        for name, column, now, before in shares[:_MAX_ROWS]
    )
    head = "<tr><th>table</th><th>column</th><th>now</th><th>before</th></tr>"
    return f'<div class="scroll"><table>{head}{rows}</table></div>' if rows else ""


def _seconds(tables: Iterable[TableReport]) -> str:
    rows = "".join(
        f"<tr><td>{escape(table.name)}</td><td>{escape(step)}</td><td>{seconds:.2f} s</td></tr>"
        for table in tables
        for step, seconds in table.seconds.items()
    )
    head = "<tr><th>table</th><th>step</th><th>a day took</th></tr>"
    return f'<div class="scroll"><table>{head}{rows}</table></div>' if rows else ""
