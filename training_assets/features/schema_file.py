"""Writes ``data/schemas/v{N}.json`` and ``docs/features.md`` from what is declared.

    python -m training_assets.features.schema_file           writes both
    python -m training_assets.features.schema_file --check   exits 1, with a diff, if one differs

A version that is written stays as it is: days that were built by it say so. Whoever changes a
feature raises ``FEATURES_VERSION``; the command refuses to write another schema under a version
that exists, except with ``--overwrite``, for one that no lake has seen yet.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from training_assets.errors import SchemaError
from training_assets.features.feature import Feature, FeatureTable
from training_assets.features.measures import ACTIONS
from training_assets.features.published import FEATURES_VERSION, schema_of
from training_assets.features.registry import BUILT_IN


def schema_text(tables: Mapping[str, FeatureTable] = BUILT_IN) -> str:
    return json.dumps(schema_of(tables), indent=2) + "\n"


def catalogue_text(tables: Mapping[str, FeatureTable] = BUILT_IN) -> str:
    """The page of all features, in Markdown."""
    return "\n".join(_page(tables)) + "\n"


def _page(tables: Mapping[str, FeatureTable]) -> Iterator[str]:
    yield "# Features"
    yield ""
    yield (
        f"Version {FEATURES_VERSION}. Generated from the declarations by "
        "`python -m training_assets.features.schema_file`; do not edit."
    )
    yield ""
    yield (
        "A row of day `dt` knows the actions of `dt - lookback_days <= day < dt` and the catalogue "
        "of days before `dt`. *Empty* is the value where nothing was there to be counted."
    )
    for table in tables.values():
        yield ""
        yield f"## {table.name}"
        yield ""
        yield f"A row is {table.grain}. Key: {', '.join(('dt', *table.key))}."
        yield ""
        yield "| column | type | what it is | computed as | from | window | empty | range |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from (_line(feature) for feature in table.features)


def _line(feature: Feature) -> str:
    window = "–"
    if feature.windows:
        window = ", ".join(f"{days} days" for days in feature.windows)
    elif feature.has_lookback:
        window = "look-back"
    low, high = ("" if end is None else f"{end:g}" for end in (feature.low, feature.high))
    cells = (
        f"`{feature.name}`",
        feature.type,
        feature.description,
        str(feature.measure),
        "all actions" if feature.kinds == ACTIONS else ", ".join(feature.kinds),
        window,
        "null" if feature.empty is None else str(feature.empty),
        f"{low}…{high}" if low or high else "",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def files(root: Path) -> dict[Path, str]:
    """What belongs into which file below ``root``, the checkout."""
    return {
        root / "data" / "schemas" / f"v{FEATURES_VERSION}.json": schema_text(),
        root / "docs" / "features.md": catalogue_text(),
    }


def difference(path: Path, text: str) -> str:
    """A unified diff from the file, empty if there is none, to what belongs into it."""
    found = path.read_text() if path.exists() else ""
    lines = difflib.unified_diff(
        found.splitlines(keepends=True), text.splitlines(keepends=True), str(path), "declared"
    )
    return "".join(lines)


def write(root: Path, *, overwrite: bool = False) -> None:
    """Write both files; raises ``SchemaError`` for a schema that its version does not have."""
    for path, text in files(root).items():
        changes = difference(path, text)
        if changes and path.exists() and path.suffix == ".json" and not overwrite:
            raise SchemaError(
                f"{path.name}: version {FEATURES_VERSION} has another schema; expected a new "
                f"version for changed features. Raise FEATURES_VERSION.\n{changes}"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Schema and catalogue of features.")
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout; default: here")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if one differs")
    parser.add_argument("--overwrite", action="store_true", help="a version that no lake has seen")
    chosen = parser.parse_args(arguments)
    if not chosen.check:
        write(chosen.root, overwrite=chosen.overwrite)
        return 0
    changes = [difference(path, text) for path, text in files(chosen.root).items()]
    sys.stdout.writelines(changes)
    return int(any(changes))


if __name__ == "__main__":
    sys.exit(main())
