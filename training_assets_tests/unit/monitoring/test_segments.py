"""The parts of the rows in which a feature has drifted most are named, worst first."""

from training_assets.monitoring.profile import Feature, Profile
from training_assets.monitoring.segments import worst_segments

QUIET = {"phone": (50, 50), "desktop": (50, 50)}


def profile(times: int, **segments: tuple[int, int]) -> Profile:
    """Of each segment so many rows with and without a time, ``times`` over."""
    found = Profile(segment_column="device")
    for name, (timed, untimed) in segments.items():
        counts = {"true": timed * times, "false": untimed * times}
        feature = Feature(levels=counts, is_category=True)
        found.segments[name] = Profile(sum(counts.values()), features={"has_time": feature})
    return found


def test_the_worst_segments_come_first_and_quiet_ones_not_at_all() -> None:
    before = [profile(10, **QUIET, tablet=(50, 50), tv=(50, 50), watch=(50, 50))] * 2
    now = profile(10, phone=(50, 50), desktop=(30, 70), tablet=(5, 95), tv=(20, 80), watch=(10, 90))
    found = worst_segments(["has_time"], now, before)
    assert [part.split(" (")[0] for part in found.split(", ")] == [
        "device tablet",
        "device watch",
        "device tv",
    ]
    # .45 * ln(10) + .45 * ln(1.9), nearly: half a row is added to each level.
    assert "device tablet (has_time 1.3" in found


def test_few_rows_and_segments_without_a_past_are_not_named() -> None:
    before = [profile(10, **QUIET)] * 2
    assert worst_segments(["has_time"], profile(10, **QUIET), before) == ""
    assert worst_segments(["has_time"], profile(1, phone=(0, 20)), before) == ""
    assert worst_segments(["has_time"], profile(10, fridge=(0, 100)), before) == ""
    assert worst_segments(["price"], profile(10, phone=(0, 100)), before) == ""
