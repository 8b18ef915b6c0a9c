"""What a campaign of faults reports: one line of docs/reliability.md for each kind of fault."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Of one kind of fault.

    ``times`` is how often it was tried, ``result`` what happened, in words a user understands.
    ``lost_rows`` counts raw rows that are neither in a table nor in the quarantine though their
    day was published; ``torn_days`` counts published days that were neither the old nor the new
    one, whole, as seen by a reader at any time or after the fault. Both must be 0.
    """

    campaign: str
    kind: str
    times: int
    result: str
    lost_rows: int = 0
    torn_days: int = 0
