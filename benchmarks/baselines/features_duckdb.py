"""Features as an expert would make them by hand in DuckDB SQL, from the actions of the window.

python benchmarks/baselines/features_duckdb.py --lake L --out O --first 2026-11-06 --last 2026-11-19

The actions are read once for all days, into a table in memory. What the windows of all days have in
common is added up once, per customer, item and pair; each day adds the few days that are its own.
"""

import argparse
import json
import resource
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

KINDS = {"click": 1, "add_to_cart": 2, "order": 3, "view": 4, "like": 5}
WEIGHTS = {"view": 1, "click": 2, "like": 3, "add_to_cart": 4, "order": 5}
COUNTS = ", ".join(
    f"count(*) filter (action_type = {code}) as count_{kind}" for kind, code in KINDS.items()
)
SHARES = ", ".join(f"count_{kind} / total_interactions as share_{kind}" for kind in KINDS)
NAMES = ", ".join(f"count_{kind}" for kind in KINDS)
SUMS = ", ".join(f"sum(count_{kind})::bigint as count_{kind}" for kind in KINDS)
ZEROS = ", ".join(f"coalesce(count_{kind}, 0) as count_{kind}" for kind in KINDS)
WEIGHTED = " + ".join(f"{weight} * count_{kind}" for kind, weight in WEIGHTS.items())

# Days that count for all days of features alike are one stretch, which is told as day 0.
OWN = "case when day between $common_from and $first - 1 then date '1970-01-01' else day end as own"
PREPARE = f"""
create table customer_days as
with s as (
  select customer_id, day, occurred_at - lag(occurred_at) over
    (partition by customer_id, day order by occurred_at) as pause
  from actions
), sessions as (
  select customer_id, {OWN}, count(*) filter (pause is null or pause > interval 30 minutes)
    as sessions, sum(epoch_us(pause)) filter (pause <= interval 30 minutes) as micros
  from s group by 1, 2
), counts as (
  select customer_id, {OWN}, count(*) as n, {COUNTS}, count(distinct day) as days,
    sum(price) filter (action_type = 3) as spent, count(price) filter (action_type = 3) as priced,
    min(day) as first, max(day) as last, max(occurred_at) as newest
  from actions group by 1, 2
)
select * from counts join sessions using (customer_id, own);
create table item_days as
select item_id, {OWN.replace("$first - 1", "$first - 36")}, count(*) as n, {COUNTS},
  min(day) as first, max(day) filter (action_type = 3) as bought
from actions group by 1, 2;
create table pair_days as
select customer_id, item_id, {OWN}, count(*) as n, max(occurred_at) as newest,
  count(*) filter (action_type = 3) as orders
from actions group by 1, 2, 3;
"""
COUNTS_FOR_DAY = "own = '1970-01-01' or own between ($day - $lookback)::date and $day - 1"
PAIRS = f"""
create or replace temp table pairs as
select customer_id, item_id, sum(n) as n, max(newest) as newest, sum(orders) as orders
from pair_days where {COUNTS_FOR_DAY} group by 1, 2
"""

USERS = f"""
with by_customer as (
  select customer_id, sum(n)::bigint as total_interactions, {SUMS},
    sum(days)::bigint as days_active,
    coalesce(sum(spent), 0)::decimal(18,4) as monetary_value, sum(priced)::bigint as priced,
    min(first) as first, max(last) as last, max(newest) as last_interaction,
    sum(sessions)::bigint as sessions, sum(micros) as micros
  from customer_days where {COUNTS_FOR_DAY} group by 1
), by_category as (
  select customer_id, category, sum(n) as n, max(newest) as newest, sum(orders) as orders
  from pairs join items using (item_id) where category is not null group by 1, 2
), favourite as (
  select customer_id, arg_min(category, (-n, -epoch_us(newest), category)) as favorite_category,
    max(n) as favourites, count(*) filter (orders > 0) as bought
  from by_category group by 1
), recent as (
  select customer_id, count(*) as unique_items, list_transform(
    min({{'age': -epoch_us(newest), 'item': item_id}}, 10), lambda x: x.item::bigint
  ) as recent_items
  from pairs group by 1
)
select customer_id, total_interactions, unique_items, days_active, recent_items, sessions,
  last_interaction, monetary_value, favorite_category, {NAMES}, {SHARES},
  count_order as total_purchases, coalesce(micros, 0) / sessions / 1e6 as avg_session_duration,
  monetary_value::double / nullif(priced, 0) as avg_price_point,
  date_diff('day', last, $day) as recency_days, date_diff('day', first, $day) as days_since_first,
  total_interactions / greatest(date_diff('day', first, $day) / 7, 1.0) as frequency_score,
  count_order - priced as purchases_without_price, bought / nullif(count_order, 0)
    as diversity_score,
  count_order / nullif(count_view, 0) as conversion_rate,
  (count_order + 1) / (count_view + 20) as conversion_smoothed,
  favourites / total_interactions as favorite_category_share
from by_customer left join favourite using (customer_id)
  join recent using (customer_id)
order by customer_id
"""

ITEMS = f"""
with by_item as (
  select item_id, sum(n)::bigint as n, {SUMS}, min(first) as first, max(bought) as bought,
    coalesce(sum(count_view) filter (own >= $day - 7), 0) as e7,
    coalesce(sum(count_view) filter (own >= $day - 35), 0) as e35
  from item_days where {COUNTS_FOR_DAY} group by 1
), users as (select item_id, count(*) as unique_users from pairs group by 1),
ranked as (
  select item_id, percent_rank() over (partition by category order by price) as price_percentile
  from items where price is not null and category is not null
), joined as (
  select item_id, category, items.price, price_percentile, {ZEROS},
    coalesce(n, 0) as n, coalesce(e7, 0) as e7, coalesce(e35, 0) - coalesce(e7, 0) as base,
    coalesce(unique_users, 0) as unique_users, bought, coalesce(created_at::date, first) as born,
    (select min(first) from by_item) as first_of_all
  from by_item full join items using (item_id) left join users using (item_id)
    left join ranked using (item_id)
), aged as (select *, least(date_diff('day', born, $day) - 7, 28) as length from joined)
select item_id, price, unique_users, {NAMES}, price_percentile,
  count_view / greatest(date_diff('day', greatest(born, ($day - $lookback)::date, first_of_all),
    $day), 1) as popularity_score,
  count_order / nullif(count_view, 0) as conversion_rate,
  (count_order + 1) / (count_view + 20) as conversion_smoothed,
  coalesce(1 / (date_diff('day', bought, $day) + 1), 0.0) as recency_score,
  case when category is null then 0.0 else coalesce(
    (sum(count_view) over (partition by category)) / nullif(sum(count_view) over (), 0), 0.0) end
    as category_popularity,
  case when length > 0 and base > 0 then (e7 / 7) / (base / length) end as trending_score,
  (e7 + 1) / (base * 7 / greatest(length, 1) + 1) as trending_smoothed,
  ({WEIGHTED}) / nullif(5 * n, 0) as engagement_score, count_order / nullif(n, 0) as purchase_rate,
  count_click / nullif(count_view, 0) as click_through_rate
from aged order by item_id
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=date.fromisoformat, required=True)
    parser.add_argument("--last", type=date.fromisoformat, required=True)
    parser.add_argument("--lookback", type=int, default=365)
    parser.add_argument("--threads", default="2")
    options = parser.parse_args()
    import duckdb

    start, cpu, rows = time.perf_counter(), cpu_seconds(), 0
    db = duckdb.connect(config={"threads": int(options.threads)})
    db.execute("set preserve_insertion_order = false; set TimeZone = 'UTC'")
    begin = options.first - timedelta(days=options.lookback)
    files = [
        str(file)
        for file in sorted((options.lake / "unified_actions").glob("dt=*/*.parquet"))
        if begin <= date.fromisoformat(file.parent.name[3:]) < options.last
    ]
    db.execute(
        "create table actions as select customer_id, item_id, action_type, occurred_at, price, "
        "occurred_at::date as day from read_parquet($files, hive_partitioning = false)",
        {"files": files},
    )
    newest = str(max((options.lake / "items").glob("dt=*/*.parquet")))
    db.execute(
        "create table items as select item_id, category, price, created_at from "
        "read_parquet($file, hive_partitioning = false)",
        {"file": newest},
    )
    common = f"date '{options.last - timedelta(days=options.lookback)}'"
    db.execute(PREPARE.replace("$common_from", common).replace("$first", f"date '{options.first}'"))
    day = options.first
    while day <= options.last:
        rows += one_day(db, options.out, day, options.lookback)
        day += timedelta(days=1)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_seconds() - cpu, "rows": rows}))


def one_day(db: Any, out: Path, day: date, lookback: int) -> int:
    def told(sql: str) -> str:
        return sql.replace("$lookback", str(lookback)).replace("$day", f"date '{day}'")

    db.execute(told(PAIRS))
    rows = 0
    for name, sql in (("user_features", USERS), ("item_features", ITEMS)):
        folder = out / name / f"dt={day}"
        folder.mkdir(parents=True, exist_ok=True)
        (count,) = db.execute(
            f"copy ({told(sql)}) to '{folder}/features.parquet' (format parquet, compression zstd)"
        ).fetchone()
        rows += count
    return rows


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
