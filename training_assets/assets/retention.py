"""The asset that lets go of what is older than it is kept, and its schedule."""

from datetime import UTC, datetime

import dagster as dg

from training_assets.lake import Lake, days_in_words
from training_assets.retention import RetentionSettings, apply_plan, plan_retention
from training_assets.settings import Settings

RETENTION = "retention"


class RetentionConfig(dg.Config):
    """Whether anything goes, or is only said to go."""

    apply: bool = True


def retention_asset(settings: Settings) -> dg.AssetsDefinition:
    """Each materialization lets go of all that may go on that day."""

    @dg.asset(
        name=RETENTION,
        group_name="lake",
        kinds={"deltalake"},
        description="What is older than it is kept: raw data to the cold tier after 90 days and "
        "away after two years, histories after one, training input after half of one, unless the "
        "environment says otherwise. What days that stay are built from is held.",
    )
    def _retention(
        context: dg.AssetExecutionContext, config: RetentionConfig
    ) -> dg.MaterializeResult:
        lake = Lake.at(settings.lake)
        plan = plan_retention(
            lake, settings, RetentionSettings.from_env(), datetime.now(UTC).date()
        )
        freed = 0
        if config.apply:
            freed = sum(done.freed for done in apply_plan(lake, settings, plan, context.log.info))
        steps = [
            {"what": s.action, "of": s.name, "days": days_in_words(s.days), "bytes": s.bytes}
            for s in plan.steps
        ]
        held = [{"of": h.name, "days": days_in_words(h.days), "why": h.why} for h in plan.held]
        return dg.MaterializeResult(
            metadata={
                "applied": config.apply,
                "bytes": plan.bytes,
                "freed_bytes": freed,
                "steps": dg.MetadataValue.json(steps),
                "held": dg.MetadataValue.json(held),
            }
        )

    return _retention
