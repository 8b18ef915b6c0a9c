"""Small charts as inline SVG, made by matplotlib; text stays text in the page's own font."""

import io
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from training_assets.errors import SettingsError

NOW: Final = "#4F43DD"
BEFORE: Final = "#B9BDCB"
INK: Final = "#5A6072"
_SIZE: Final = (3.6, 1.5)  # inches of 72 points: 259 x 108, scaled by the page
_MAX_LABEL: Final = 10


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SettingsError(
            "report: matplotlib is not installed; expected the extra. Run "
            "pip install 'training-assets[report]'."
        ) from None
    return Figure(figsize=_SIZE, layout="constrained")


def line_chart(series: Mapping[date, float], title: str, *, is_share: bool = False) -> str:
    """Values by day; the last one is marked. Days that are missing are a gap."""
    figure = _figure()
    axes = figure.subplots()
    days = sorted(series)
    values = [series[day] for day in days]
    numbers = [day.toordinal() for day in days]
    axes.plot(numbers, values, color=NOW, linewidth=1.6, solid_capstyle="round")
    axes.plot(numbers[-1:], values[-1:], "o", color=NOW, markersize=4.5)
    axes.set_ylim(*_limits(values, is_share))
    first, last = (f"{day.day} {day:%b}" for day in (days[0], days[-1]))
    axes.set_xticks([numbers[0], numbers[-1]] if len(days) > 1 else numbers[:1])
    axes.set_xticklabels([first, last][: min(2, len(days))])
    _plain(axes)
    if is_share:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    return _svg(figure, title)


def bar_chart(labels: Sequence[str], before: Sequence[int], now: Sequence[int], title: str) -> str:
    """Shares by bin, before and now beside each other."""
    figure = _figure()
    axes = figure.subplots()
    places = range(len(labels))
    old, new = ([100 * n / max(1, sum(counts)) for n in counts] for counts in (before, now))
    axes.bar([x - 0.2 for x in places], old, 0.4, color=BEFORE)
    axes.bar([x + 0.2 for x in places], new, 0.4, color=NOW)
    axes.set_xticks(list(places))
    shown = [
        label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…" for label in labels
    ]
    is_crowded = sum(map(len, shown)) > 32
    # A category such as "$10-$20" is no formula.
    axes.set_xticklabels(
        shown,
        rotation=35 if is_crowded else 0,
        ha="right" if is_crowded else "center",
        parse_math=False,
    )
    _plain(axes)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    return _svg(figure, title)


def _limits(values: Sequence[float], is_share: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if not is_share:
        return min(0.0, low), high * 1.15 or 1.0
    room = max(0.01, (high - low) * 0.3)
    return low - room, min(1.002, high + room)


def _plain(axes: Any) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(BEFORE)
    axes.tick_params(length=0, colors=INK, labelsize=7.5)
    axes.grid(axis="y", color="#ECEDF2", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(axis="y", nbins=4)


def _svg(figure: Any, title: str) -> str:
    import matplotlib

    sink = io.StringIO()
    # The same figures give the same bytes; fonts are the page's.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(
            sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 inherit; font-size: \1", text)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    return re.sub(r"\n\s*", "\n", text)
