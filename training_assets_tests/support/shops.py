"""A small shop's raw interactions, items and users, as JSON lines."""

import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DAYS = [date(2024, 5, 1) + timedelta(days=n) for n in range(3)]
KINDS = ("view", "click", "like", "purchase", "add_to_cart")


def put(root: Path, table: str, day: date, rows: Iterable[Row], name: str = "a.jsonl") -> Path:
    path = root / table / f"dt={day}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def user(n: int, *, text: bool) -> int | str:
    return f"user-{n}" if text else n


def item(n: int, *, text: bool) -> int | str:
    return f"prod_{n}" if text else n


def interactions(day: date, *, text: bool = False, count: int = 50) -> list[Row]:
    """Valid ones, of seven users with five items."""
    return [
        {
            "user_id": user(n % 7, text=text),
            "item_id": item(1 + n % 5, text=text),
            "interaction_type": KINDS[n % 5],
            "timestamp": f"{day}T{10 + n // 60}:{n % 60:02d}:00Z",
            "interaction_id": f"{day}-{n}",
            "session_id": f"s-{n % 7}",
            "price": "1.50",
            "device_type": "mobile",
            "page_context": "product",
        }
        for n in range(count)
    ]


def items(*, text: bool = False, first: int = 1, last: int = 6) -> list[Row]:
    return [
        {
            "item_id": item(n, text=text),
            "title": f"Title {n}",
            "category": " Shoes ",
            "price": "3.50",
            "created_at": "2024-01-01T00:00:00Z",
        }
        for n in range(first, last + 1)
    ]


def users(*, text: bool = False) -> list[Row]:
    return [{"user_id": user(n, text=text), "join_date": "2024-01-01"} for n in range(7)]


def write_shop(root: Path, *, text: bool = False) -> Path:
    """Three days of interactions, items on the first and the third, users on the first."""
    raw = root / "raw"
    for day in DAYS:
        put(raw, "interactions", day, interactions(day, text=text))
    put(raw, "items", DAYS[0], items(text=text))
    put(raw, "items", DAYS[2], items(text=text, first=2))
    put(raw, "users", DAYS[0], users(text=text))
    return root
