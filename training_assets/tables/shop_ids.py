"""The ids of a shop's rows as integers, before they are written: new texts get theirs first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.errors import PublishError
from training_assets.lake import Snapshot
from training_assets.lake.frames import read_days
from training_assets.schemas import CUSTOMER_IDS, ITEM_IDS, RAW_TABLES, Table
from training_assets.sources import RawDays, further_sources, ids
from training_assets.sources.id_kinds import entities_of, first_kind, known_kind, takes_digits
from training_assets.sources.id_tables import add_customers, add_items, collision, id_files
from training_assets.sources.text_ids import NEW_IDS, NEW_IDS_DDL, Entity
from training_assets.tables.build import Batches, Build

Kind = Literal["integers", "texts"]

_COLUMNS: Final[dict[Entity, tuple[str, str, str]]] = {
    "customer": ("user_id", "customer_id", "long"),
    "item": ("item_id", "item_id", "int"),
}
_MAX_TRIES: Final = 100
_ID_AND_TEXT: Final = pa.schema([("id", pa.int64()), ("text", pa.string())])


@dataclass(frozen=True)
class IdColumns:
    """How the ids of some rows become integers; workers need nothing else for it."""

    where: str
    kinds: dict[Entity, Kind]
    item_files: tuple[str, ...] = ()
    takes_digits: tuple[Entity, ...] = ()

    def column(self, entity: Entity, texts: pa.Array) -> pa.Array:
        if self.kinds[entity] == "integers":
            found = ids.integers_of(texts, self.where)
            return found.cast(pa.int32()) if entity == "item" else found
        if entity not in self.takes_digits:
            ids.texts_only(texts, self.where)
        return (
            ids.hash_texts(texts) if entity == "customer" else ids.items_of(texts, self.item_files)
        )


def with_ids(build: Build, frame: DataFrame, table: Table, entities: Sequence[Entity]) -> DataFrame:
    """Valid raw rows with ``customer_id`` and ``item_id`` as integers; new texts are added first.

    Raises ``RawDataError`` where integers and texts are mixed, or two customers have one hash.
    """
    kinds = {entity: _kind(build, frame, entity) for entity in entities}
    texts = [entity for entity in entities if kinds[entity] == "texts"]
    for entity, seen in _first_seen(frame, texts).items():
        _add(build, entity, seen, table)
    files = tuple(id_files(build.lake, ITEM_IDS)) if kinds.get("item") == "texts" else ()
    columns = IdColumns(f"raw/{table.name}", kinds, files, takes_digits(build.lake))
    renamed = {_COLUMNS[e][0]: _COLUMNS[e] for e in entities}
    ddl = ", ".join(
        f"`{renamed[c.name][1]}` {renamed[c.name][2]}"
        if c.name in renamed
        else f"`{c.name}` {c.type}"
        for c in table.columns
    )
    entity_of = {_COLUMNS[e][0]: e for e in entities}

    def convert(batches: Batches) -> Batches:
        for batch in batches:
            arrays = [
                columns.column(entity_of[field.name], batch[field.name])
                if field.name in entity_of
                else batch[field.name]
                for field in batch.schema
            ]
            names = [
                renamed[field.name][1] if field.name in renamed else field.name
                for field in batch.schema
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=names)

    return frame.mapInArrow(convert, ddl)


def add_ids_of(build: Build, raw: RawDays) -> None:
    """Add the text ids in valid rows of the four tables or of further sources of actions."""
    entities = raw.text_ids().entities
    for entity, seen in _first_of(raw.read_text_ids(build.spark), entities).items():
        _add(build, entity, seen, raw.table)


def _kind(build: Build, frame: DataFrame, entity: Entity) -> Kind:
    """What the lake's ids of the entity are; in a new lake, what the first row has."""
    known = known_kind(build.lake, entity) or _kind_of_raw(build, entity)
    if known is None:
        found = frame.select(_COLUMNS[entity][0]).limit(1).collect()
        known = "texts" if found and not ids.is_integer(found[0][0]) else "integers"
    return "texts" if known == "texts" else "integers"


def _kind_of_raw(build: Build, entity: Entity) -> str | None:
    """What the tables of actions and impressions have."""
    for table in _raw_tables(build):
        day = build.provenance.source_days(table).days[0]
        files = build.provenance.raw(table, [day]).files()
        if entity in entities_of(table) and (kind := first_kind(files, table, entity)):
            return kind
    return None


def _raw_tables(build: Build) -> list[Table]:
    tables = (*RAW_TABLES.values(), *further_sources(build.lake))
    return [table for table in tables if build.provenance.source_days(table).days]


def _add(build: Build, entity: Entity, seen: pa.Table, table: Table) -> None:
    (_add_customers if entity == "customer" else _add_items)(build, seen, table)


def _first_seen(frame: DataFrame, entities: Sequence[Entity]) -> dict[Entity, pa.Table]:
    """Each text of the entities with its first day, by one look at the rows for all of them."""
    if not entities:
        return {}
    names = {entity: _COLUMNS[entity][0] for entity in entities}

    def distinct(batches: Batches) -> Batches:
        for batch in batches:
            for entity, name in names.items():
                rows = pa.table([batch[name], batch["dt"]], ["text", "dt"])
                found = rows.group_by("text", use_threads=False).aggregate([("dt", "min")])
                arrays = [pa.repeat(entity, len(found)), found["text"], found["dt_min"]]
                yield from pa.table(arrays, NEW_IDS.names).to_batches()

    rows = frame.select("dt", *names.values())
    return _first_of(rows.mapInArrow(distinct, NEW_IDS_DDL), entities)


def _first_of(found: DataFrame, entities: Sequence[Entity]) -> dict[Entity, pa.Table]:
    seen = found.groupBy("entity", "text").agg(F.min("dt").alias("first_seen")).toArrow()
    return {
        entity: seen.filter(pc.equal(seen["entity"], entity)).drop_columns("entity")
        for entity in entities
    }


def _add_items(build: Build, seen: pa.Table, table: Table) -> None:
    texts, days = seen["text"].to_pylist(), seen["first_seen"].to_pylist()
    added = add_items(build.lake, dict(zip(texts, days, strict=True)))
    if added:
        build.progress(f"{table.name}: {added} new items numbered")


def _add_customers(build: Build, seen: pa.Table, table: Table) -> None:
    texts = seen["text"].combine_chunks().cast(pa.string())
    of = pa.table(
        [ids.hash_texts(texts), texts, seen["first_seen"]], CUSTOMER_IDS.arrow_schema.names
    )
    _require_distinct(of)
    for _ in range(_MAX_TRIES):
        build.lake.refresh(CUSTOMER_IDS.name)
        snapshot = build.lake.snapshot(CUSTOMER_IDS.name)
        new = _unknown(build, of, snapshot)
        if add_customers(build.lake, new, snapshot):
            if len(new):
                build.progress(f"{table.name}: {len(new)} new customers")
            return
    raise PublishError(f"customer_ids: other runs added ids {_MAX_TRIES} times; run again.")


def _unknown(build: Build, of: pa.Table, snapshot: Snapshot) -> pa.Table:
    """The customers that the table of ids has not; raises where another one has such an id."""
    if not snapshot.files or not len(of):
        return of
    known = read_days(build.spark, snapshot, CUSTOMER_IDS, snapshot.days, ["id", "text"])
    wanted = build.spark.createDataFrame(of.select(["id"]))
    there = known.join(wanted, "id", "left_semi").toArrow()
    both = pa.concat_tables([of.select(["id", "text"]), there.cast(_ID_AND_TEXT)])
    _require_distinct(both)
    return of.filter(pc.invert(pc.is_in(of["id"], there["id"].combine_chunks())))


def _require_distinct(pairs: pa.Table) -> None:
    found = pairs.group_by("id").aggregate([("text", "min"), ("text", "max")])
    wrong = found.filter(pc.not_equal(found["text_min"], found["text_max"]))
    if len(wrong):
        row = wrong.slice(0, 1).to_pylist()[0]
        raise collision(row["text_min"], row["text_max"], row["id"])
