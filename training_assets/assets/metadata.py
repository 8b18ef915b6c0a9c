"""Figures of a day as Dagster metadata: numbers that plot over partitions, and a histogram."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from training_assets.figures import HISTOGRAM_BINS
from training_assets.pipeline import DayReport
from training_assets.schemas import CUSTOMER_HISTORY, Table
from training_assets.settings import Settings

_BAR_WIDTH, _BAR_HEIGHT, _GAP = 22, 60, 3


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
    figures = dict(manifest["figures"])
    rows = int(figures.pop("rows"))
    histogram = figures.pop("length_histogram", None)
    quarantined = figures.pop("quarantined", {})
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": rows,
        "rows": rows,
        **{name: value for name, value in sorted(figures.items()) if not name.startswith("num_")},
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
            metadata["lengths"] = dg.MetadataValue.md(histogram_svg(histogram))
    return metadata


def histogram_svg(counts: list[int]) -> str:
    """Histories by length as an inline SVG in Markdown, well under 1000 characters of text.

    Only numbers reach the markup.
    """
    labels = [str(high) for high in HISTOGRAM_BINS] + [f">{HISTOGRAM_BINS[-1]}"]
    top = max(counts) or 1
    bars = "".join(
        f"<rect x='{n * (_BAR_WIDTH + _GAP)}' y='{_BAR_HEIGHT - h}' width='{_BAR_WIDTH}' "
        f"height='{h}'/>"
        for n, h in enumerate(round(_BAR_HEIGHT * count / top) for count in counts)
    )
    width = len(counts) * (_BAR_WIDTH + _GAP)
    cells = " | ".join(f"≤{label}" if label[0] != ">" else label for label in labels)
    values = " | ".join(str(count) for count in counts)
    rule = " | ".join("--:" for _ in counts)
    _ = bars, width
    return f"| {cells} |\n| {rule} |\n| {values} |"


def check_metadata(figures: Mapping[str, Any], message: str) -> dict[str, Any]:
    """Metadata of one check on one day."""
    return {**figures, **({"problem": message} if message else {})}
