"""The rules of the data contract as small literal cases, by name.

``test_contract.py`` runs each through the public function and through what is published.
"""

from training_assets_tests.support.cases import Case, newest, shown
from training_assets_tests.support.frames import DAY, at, before, cart, click, order, ranking

# Click, add-to-cart, purchase.
C, A, P = 1, 2, 3
MAX_INT = 2**31 - 1
MAKERS = {"click": (click, C), "cart": (cart, A), "order": (order, P)}
EVE = before(1)
NOON = at(EVE)

DAYS = {
    # Rule 1: the day of an action is its dt.
    "late event counts by its dt and not by its event time": newest(
        click(1, 5, EVE, at(before(30))), gives=[(5, C)]
    ),
    "action filed on the day is excluded though its event time is earlier": newest(
        click(1, 5, DAY, at(before(3))), gives=[]
    ),
    "action filed before the day counts though its event time is later": newest(
        click(1, 5, EVE, at(before(-2))), gives=[(5, C)]
    ),
    "order counts by its order date": newest(
        order(1, 5, DAY, at(before(2))), order(1, 6, EVE, at(DAY)), gives=[(6, P)]
    ),
    # Rule 2: strictly before.
    **{
        f"{name} of the same day never counts": newest(make(1, 5, DAY, at(DAY, "00:00")), gives=[])
        for name, (make, _) in MAKERS.items()
    },
    **{
        f"{name} of the day before counts": newest(
            make(1, 5, EVE, at(EVE, "23:59")), gives=[(5, kind)]
        )
        for name, (make, kind) in MAKERS.items()
    },
    "later action never counts": newest(click(1, 5, before(-1), at(before(-1))), gives=[]),
    # Rule 3: look-back, half-open from the old end, from each impression day.
    "action at the old end of the look-back counts": newest(
        click(1, 5, before(365)), gives=[(5, C)]
    ),
    "action one day beyond the look-back does not count": newest(
        click(1, 5, before(366)), gives=[]
    ),
    "shorter look-back cuts earlier": newest(
        click(1, 5, before(7)), click(1, 6, before(8)), gives=[(5, C)], lookback=7
    ),
    "unlimited look-back counts everything": newest(
        click(1, 5, before(40_000)), gives=[(5, C)], lookback=None
    ),
    "look-back is counted from each impression day": Case(
        rankings=[ranking(1, [99], DAY), ranking(1, [99], EVE)],
        actions=[click(1, 5, before(8))],
        rows=[shown(1, 99, newest=[(5, C)], day=EVE), shown(1, 99)],
        lookback=7,
    ),
    "action between two impression days counts for the later only": Case(
        rankings=[ranking(1, [99], DAY), ranking(1, [99], before(2))],
        actions=[click(1, 5, EVE)],
        rows=[shown(1, 99, day=before(2)), shown(1, 99, newest=[(5, C)])],
    ),
}

ORDER = {
    # Rule 4.
    "newest first": newest(
        *(click(1, i, before(i), at(before(i))) for i in (3, 1, 2)),
        gives=[(1, C), (2, C), (3, C)],
    ),
    "event time orders across days": newest(
        click(1, 5, EVE, at(before(9))),
        click(1, 6, before(2), at(before(2))),
        gives=[(6, C), (5, C)],
    ),
    "microseconds decide": newest(
        click(1, 5, EVE, at(EVE, "12:00:00.000001")),
        click(1, 6, EVE, at(EVE, "12:00:00.000002")),
        gives=[(6, C), (5, C)],
    ),
    "ties go by item then by type": newest(
        order(1, 7, EVE, NOON),
        cart(1, 3, EVE, NOON),
        click(1, 7, EVE, NOON),
        gives=[(3, A), (7, C), (7, P)],
    ),
    **{
        f"{name} without an event time is of the day at midnight": newest(
            make(1, 5, EVE, None),
            click(1, 6, before(2), at(before(2), "23:59:59")),
            click(1, 7, EVE, at(EVE, "00:00:01")),
            click(1, 4, EVE, at(EVE, "00:00")),
            gives=[(7, C), (4, C), (5, kind), (6, C)],
        )
        for name, (make, kind) in MAKERS.items()
    },
    "order time is used where it is given": newest(
        order(1, 5, EVE, at(EVE, "15:00")),
        click(1, 6, EVE, at(EVE, "14:00")),
        gives=[(5, P), (6, C)],
    ),
}

LENGTH = {
    # Rule 5: length and duplicates.
    **{
        f"the newest 4 of {count} are kept": newest(
            *(click(1, i, before(i), at(before(i))) for i in range(1, count + 1)),
            gives=[(i, C) for i in range(1, min(count, 4) + 1)],
        )
        for count in (3, 4, 5)
    },
    "the limit holds within one day": newest(
        *(click(1, i, EVE, at(EVE, f"12:00:{i:02d}")) for i in range(1, 9)),
        click(1, 50, before(2), at(EVE, "12:00:07.5")),
        gives=[(8, C), (50, C), (7, C), (6, C)],
    ),
    "duplicates are kept": newest(*[click(1, 5, EVE, NOON)] * 3, gives=[(5, C)] * 3),
    "the default is a thousand actions of a year": newest(
        *(click(1, i, EVE, at(EVE, f"{i // 60:02d}:{i % 60:02d}")) for i in range(1, 1101)),
        click(1, 9999, before(366)),
        gives=[(i, C) for i in range(1100, 100, -1)],
        length=1000,
    ),
    # Rules 6 and 7: codes and padding.
    "codes are 1 click, 2 cart, 3 order": Case(
        rankings=[ranking(1, [99])],
        actions=[click(1, 7, EVE), cart(1, 7, EVE), order(1, 7, EVE)],
        rows=[("2024-05-10", 1, "r", 99, 0, [7, 7, 7, 0], [1, 2, 3, 0])],
    ),
    "zeros stand on the right of both arrays": Case(
        rankings=[ranking(1, [99])],
        actions=[cart(1, 5, EVE)],
        rows=[("2024-05-10", 1, "r", 99, 0, [5, 0, 0, 0], [2, 0, 0, 0])],
    ),
}

IMPRESSIONS = {
    # Rule 8: every impression item is a row.
    "customer without history gets zeros": Case(
        rankings=[ranking(2, [99])],
        actions=[click(1, 5, EVE)],
        rows=[("2024-05-10", 2, "r", 99, 0, [0, 0, 0, 0], [0, 0, 0, 0])],
    ),
    "no actions at all": Case(rankings=[ranking(2, [99])], actions=[], rows=[shown(2, 99)]),
    "item that stands twice gives two rows": Case(
        rankings=[ranking(1, [(9, True), (8, False), (9, True)])],
        actions=[],
        rows=[shown(1, 8), shown(1, 9, 1), shown(1, 9, 1)],
    ),
    "every ranking of a customer gives its rows": Case(
        rankings=[
            ranking(1, [9], name="a"),
            ranking(1, [9, 8], name="b"),
            ranking(1, [9], name="b"),
            ranking(1, [7], name=None),
        ],
        actions=[click(1, 5, EVE)],
        rows=[
            shown(1, item, newest=[(5, C)], name=name)
            for name, item in ((None, 7), ("a", 9), ("b", 8), ("b", 9), ("b", 9))
        ],
    ),
    **{
        f"{name} gives no row": Case(rankings=[ranking(1, items)], actions=[], rows=[])
        for name, items in {
            "no array": None,
            "an empty array": [],
            "an array of null": [None],
            "an item without an id": [(None, True)],
            "an item without a label": [(9, None)],
        }.items()
    },
    "invalid items leave the valid ones": Case(
        rankings=[
            ranking(
                1,
                [
                    None,
                    (None, True),
                    (7, None),
                    (0, True),
                    (-3, False),
                    (MAX_INT + 1, False),
                    (7, True),
                    (MAX_INT, False),
                ],
            )
        ],
        actions=[],
        rows=[shown(1, 7, 1), shown(1, MAX_INT)],
    ),
    "ranking without customer or day gives no row": Case(
        rankings=[ranking(None, [9]), ranking(1, [9], day=None)],
        actions=[click(1, 5, EVE)],
        rows=[],
    ),
    # Rule 10.
    "customer without impressions gives no row": Case(
        rankings=[ranking(1, [9])], actions=[click(2, 5, EVE)], rows=[shown(1, 9)]
    ),
    "histories are never mixed between customers": Case(
        rankings=[ranking(1, [9]), ranking(2, [9])],
        actions=[click(1, 5, EVE), click(2, 6, EVE)],
        rows=[shown(1, 9, newest=[(5, C)]), shown(2, 9, newest=[(6, C)])],
    ),
}

VALIDITY = {
    # Rule 9: invalid actions.
    **{
        f"{name} with {fault} does not enter a history": newest(
            make(customer, item, day, NOON), click(1, 6, EVE, NOON), gives=[(6, C)]
        )
        for name, (make, _) in MAKERS.items()
        for fault, (customer, item, day) in {
            "no customer": (None, 5, EVE),
            "no item": (1, None, EVE),
            "item 0": (1, 0, EVE),
            "a negative item": (1, -1, EVE),
            "an item of 2^31": (1, MAX_INT + 1, EVE),
            "an item of 2^62": (1, 2**62, EVE),
            "no day": (1, 5, None),
        }.items()
    },
    "the largest item id is valid": newest(click(1, MAX_INT, EVE), gives=[(MAX_INT, C)]),
    "customer ids are 64 bit and may be zero or negative": Case(
        rankings=[ranking(i, [9]) for i in (0, -5, 2**62)],
        actions=[click(i, 7, EVE) for i in (0, -5, 2**62)],
        rows=[shown(i, 9, newest=[(7, C)]) for i in (0, -5, 2**62)],
        keeps_ids=True,
    ),
}

RULES: dict[str, Case] = {**DAYS, **ORDER, **LENGTH, **IMPRESSIONS, **VALIDITY}
