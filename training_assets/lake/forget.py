"""Days that are let go: taken out of a table by one commit, and their files removed at once.

Older versions of the table still name the files, and can no longer be read for those days; other
days of them can.
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, Final

from deltalake.exceptions import CommitFailedError

from training_assets.errors import PublishError
from training_assets.lake.base import Store, first_line
from training_assets.lake.files import belongs_to
from training_assets.lake.log import commit, open_delta, remove_action
from training_assets.lake.snapshot import snapshot_of
from training_assets.lake.versions import Removed

_MAX_TRIES: Final = 20


def forget(
    store: Store, table: str, days: Collection[date], commit_info: Mapping[str, Any]
) -> Removed:
    """Let go of published days; what another run publishes anew meanwhile goes too.

    Raises ``PublishError`` where the store fails; each day then stands, or is gone whole. What is
    left of its files goes with the next vacuum.
    """
    gone: dict[str, set[str]] = {}
    for _ in range(_MAX_TRIES):
        delta = open_delta(store, table)
        if delta is None:
            return Removed(0, 0)
        now = snapshot_of(store, table, delta)
        files = [file for day in sorted(days) for file in now.files.get(day, ())]
        if not files:
            return _remove(store, gone)
        for file in files:
            gone.setdefault(file.folder, set()).add(file.run)
        info = {
            **commit_info,
            "operation": "retention",
            "days": sorted({str(file.day) for file in files}),
        }
        error = commit(store, delta, [remove_action(file) for file in files], info)
        if error is not None and not isinstance(error, CommitFailedError):
            raise PublishError(
                f"{table}: {len(days)} days could not be let go ({first_line(error)}); expected "
                "the store to take a commit. Check it, then run again."
            ) from None
    raise PublishError(
        f"{table}: other runs published {_MAX_TRIES} times while days were let go; expected it to "
        "be quiet. Run again when they have ended."
    )


def _remove(store: Store, gone: Mapping[str, set[str]]) -> Removed:
    """All that those runs left of those days: data, manifests, profiles, quarantine."""
    entries = [
        entry
        for entry in store.list()
        if (found := belongs_to(entry.path)) and found[1] in gone.get(found[0], ())
    ]
    store.delete(entry.path for entry in entries)
    return Removed(len(entries), sum(entry.size for entry in entries))
