"""What may go and when: raw days to the cold tier, days of tables and logs for good.

May import tables, pipeline, provenance, sources, lake and what is below them; knows no Dagster and
names no table. Begin with ``settings.py``, then ``plan.py``; ``apply.py`` does what a plan says.
"""

from training_assets.retention.apply import Done, apply_plan
from training_assets.retention.lifecycle import lifecycle_rules
from training_assets.retention.plan import Held, Plan, Step, plan_retention
from training_assets.retention.settings import RetentionSettings

__all__ = [
    "Done",
    "Held",
    "Plan",
    "RetentionSettings",
    "Step",
    "apply_plan",
    "lifecycle_rules",
    "plan_retention",
]
