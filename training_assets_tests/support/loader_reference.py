"""Batches from plain rows with loops that anyone can check."""

from typing import Any

from training_assets_tests.support.loader_lakes import PlainDay


def expected_batch(
    day: PlainDay, rows: list[int], *, length: int, layout: str = "expanded"
) -> dict[str, Any]:
    """What a batch of ``rows`` holds, as Python lists."""
    chosen = [day.rows[row] for row in rows]
    customers = [row[0] for row in chosen]
    held = customers if layout == "expanded" else sorted(set(customers))
    histories = [day.histories[customer][:length] for customer in held]
    expected: dict[str, Any] = {
        "impressions": [row[2] for row in chosen],
        "labels": [float(row[3]) for row in chosen],
        "lengths": [len(history) for history in histories],
        "customer_ids": customers,
        "ranking_ids": [row[1] for row in chosen],
    }
    if layout != "expanded":
        expected["inverse"] = [held.index(customer) for customer in customers]
    for index, name in enumerate(["actions", "action_types", "days_ago"]):
        values = [[action[index] for action in history] for history in histories]
        if layout == "jagged":
            expected[name] = [value for history in values for value in history]
        else:
            expected[name] = [history + [0] * (length - len(history)) for history in values]
    if layout == "jagged":
        ends = [sum(expected["lengths"][: n + 1]) for n in range(len(held))]
        expected["offsets"] = [0, *ends]
    else:
        expected["mask"] = [[n < len(h) for n in range(length)] for h in histories]
    return expected
