"""training_samples: positives of the day, and negatives that their customers left alone."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets import checks
from training_assets.features import (
    Feature,
    FeatureTable,
    build_pair_features,
    declared_table,
)
from training_assets.features.declared_pairs import PAIR_FEATURES
from training_assets.kernels import ActionFile
from training_assets.lake import Snapshot
from training_assets.provenance import BuiltFrom, Upstream, window_days
from training_assets.sampling.catalogue import Catalogues
from training_assets.sampling.days import FITTING_ROWS_DDL, ROWS_DDL, TASKS_DDL, sample_days
from training_assets.sampling.files import Beside, Joined, write_samples
from training_assets.sampling.gathered import GATHERED_DDL, gather, sample_gathered
from training_assets.sampling.rules import Rules, Window
from training_assets.schemas import (
    CUSTOMER_IDS,
    ITEM_IDS,
    TRAINING_SAMPLES,
    UNIFIED_ACTIONS,
    Column,
    Table,
)
from training_assets.settings import Settings
from training_assets.sources.id_tables import id_files
from training_assets.tables import item_features, unified_actions, user_features
from training_assets.tables.action_blocks import customer_ranges
from training_assets.tables.build import Batches, Build, NewFiles, by_day, number_of, write_days
from training_assets.tables.candidates import items_of_days
from training_assets.tables.feature_inputs import (
    ACTIONS_TO_DAY,
    CATALOGUE,
    looked_back,
    read_actions,
    read_catalogue,
)
from training_assets.tables.spec import TableSpec

# Up to so many all pairs that count are held at once, instead of a second look at the files.
_GATHERED_ACTIONS: Final = 2**25
_GATHERING_TASKS: Final = 64
_ACTIONS_PER_SLICE: Final = 2_000_000
_ACTIONS_PER_TASK: Final = 16_000_000
# With a catalogue more is kept of each.
_FITTING_PER_TASK: Final = 6_000_000
# Files whose statistics say where to cut the customers into ranges.
_FILES_ASKED: Final = 40
_SAMPLES_PER_FILE: Final = 500_000
_PAIRS: Final = declared_table("pair_features")
# Tables whose rows of the day are joined, by which of the samples' ids; see ``Joined``.
_JOINED: Final = (
    (user_features.BUILT_FROM, user_features.DECLARED, "customer_id", "user_"),
    (item_features.BUILT_FROM, item_features.DECLARED, "item_id", "item_"),
)
# Where ids are delivered as text; a text keeps its number for ever.
_TEXTS: Final = {"customer_id": CUSTOMER_IDS, "item_id": ITEM_IDS}
_OF_ROWS: Final = (
    "sampling_probability",
    "log_q",
    "occurred_at",
    "session_id",
    "session_position",
    "time_of_day",
    "day_of_week",
)


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """Samples of the days in one pass over the actions that they look back to."""
    settings = build.settings
    published = build.lake.snapshot(unified_actions.SPEC.name)
    read = {d for day in days for d in window_days(settings, published.days, day)} | set(days)
    files = _files(published, sorted(read))
    window = Window(tuple(sorted(number_of(day) for day in days)), settings.lookback_days)
    catalogues = _catalogues(build, days, files)
    num_actions = _num_actions(published, files)
    if catalogues is None and files and num_actions <= _GATHERED_ACTIONS:
        samples = _gathered(build, files, window, num_actions)
    else:
        samples = _by_ranges(build, days, files, window, catalogues, num_actions)
    num_files = {day: _num_files(published, day, settings) for day in days}
    root, run = build.root(TABLE.name), build.run
    numbers = {number_of(day): day for day in days}
    beside = Beside(
        {number: published.uris(day) for number, day in numbers.items()},
        settings.positive_types,
        [_joined(build, numbers, *of) for of in _JOINED],
        {name: tuple(id_files(build.lake, ids)) for name, ids in _TEXTS.items()},
    )

    def write(batches: Batches) -> Batches:
        return write_samples(batches, TABLE, root, run, beside)

    part = F.pmod(F.xxhash64("customer_id"), by_day(num_files)).cast("int")
    parted = _with_own_pairs(build, samples, days).withColumn("part", part)
    return write_days(build, parted, TABLE, days, max(num_files.values()), write)


def _gathered(
    build: Build, files: Sequence[ActionFile], window: Window, num_actions: int
) -> DataFrame:
    """From one look at the files, of which all that matters is in memory."""
    rules, slices = _rules(build.settings), _slices(build, files, num_actions)

    def find(batches: Batches) -> Batches:
        return gather(batches, files, window, rules, slices)

    def sample(batches: Batches) -> Batches:
        return sample_gathered(batches, files, window, rules, slices)

    numbers = build.spark.createDataFrame([(n,) for n in range(len(files))], "number int")
    spread = build.partitioning.spread(
        numbers, F.col("number"), of=len(files), at_most=_GATHERING_TASKS
    )
    found = spread.mapInArrow(find, GATHERED_DDL)
    parted = build.partitioning.spread(found, F.col("slice"), of=len(slices))
    return parted.mapInArrow(sample, ROWS_DDL)


def _slices(build: Build, files: Sequence[ActionFile], num_actions: int) -> list[tuple[int, int]]:
    """A range of customers for each core, where they have enough actions for that."""
    return _ranges(files, num_actions, _ACTIONS_PER_SLICE, len(build.partitioning.keys))


def _by_ranges(
    build: Build,
    days: Sequence[date],
    files: Sequence[ActionFile],
    window: Window,
    catalogues: Catalogues | None,
    num_actions: int,
) -> DataFrame:
    """Each range of customers from its own parts of the files, however many actions there are."""
    rules = _rules(build.settings)
    items = items_of_days(build, days, files, window)
    size = _FITTING_PER_TASK if catalogues else _ACTIONS_PER_TASK
    ranges = _ranges(files, num_actions, size)
    tasks = build.spark.createDataFrame(
        [(number, *bounds) for number, bounds in enumerate(ranges)], TASKS_DDL
    )

    def sample(batches: Batches) -> Batches:
        return sample_days(batches, files, window, items, rules, catalogues)

    spread = build.partitioning.spread(tasks, F.col("task"), of=len(ranges))
    ddl = ROWS_DDL if catalogues is None else FITTING_ROWS_DDL
    return spread.mapInArrow(sample, ddl)


def _joined(
    build: Build,
    days: Mapping[int, date],
    of: BuiltFrom,
    declared: FeatureTable,
    key: str,
    begin: str,
) -> Joined:
    published = build.lake.snapshot(of.table.name)
    columns = {feature.name: begin + feature.name for feature in _scalars(declared)}
    files = {number: published.uris(day) for number, day in days.items()}
    return Joined(key, key, columns, {number: uris for number, uris in files.items() if uris})


def _catalogues(
    build: Build, days: Sequence[date], files: Sequence[ActionFile]
) -> Catalogues | None:
    """None where no snapshot came before any of the days."""
    if not CATALOGUE:
        return None
    published = build.lake.snapshot(CATALOGUE[0].name)
    by_day = {number_of(day): tuple(published.uris(day)) for day in published.days}
    numbers = sorted(by_day)
    as_of = {
        day: by_day[numbers[place - 1]]
        for day in map(number_of, days)
        if (place := bisect_left(numbers, day))
    }
    prices = {
        file.day: by_day[numbers[place - 1]]
        for file in files
        if file.day is not None and (place := bisect_right(numbers, file.day))
    }
    return Catalogues(as_of, prices) if as_of else None


def _with_own_pairs(build: Build, samples: DataFrame, days: Sequence[date]) -> DataFrame:
    """With the features of pairs that a shop declares itself, where there is a catalogue."""
    own = tuple(f for f in _scalars(_PAIRS) if f not in PAIR_FEATURES)
    if not CATALOGUE or not own:
        return samples
    actions = read_actions(build, days)
    catalogue = read_catalogue(build, days, looked_back(build, UNIFIED_ACTIONS, days))
    if catalogue is None:
        return samples
    # The time of a sample is that of its positive, and put beside it later.
    return build_pair_features(
        samples,
        actions,
        catalogue,
        lookback_days=build.settings.lookback_days,
        days=days,
        table=replace(_PAIRS, features=own),
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        ratio=settings.negative_ratio,
        is_uniform=settings.negative_strategy == "uniform",
        seed=settings.sample_seed,
        kinds=settings.positive_types,
        only_new=settings.positives == "new",
        excludes_seen=settings.exclude == "seen",
    )


def _files(published: Snapshot, days: Sequence[date]) -> list[ActionFile]:
    return [ActionFile(uri, number_of(day)) for day in days for uri in published.uris(day)]


def _num_actions(published: Snapshot, files: Sequence[ActionFile]) -> int:
    days = {file.day for file in files}
    return sum(
        file.rows
        for day in published.days
        if number_of(day) in days
        for file in published.files_of(day)
    )


def _ranges(
    files: Sequence[ActionFile], num_actions: int, size: int, at_most: int | None = None
) -> list[tuple[int, int]]:
    """Ranges of customers with about ``size`` actions; some files say how they are spread."""
    if num_actions <= size:
        return [(-(2**63), 2**63 - 1)]
    some = files[:: max(1, len(files) // _FILES_ASKED)]
    return customer_ranges(some, max(1, size * len(some) // len(files)), at_most)


def _num_files(published: Snapshot, day: date, settings: Settings) -> int:
    """By the day's own actions, so that any run has the same files."""
    most = sum(file.rows for file in published.files_of(day)) * (1 + settings.negative_ratio)
    return max(1, round(most / _SAMPLES_PER_FILE))


def _scalars(declared: FeatureTable) -> list[Feature]:
    """A list is no feature of a row of numbers."""
    return [feature for feature in declared.features if not feature.type.startswith("array")]


def _feature_columns() -> tuple[Column, ...]:
    taken = set(TRAINING_SAMPLES.column_names)
    named = [
        (begin + feature.name, feature)
        for _, declared, _, begin in _JOINED
        for feature in _scalars(declared)
    ]
    named += [(f.name, f) for f in _scalars(_PAIRS) if f.name not in taken]
    return tuple(
        Column(name, feature.type, feature.description, is_optional=True) for name, feature in named
    )


TABLE: Final[Table] = replace(
    TRAINING_SAMPLES, columns=(*TRAINING_SAMPLES.columns, *_feature_columns())
)
_FEATURES: Final = tuple(column.name for column in _feature_columns())


def _describe(settings: Settings) -> str:
    kinds = "new " if settings.positives == "new" else ""
    return (
        f"What a ranking model trains on: the {kinds}positives of the day, with "
        f"{settings.negative_ratio} items each that their customers left alone, drawn "
        f"{'uniformly' if settings.negative_strategy == 'uniform' else 'by popularity'}; the same "
        "draws for the same inputs and seed, wherever they are made."
    )


BUILT_FROM: Final = BuiltFrom(
    TABLE,
    (),
    (
        ACTIONS_TO_DAY,
        *(Upstream(of, "same day", is_optional=True) for of, *_ in _JOINED),
        *(replace(upstream, is_optional=True) for upstream in CATALOGUE),
    ),
    (
        "lookback_days",
        "negative_ratio",
        "negative_strategy",
        "positive_types",
        "positives",
        "exclude",
        "sample_seed",
    ),
)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        TABLE,
        schema=checks.check_schema,
        row_counts=checks.check_positives,
        leakage=checks.check_negatives,
        sampling=checks.check_sampling,
        giveaway=checks.check_giveaway,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.sample_metrics,
    # The rows of a positive share these: counted as rows they would seem to say five times as much.
    watched_elsewhere=(*_OF_ROWS, *_FEATURES),
    kept="training",
)
