"""The job as an expert would write it by hand with DuckDB.

    python benchmarks/baselines/duckdb_script.py --lake L --out O --first D --last D \
        --output history|published --threads 2

Tried at 30 million actions, 14 days, histories, on a busy machine: row_number per customer and
impression day costs 138 CPU s, 43 after leaving out what is too old for all days; one ordered list
per customer and a filter per impression day 27, and 19 after leaving out, which is what stands
here; an aggregate per day over numbered rows 23. Lists of packed integers, three parallel lists
with list_where, and padded Parquet without dictionaries gained nothing.
"""

from typing import Any

import duckdb
from job import LENGTH, LOOKBACK, MAX_ITEM, Clock, Job, parse

# One customer's newest-first list is made once; each impression day takes its part of it.
PREPARE = """
CREATE TEMP TABLE rankings AS
SELECT (dt - DATE '{base}')::SMALLINT AS n, customer_id AS c, {ranking_columns}
FROM read_parquet({impressions}, hive_partitioning = true, hive_types = {{'dt': DATE}})
WHERE customer_id IS NOT NULL;

CREATE TEMP TABLE customer_days AS SELECT DISTINCT n, c FROM rankings;

CREATE TEMP TABLE customers AS SELECT DISTINCT c FROM customer_days;

CREATE TEMP TABLE actions AS
SELECT customer_id AS c, item_id AS i, action_type AS y,
       epoch_us(occurred_at) AS t, (dt - DATE '{base}')::SMALLINT AS d
FROM read_parquet({actions}, hive_partitioning = true, hive_types = {{'dt': DATE}})
WHERE customer_id IN (FROM customers);

-- Of the days that count for all impression days, the 19 hours in which a customer's 1000th newest
-- action lies: nothing older can be needed.
CREATE TEMP TABLE oldest AS
WITH spans AS (
    SELECT c, (t >> 36)::INT AS span, count(*) AS rows
    FROM actions WHERE d >= {number_of_days} - 1 AND d < {lookback} GROUP BY ALL
), sums AS (
    SELECT c, span, sum(rows) OVER (PARTITION BY c ORDER BY span DESC) AS rows FROM spans
)
SELECT c, max(span)::BIGINT << 36 AS t FROM sums WHERE rows >= {length} GROUP BY c;

CREATE TEMP TABLE timelines AS
WITH lists AS (
    SELECT c, list({{'i': i, 'y': y, 'd': d}} ORDER BY actions.t DESC, i, y) AS l
    FROM actions LEFT JOIN oldest USING (c)
    WHERE oldest.t IS NULL OR actions.t >= oldest.t
    GROUP BY c
)
SELECT c, coalesce(l, []) AS l FROM customers LEFT JOIN lists USING (c) ORDER BY c;

DROP TABLE actions;
"""

HISTORY = """
CREATE OR REPLACE TEMP TABLE history AS
SELECT c AS customer_id,
       list_transform(l, lambda x: x.i) AS action_items,
       list_transform(l, lambda x: x.y) AS action_types,
       list_transform(l, lambda x: ({n} - x.d)::SMALLINT) AS action_days_ago
FROM (
    SELECT c, list_filter(l, lambda x: x.d < {n} AND x.d >= {n} - {lookback})[:{length}] AS l
    FROM timelines JOIN (SELECT c FROM customer_days WHERE n = {n}) USING (c)
);

COPY history TO '{target}'
(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1);
"""

PUBLISHED = """
CREATE OR REPLACE TEMP TABLE shown AS
SELECT c AS customer_id, ranking_id, item.item_id::BIGINT AS impression_item_id,
       item.is_order::INT AS is_order
FROM (
    SELECT c, ranking_id, unnest(impressions) AS item, generate_subscripts(impressions, 1) AS place
    FROM rankings WHERE n = {n}
)
WHERE item.item_id BETWEEN 1 AND {max_item} AND item.is_order IS NOT NULL
ORDER BY c, ranking_id, place;

CREATE OR REPLACE TEMP TABLE padded AS
SELECT customer_id, list_resize(action_items, {length}, 0::INT) AS action_items,
       list_resize(action_types::INT[], {length}, 0::INT) AS action_types
FROM history;

COPY (
    SELECT customer_id, ranking_id, impression_item_id, is_order, action_items, action_types
    FROM shown JOIN padded USING (customer_id)
) TO '{target}'
(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 16384);
"""


def run(job: Job, connection: duckdb.DuckDBPyConnection) -> None:
    def execute(statements: str, **names: Any) -> None:
        sql = statements.format(lookback=LOOKBACK, length=LENGTH, max_item=MAX_ITEM, **names)
        connection.execute(sql)

    execute(
        PREPARE,
        base=job.base,
        ranking_columns="ranking_id, impressions" if job.is_published else "",
        impressions=[str(file) for file in job.impression_files()],
        actions=[str(file) for file in job.action_files()],
        number_of_days=len(job.days),
    )
    for day in job.days:
        n = (day - job.base).days
        execute(HISTORY, n=n, target=job.target("customer_history", day))
        if job.is_published:
            execute(PUBLISHED, n=n, target=job.target("training_input", day))


def main() -> None:
    clock = Clock()
    job, _ = parse(__doc__)
    connection = duckdb.connect(config={"threads": job.threads})
    connection.execute("SET TimeZone = 'UTC'")
    clock.ready()
    run(job, connection)
    clock.report()


if __name__ == "__main__":
    main()
