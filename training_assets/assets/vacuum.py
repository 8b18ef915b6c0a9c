"""The asset that lets go of replaced files: what a vacuum removed, by table."""

import dagster as dg

from training_assets.lake import Lake
from training_assets.pipeline import vacuum_lake
from training_assets.settings import Settings

VACUUM = "removed_files"


def vacuum_asset(settings: Settings) -> dg.AssetsDefinition:
    """Each materialization is one vacuum of the whole lake."""

    @dg.asset(
        name=VACUUM,
        group_name="lake",
        kinds={"deltalake"},
        description="Files that no version of the last "
        f"{settings.keep_versions_days} days needs, and what killed runs left: removed from the "
        "store, and counted here.",
    )
    def _vacuum() -> dg.MaterializeResult:
        removed = vacuum_lake(Lake.at(settings.lake), settings)
        return dg.MaterializeResult(
            metadata={
                "files": sum(found.files for found in removed.values()),
                "bytes": sum(found.bytes for found in removed.values()),
                "tables": dg.MetadataValue.json({n: f._asdict() for n, f in removed.items()}),
            }
        )

    return _vacuum
