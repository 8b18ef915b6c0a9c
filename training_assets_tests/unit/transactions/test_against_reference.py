"""State and detections after every chunk, against plain loops over all that was fed."""

from decimal import Decimal
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from training_assets_tests.unit.transactions.banks import (
    require_equal,
    write_rows,
    write_weights,
)
from training_assets_tests.unit.transactions.conftest import OpenBank
from training_assets_tests.unit.transactions.reference import (
    Row,
    Weight,
    expected_detections,
    expected_state,
)

LIMITS = {
    "upgrade_min_transactions": 12,
    "upgrade_top": Decimal("0.3"),
    "upgrade_bottom": Decimal("0.4"),
    "child_max_average": Decimal("23"),
    "child_min_transactions": 3,
    "women_min": 1,
}
customers = st.sampled_from([f"C{i}" for i in range(9)])
merchants = st.sampled_from(["M1", "M1", "M2", "M3"])
amounts = st.sampled_from(["22.95", "23.05", "23", "22.999", "0", "30"]).map(Decimal)
rows = st.builds(Row, customers, merchants, st.sampled_from("MMFFEU"), amounts)
weights = st.builds(Weight, customers, merchants, st.integers(1, 4).map(Decimal))


@given(
    chunks=st.lists(st.lists(rows, min_size=1, max_size=25), min_size=1, max_size=6),
    weights=st.lists(weights, max_size=20),
)
def test_state_and_detections_are_as_by_plain_loops_after_every_chunk(
    open_bank: OpenBank, chunks: list[list[Row]], weights: list[Weight]
) -> None:
    bank = open_bank(**LIMITS)
    write_weights(bank.importance, weights)
    fed: list[Row] = []
    for chunk in chunks:
        fed += chunk
        write_rows(bank.source, fed)
        bank.feed()
        detector = bank.detector()
        (waiting,) = detector.arrivals()
        frame, _ = detector.read([waiting])
        detector.process_batch(frame, 0)
        require_equal(bank.state(), expected_state(fed, weights, bank.settings))
    ends = list(accumulate(len(chunk) for chunk in chunks))
    found = bank.detections_by_chunk()
    expected = expected_detections(fed, ends, weights, bank.settings)
    assert [found.get(end, []) for end in ends] == expected
