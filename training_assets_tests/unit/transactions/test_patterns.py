"""Each pattern at its boundary, under the numbers of the contract."""

from decimal import Decimal

import pytest

from training_assets.transactions.database import Database
from training_assets_tests.unit.transactions.totals import State, Total

CHILD = "PatId2"


def ranked(
    counts: list[int], weights: list[str]
) -> tuple[list[Total], list[tuple[str, str, list[str]]]]:
    """Customers C0, C1, … of merchant M, no children, with these counts and weights."""
    totals = [Total("M", f"C{i}", count, str(50 * count)) for i, count in enumerate(counts)]
    return totals, [("M", f"C{i}", [weight]) for i, weight in enumerate(weights)]


# Eleven customers: ranks are 0.0, 0.1, …, 1.0.
COUNTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 49_945]
WEIGHTS = ["5", "6", "7", "8", "9", "10", "11", "12", "13", "2", "1"]


@pytest.mark.parametrize(("total", "is_upgraded"), [(50_000, False), (50_001, True)])
def test_a_merchant_needs_more_than_fifty_thousand_transactions(
    database: Database, total: int, is_upgraded: bool
) -> None:
    totals, weights = ranked([*COUNTS[:-1], total - sum(COUNTS[:-1])], WEIGHTS)
    state = State(database)
    state.weigh(*weights)
    found = state.apply(*totals)
    assert found == ([("PatId1", "M", "C10"), ("PatId1", "M", "C9")] if is_upgraded else [])


def test_ranks_of_exactly_a_tenth_count(database: Database) -> None:
    # C9 has the count rank 9/10 and the weight rank 1/10; C8 and C0 miss one of them.
    totals, weights = ranked([*COUNTS[:-1], 60_000], WEIGHTS)
    state = State(database)
    state.weigh(*weights)
    assert ("PatId1", "M", "C9") in state.apply(*totals)
    assert ("PatId1", "M", "C8") not in state.current()


def test_ties_have_the_lowest_rank(database: Database) -> None:
    # Three share the highest count: 8 of 10 are smaller, 0.8 is too little. Two share the lowest
    # weight, at rank 0.
    totals, weights = ranked([*range(1, 9), 30_000, 30_000, 30_000], ["5"] * 8 + ["1", "1", "9"])
    state = State(database)
    state.weigh(*weights)
    assert state.apply(*totals) == []
    # Now two do: C8 and C9 have the rank 0.9.
    assert state.apply(Total("M", "C8", 1), Total("M", "C9", 1)) == [
        ("PatId1", "M", "C8"),
        ("PatId1", "M", "C9"),
    ]


def test_weights_are_averaged_over_all_types(database: Database) -> None:
    # C10 pays 1 and 19, on average as much as C9: neither is under the other.
    totals, weights = ranked([*COUNTS[:-1], 60_000], ["20"] * 9 + ["10"])
    state = State(database)
    state.weigh(*weights, ("M", "C10", ["1", "19"]))
    assert state.apply(*totals) == [("PatId1", "M", "C10"), ("PatId1", "M", "C9")]
    assert state.ask(
        "SELECT average_weight FROM customer_merchant_averages WHERE customer_id = 'C10'"
    ) == [(Decimal(10),)]


def test_equal_averages_of_other_numbers_are_equal(database: Database) -> None:
    # A third of 1 and two sixths of 1 are one rank; rounded differently, one would be smaller.
    totals, weights = ranked([*COUNTS[:-1], 60_000], ["20"] * 9)
    state = State(database)
    state.weigh(
        *weights, ("M", "C9", ["0", "0", "1"]), ("M", "C10", ["0", "0", "0", "0", "1", "1"])
    )
    assert len(state.apply(*totals)) == 2


def test_customers_without_a_weight_are_not_ranked_by_it(database: Database) -> None:
    totals, weights = ranked([*COUNTS[:-1], 60_000], ["7", "8"])
    state = State(database)
    state.weigh(*weights)
    # C10 has by far the most transactions, and no weight.
    assert state.apply(*totals) == []
    assert state.weigh(*weights, ("M", "C10", ["1"])) == [("PatId1", "M", "C10")]


def test_one_customer_has_no_rank(database: Database) -> None:
    state = State(database)
    state.weigh(("M", "C0", ["1"]))
    assert state.apply(Total("M", "C0", 60_000, "9999999")) == []


def test_no_weights_at_all_upgrade_nobody(database: Database) -> None:
    totals, _ = ranked([*COUNTS[:-1], 60_000], [])
    assert State(database).apply(*totals) == []


def test_equal_counts_upgrade_nobody(database: Database) -> None:
    totals, weights = ranked([10_000] * 11, WEIGHTS)
    state = State(database)
    state.weigh(*weights)
    assert state.apply(*totals) == []


def test_each_merchant_has_ranks_of_its_own(database: Database) -> None:
    totals, weights = ranked([*COUNTS[:-1], 60_000], WEIGHTS)
    other = [total._replace(merchant="N") for total in totals]
    heavier = [("N", customer, [f"{weight[0]}000"]) for _, customer, weight in weights]
    state = State(database)
    state.weigh(*weights, *heavier)
    assert state.apply(*totals, *other) == [
        ("PatId1", merchant, customer) for merchant in "MN" for customer in ("C10", "C9")
    ]


@pytest.mark.parametrize(
    ("count", "amount", "is_child"),
    [
        (80, "1839.99", True),
        (79, "790", False),
        (80, "1840", False),
        (80, "1840.01", False),
        (80, "1839.999999999999999999", True),
        (81, "0", True),
    ],
)
def test_a_child_spends_less_than_23_on_average_over_at_least_80(
    database: Database, count: int, amount: str, is_child: bool
) -> None:
    found = State(database).apply(Total("M", "C", count, amount))
    assert found == ([(CHILD, "M", "C")] if is_child else [])


def test_forty_at_22_95_and_forty_at_23_05_average_exactly_23(database: Database) -> None:
    state = State(database)
    state.apply(Total("M", "C", 40, "918"))
    assert state.apply(Total("M", "C", 40, "922")) == []


def test_counts_add_up_over_chunks_and_are_made_once(database: Database) -> None:
    state = State(database)
    assert state.apply(Total("M", "C", 40, "400")) == []
    assert state.apply(Total("M", "C", 40, "400")) == [(CHILD, "M", "C")]
    assert state.apply(Total("M", "D", 1)) == []
    assert state.apply(Total("M", "C", 1, "10")) == []


def test_a_customer_of_two_merchants_is_a_child_where_he_buys_cheaply(database: Database) -> None:
    found = State(database).apply(Total("M", "C", 80, "80"), Total("N", "C", 80, "8000"))
    assert found == [(CHILD, "M", "C")]


def people(gender: str, count: int, merchant: str = "M") -> list[Total]:
    return [Total(merchant, f"{gender}{i}", 1, "50", gender) for i in range(count)]


@pytest.mark.parametrize(
    ("women", "men", "is_needed"),
    [(101, 102, True), (100, 102, False), (101, 101, False), (102, 101, False), (0, 500, False)],
)
def test_dei_needs_more_than_100_women_and_more_men(
    database: Database, women: int, men: int, is_needed: bool
) -> None:
    found = State(database).apply(*people("F", women), *people("M", men))
    assert found == ([("PatId3", "M", "")] if is_needed else [])


def test_a_customer_in_many_chunks_is_one_customer(database: Database) -> None:
    state = State(database)
    for _ in range(3):
        assert state.apply(*people("F", 34), *people("M", 110)) == []
    assert state.ask("SELECT gender, customer_count FROM merchant_gender_stats ORDER BY 1") == [
        ("F", 34),
        ("M", 110),
    ]


def test_enterprises_and_unknown_are_neither(database: Database) -> None:
    found = State(database).apply(*people("F", 101), *people("E", 80), *people("U", 80))
    assert found == []


def test_a_changed_gender_counts_at_all_merchants_of_the_customer(database: Database) -> None:
    state = State(database)
    state.apply(
        *people("F", 102), *people("M", 101), *people("F", 102, "N"), *people("M", 101, "N")
    )
    # The row is of a third merchant.
    found = state.apply(Total("O", "F0", 1, "5", "M"))
    assert found == [("PatId3", "M", ""), ("PatId3", "N", "")]
    assert state.ask("SELECT * FROM merchant_gender_stats WHERE merchant_id = 'N' ORDER BY 2") == [
        ("N", "F", 101),
        ("N", "M", 102),
    ]
    assert state.ask("SELECT * FROM merchant_gender_stats WHERE merchant_id = 'O'") == [
        ("O", "M", 1)
    ]


def test_what_ended_is_not_current_and_is_not_detected_again(database: Database) -> None:
    state = State(database)
    state.apply(Total("M", "C", 80, "800"))
    assert state.current() == [(CHILD, "M", "C")]
    assert state.apply(Total("M", "C", 1, "5000")) == []
    assert state.current() == []
    assert state.apply(Total("M", "C", 200, "0")) == []
    assert state.current() == [(CHILD, "M", "C")]


def test_with_emit_changes_ends_and_new_beginnings_are_written(database: Database) -> None:
    state = State(database, emit="changes")
    for total in (Total("M", "C", 80, "800"), Total("M", "C", 1, "5000"), Total("M", "C", 200)):
        state.apply(total)
    assert state.ask("SELECT pattern_id, is_end FROM detections ORDER BY detection_id") == [
        (CHILD, False),
        (CHILD, True),
        (CHILD, False),
    ]


def test_detections_of_a_chunk_are_in_the_order_of_their_names(database: Database) -> None:
    found = State(database).apply(
        Total("m", "a", 80),
        Total("M", "b", 80),
        Total("M", "B", 80),
        *people("F", 101, "A"),
        *people("M", 102, "A"),
    )
    assert found == [
        (CHILD, "M", "B"),
        (CHILD, "M", "b"),
        (CHILD, "m", "a"),
        ("PatId3", "A", ""),
    ]


@pytest.mark.parametrize("share", ["0", "1"])
def test_shares_of_nothing_and_of_all_work(database: Database, share: str) -> None:
    totals, weights = ranked([*COUNTS[:-1], 60_000], ["1"] * 11)
    state = State(database, upgrade_top=Decimal(share), upgrade_bottom=Decimal(share))
    state.weigh(*weights)
    # All weights are equal, so all have the rank 0; C10 alone has the count rank 1.
    assert len(state.apply(*totals)) == (1 if share == "0" else 11)
