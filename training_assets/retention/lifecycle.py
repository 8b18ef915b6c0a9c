"""Rules for an object store that moves raw data to a colder class by itself.

Only raw data: a rule under a table would take files away that its log names. And only the move:
days are counted from when an object was written, which is not the day that it holds, so what goes
for good is deleted by ``training-assets retention``. The class must answer at once, since readers
ask for archived days too.
"""

from typing import Any
from urllib.parse import urlsplit

from training_assets.errors import SettingsError
from training_assets.lake import Lake
from training_assets.retention.settings import RetentionSettings

_ID = "training-assets-raw"


def lifecycle_rules(lake: Lake, retention: RetentionSettings) -> dict[str, Any]:
    """What ``aws s3api put-bucket-lifecycle-configuration``, or gcloud or az, is given as JSON.

    Raises ``SettingsError`` for a local lake, which has an archive of its own.
    """
    url = urlsplit(lake.raw.url)
    prefix, days = f"{url.path.strip('/')}/", retention.cold_after_days
    if url.scheme == "s3":
        transition = {"Days": days, "StorageClass": "GLACIER_IR"}
        rule = {
            "ID": _ID,
            "Status": "Enabled",
            "Filter": {"Prefix": prefix},
            "Transitions": [transition],
        }
        return {"Rules": [rule]}
    if url.scheme == "gs":
        return {
            "rule": [
                {
                    "action": {"type": "SetStorageClass", "storageClass": "NEARLINE"},
                    "condition": {"age": days, "matchesPrefix": [prefix]},
                }
            ]
        }
    if url.scheme in ("az", "abfs", "abfss"):
        container = url.netloc.partition("@")[0]
        move = {"baseBlob": {"tierToCool": {"daysAfterModificationGreaterThan": days}}}
        filters = {"blobTypes": ["blockBlob"], "prefixMatch": [f"{container}/{prefix}"]}
        definition = {"actions": move, "filters": filters}
        return {
            "rules": [{"name": _ID, "enabled": True, "type": "Lifecycle", "definition": definition}]
        }
    raise SettingsError(
        f"retention: {lake.store.url} is a local folder; expected an object store, whose rules "
        "these are. Run training-assets retention --apply: it archives by itself."
    )
