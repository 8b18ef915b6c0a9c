"""What stands in the columns of a day, as counts that can be added: the day's profile.

    {"rows": 3300,
     "columns":  {"action_items": {"nulls": 0},
                  "price": {"nulls": 12, "low": 0.5, "high": 99.0}, …},
     "features": {"action_items.length": {"bins": {"0": 10, "16368": 42, …}},
                  "action_types.kinds": {"levels": {"1": 900, "2": 80, "3": 20}}, …},
     "newest":   {"occurred_at": 1714521600000000},
     "segments": {"column": "action_type", "of": {"1": {"rows": …, "features": …}, …}}}

It lies beside the day's manifest, and is a pure function of the day's files. A feature is a column,
or what is watched of one: the length of a list, its elements, the hour of a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

# Levels of a category that are kept by name; the others are counted together.
MAX_LEVELS: Final = 200


@dataclass
class Feature:
    """Counts of values: by bin for numbers, by level for categories; ``rest`` are other levels."""

    bins: dict[int, int] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    nulls: int = 0
    rest: int = 0
    is_category: bool = False

    @property
    def total(self) -> int:
        return sum(self.bins.values()) + sum(self.levels.values()) + self.nulls + self.rest

    @property
    def is_text(self) -> bool:
        """Whether these are names or other texts, of which most stand for themselves."""
        return self.rest > sum(self.levels.values())

    def add(self, other: "Feature") -> None:
        for key, count in other.bins.items():
            self.bins[key] = self.bins.get(key, 0) + count
        for level, count in other.levels.items():
            self.levels[level] = self.levels.get(level, 0) + count
        self.nulls += other.nulls
        self.rest += other.rest
        self.is_category |= other.is_category

    def trimmed(self) -> "Feature":
        """Only the most frequent levels by name."""
        ordered = sorted(self.levels.items(), key=lambda pair: (-pair[1], pair[0]))
        kept, others = ordered[:MAX_LEVELS], ordered[MAX_LEVELS:]
        rest = self.rest + sum(count for _, count in others)
        return Feature(dict(self.bins), dict(kept), self.nulls, rest, self.is_category)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.is_category:
            found["levels"] = self.levels
        else:
            found["bins"] = {str(key): count for key, count in sorted(self.bins.items())}
        if self.nulls:
            found["nulls"] = self.nulls
        if self.rest:
            found["rest"] = self.rest
        return found

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> "Feature":
        return cls(
            {int(key): int(count) for key, count in found.get("bins", {}).items()},
            {str(level): int(count) for level, count in found.get("levels", {}).items()},
            int(found.get("nulls", 0)),
            int(found.get("rest", 0)),
            "levels" in found,
        )


@dataclass
class Column:
    """Rows without a value, and the smallest and largest number."""

    nulls: int = 0
    low: float | None = None
    high: float | None = None

    def add(self, other: "Column") -> None:
        self.nulls += other.nulls
        if other.low is not None:
            self.low = other.low if self.low is None else min(self.low, other.low)
        if other.high is not None:
            self.high = other.high if self.high is None else max(self.high, other.high)

    def to_json(self) -> dict[str, Any]:
        found = {"nulls": self.nulls, "low": self.low, "high": self.high}
        return {name: value for name, value in found.items() if value is not None}


@dataclass
class Profile:
    """Of a day, of one file of it, or of several days together."""

    rows: int = 0
    columns: dict[str, Column] = field(default_factory=dict)
    features: dict[str, Feature] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    segment_column: str = ""
    segments: dict[str, "Profile"] = field(default_factory=dict)

    @classmethod
    def sum(cls, profiles: Sequence["Profile"]) -> "Profile":
        """All rows together; a segment that only some have counts from those."""
        total = cls()
        for profile in profiles:
            total.add(profile)
        return total

    def add(self, other: "Profile") -> None:
        self.rows += other.rows
        for name, column in other.columns.items():
            self.columns.setdefault(name, Column()).add(column)
        for name, feature in other.features.items():
            self.features.setdefault(name, Feature()).add(feature)
        for name, at in other.newest.items():
            self.newest[name] = max(self.newest.get(name, at), at)
        self.segment_column = other.segment_column or self.segment_column
        for name, segment in other.segments.items():
            self.segments.setdefault(name, Profile()).add(segment)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "rows": self.rows,
            "columns": {name: column.to_json() for name, column in self.columns.items()},
            "features": {n: f.trimmed().to_json() for n, f in self.features.items()},
        }
        if self.newest:
            found["newest"] = self.newest
        if self.segments:
            of = {name: segment.to_json() for name, segment in self.segments.items()}
            found["segments"] = {"column": self.segment_column, "of": of}
        return found

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> "Profile":
        segments = found.get("segments", {})
        return cls(
            int(found["rows"]),
            {name: Column(**column) for name, column in found.get("columns", {}).items()},
            {name: Feature.of_json(f) for name, f in found.get("features", {}).items()},
            {name: int(at) for name, at in found.get("newest", {}).items()},
            str(segments.get("column", "")),
            {name: cls.of_json(segment) for name, segment in segments.get("of", {}).items()},
        )
