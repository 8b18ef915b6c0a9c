"""Raw shop events from a seed: ``<lake>/raw/<table>/dt=YYYY-MM-DD/part-0.parquet``, four tables.

What a tracker sees of the same shop, its catalogue and its users, is in ``stream.py``.

An invented shop. Customers come in short sessions, with a daily and a weekly rhythm, and click,
add to cart and order (80 : 12 : 8; a real shop has fewer orders, a sample this small needs labels).
Item popularity and customer activity follow Zipf-Mandelbrot laws whose exponents are solved so
that the top 20 % make about 80 % of the actions: within 3 points from 20,000 actions on, 20 an item
and 10 a customer. One customer in twenty only looks: no history until a first order. About 1 % of
the sessions arrive a day late. No row is invalid.

What can be learned: items stand on shelves, and every customer has three favourite shelves that
change slowly (20 to 60 days). Clicks and carts follow them; orders follow them and the items that
the customer clicked and, more so, put in the cart on the days before. Rankings mix items of
the favourite shelves, recently seen, popular and random ones, so that popularity alone explains
little. What is ordered on a day is drawn before that day's actions touch the memory.

Each day has its own random stream, so memory holds one day, plus ten or so numbers per customer
and item. Same spec, same versions of numpy and pyarrow: the same bytes.
"""

import numpy as np

from training_assets.lake import Lake
from training_assets.lake.store import Location
from training_assets.sample.raw_days import Progress, SampleSummary, putting, write_raw_day
from training_assets.sample.shop import SampleSpec, open_shop, plan_days, simulate_day
from training_assets.sample.stream import Ids, Stream

__all__ = ["SampleSpec", "SampleSummary", "generate"]


def generate(
    location: Location | Lake,
    spec: SampleSpec,
    progress: Progress | None = None,
    *,
    ids: Ids = "integer",
    with_stream: bool = True,
) -> SampleSummary:
    """Write every day of the spec; a day already there is replaced, other days stay.

    ``with_stream`` adds interactions, items and users. With text ids only these are written: the
    four tables have integers.
    ``progress`` gets about ten lines of text.
    """
    lake, shop = Lake.at(location), open_shop(spec)
    summary = SampleSummary()
    plan = plan_days(spec)
    with putting(lake.raw) as put:
        stream = Stream(put, shop, spec, ids)
        for index, day in enumerate(spec.dates):
            rng = np.random.default_rng([spec.seed, index, 1])
            tables = simulate_day(shop, rng, index, day, plan[index])
            for table, columns in tables if ids == "integer" else ():
                write_raw_day(put, table, day, columns, summary)
            by_name = {table.name: columns for table, columns in tables}
            if with_stream:
                summary.bytes += stream.write_day(index, day, by_name)
            summary.days += 1
            if progress and (index + 1) * 10 // spec.days > index * 10 // spec.days:
                progress(f"generated {index + 1} of {spec.days} days, up to {day}")
    summary.shop_rows = stream.rows
    summary.files += stream.files
    return summary
