"""Published days over time: how many rows, what is in them, what has changed, and how late it is.

Each day of a table has a profile: integer counts of what stands in its columns, written beside the
day's manifest when it is published. All watches compare profiles; no rows are read for the days
before. They name no table: which columns are watched follows from the table's columns.

May import checks, sources, lake, engine, list_format and what is below them. Begin with
``profile.py``, then ``watches.py``; ``profile_files.py`` and ``bins.py`` run on the workers.
"""

import sys

from training_assets import errors, list_format, schemas
from training_assets.engine.shipping import ship
from training_assets.monitoring.profile import Profile
from training_assets.monitoring.recorded import profiles_of, recorded_profiles
from training_assets.monitoring.watches import WATCHES, Watched, drift_of, watches_of

__all__ = [
    "WATCHES",
    "Profile",
    "Watched",
    "drift_of",
    "profiles_of",
    "recorded_profiles",
    "watches_of",
]

ship(errors, schemas, list_format, sys.modules[__name__])
