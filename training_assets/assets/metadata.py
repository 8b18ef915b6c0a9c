"""Metrics of a day as Dagster metadata: numbers that plot over partitions, and a histogram."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from training_assets.pipeline import HISTOGRAM_BINS, DayReport
from training_assets.schemas import CUSTOMER_HISTORY, Table
from training_assets.settings import Settings

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


def day_metadata(
    report: DayReport, settings: Settings, path: Path, num_days: int
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
        "path": dg.MetadataValue.path(str(path)),
        "changed": report.has_changed,
    }
    for stage, seconds in report.seconds.items():
        metadata[f"seconds_{stage}"] = round(seconds / num_days, 3)
    if report.table == CUSTOMER_HISTORY.name:
        metadata["window_start"] = str(settings.window_start(report.day) or "unlimited")
        metadata["history_length"] = settings.history_length
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
    return {**metrics, **({"problem": message} if message else {})}
