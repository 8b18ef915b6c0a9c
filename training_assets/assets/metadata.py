"""Metrics of a day as Dagster metadata: numbers that plot over partitions, and a histogram."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import dagster as dg

from training_assets.checks import HISTOGRAM_BINS
from training_assets.pipeline import DayReport
from training_assets.schemas import Table
from training_assets.settings import Settings
from training_assets.tables import SPECS

_MAX_DAYS = 20
_BAR_WIDTH, _BAR_HEIGHT, _STEP = 22, 48, 25


def column_schema(table: Table) -> dg.TableSchema:
    """The declared columns, with what they mean."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                type=column.type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.is_optional),
            )
            for column in table.columns
        ]
    )


def place_value(place: str) -> dg.MetadataValue[Any]:
    """Where something lies: a local path, or the URL of a store."""
    return dg.MetadataValue.text(place) if "://" in place else dg.MetadataValue.path(place)


def day_metadata(
    report: DayReport, settings: Settings, place: str, num_days: int
) -> dict[str, Any]:
    """Metadata of one published day; seconds are those of the range, evenly over its days."""
    manifest = report.manifest
    metrics = dict(manifest["figures"])
    rows = int(metrics.pop("rows"))
    histogram = metrics.pop("length_histogram", None)
    quarantined = metrics.pop("quarantined", {})
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": rows,
        "rows": rows,
        **{name: value for name, value in sorted(metrics.items()) if not name.startswith("num_")},
        **{f"quarantined_{source}": count for source, count in quarantined.items()},
        "bytes": manifest["bytes"],
        "files": manifest["files"],
        "path": place_value(place),
        "changed": report.has_changed,
    }
    for step, seconds in report.seconds.items():
        metadata[f"seconds_{step}"] = round(seconds / num_days, 3)
    if any(upstream.looks_back for upstream in SPECS[report.table].built_from.upstream):
        metadata["window_start"] = str(settings.window_start(report.day) or "unlimited")
        recorded = manifest["settings"].items()
        metadata |= {name: value for name, value in recorded if isinstance(value, int | str)}
    if missing := manifest.get("incomplete_window"):
        metadata["incomplete_window"] = ", ".join(missing[:_MAX_DAYS])
    if histogram:
        metadata["lengths"] = dg.MetadataValue.md(histogram_markdown(histogram))
    return metadata


def histogram_markdown(counts: list[int]) -> str:
    """Histories by length: an inline SVG as a Markdown image, and the counts below it.

    Bars end at the lengths of ``HISTOGRAM_BINS``. Only numbers reach the markup.
    """
    top = max(counts) or 1
    heights = [round(_BAR_HEIGHT * count / top) for count in counts]
    path = "".join(
        f"M{n * _STEP} {_BAR_HEIGHT}v-{height}h{_BAR_WIDTH}v{height}z"
        for n, height in enumerate(heights)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(counts) * _STEP}" '
        f'height="{_BAR_HEIGHT}"><path fill="#4F43DD" d="{path}"/></svg>'
    )
    labels = [f"≤{high}" for high in HISTOGRAM_BINS] + [f">{HISTOGRAM_BINS[-1]}"]
    pairs = ", ".join(
        f"{label}: {count}" for label, count in zip(labels, counts, strict=True) if count
    )
    return f"![lengths](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})\n\n{pairs}"


def check_metadata(metrics: Mapping[str, Any], message: str) -> dict[str, Any]:
    """Metadata of one check on one day."""
    found: dict[str, Any] = {**metrics, **({"problem": message} if message else {})}
    if "report_markdown" in found:
        found["report_markdown"] = dg.MetadataValue.md(str(found["report_markdown"]))
    return found
