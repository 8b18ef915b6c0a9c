"""In which parts of the rows a feature has drifted most: shown, but no alarm of their own.

Where many parts are judged, one of them drifts by chance; so only all rows together are.
"""

from collections.abc import Sequence
from typing import Final

from training_assets.monitoring.drift import compare
from training_assets.monitoring.profile import Feature, Profile

_MAX_SHOWN: Final = 3


def worst_segments(features: Sequence[str], now: Profile, before: Sequence[Profile]) -> str:
    """``action_type 3 (price 0.41)``: the three with the largest PSI of those that drifted."""
    found = []
    for name, segment in now.segments.items():
        past = [profile.segments[name] for profile in before if name in profile.segments]
        for feature in features:
            parts = [p.features[feature] for p in past if feature in p.features]
            if feature not in segment.features or not parts:
                continue
            base = Feature()
            for part in parts:
                base.add(part)
            drift = compare(base, segment.features[feature])
            if drift.verdict in ("warns", "fails"):
                found.append(
                    (drift.psi, f"{now.segment_column} {name} ({feature} {drift.psi:.3g})")
                )
    return ", ".join(text for _, text in sorted(found, reverse=True)[:_MAX_SHOWN])
