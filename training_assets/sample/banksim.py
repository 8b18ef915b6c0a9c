"""Transactions in the shape of BankSim: 4,112 customers, 50 merchants, 180 days, texts in quotes.

    transactions.csv         one row a transaction, sorted by step (a day)
    CustomerImportance.csv   one row a transaction too; its weight is the amount

As in the public data set, two merchants of transport have 85 % of the rows. All three patterns are
there when they have more than 50,000: frequent customers of low weight, customers who spend less
than 23 on average, and merchants with fewer women than men.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.errors import SettingsError

TRANSACTIONS: Final = 594_643
_CUSTOMERS: Final = 4_112
_MERCHANTS: Final = 50
_STEPS: Final = 180
_BIG: Final = {"M1823072687": 0.504, "M348934600": 0.345}
_GENDERS: Final = {"F": 0.546, "M": 0.451, "E": 0.002, "U": 0.001}
# By merchant: the first are those of transport. The others have their category by number.
_CATEGORIES: Final = (
    "es_food",
    "es_health",
    "es_wellnessandbeauty",
    "es_fashion",
    "es_barsandrestaurants",
    "es_hyper",
    "es_tech",
    "es_sportsandtoys",
    "es_home",
    "es_hotelservices",
    "es_otherservices",
    "es_contents",
    "es_travel",
    "es_leisure",
)
_MEN_PREFER: Final = (2, 9)
_SCALE: Final = 27.0


def write_banksim(
    folder: Path,
    *,
    transactions: int = TRANSACTIONS,
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> tuple[Path, Path]:
    """Write both files; the same seed gives the same bytes. Raises ``SettingsError``."""
    if transactions < 1:
        raise SettingsError(
            f"banksim: transactions is {transactions}; expected at least 1. Raise --transactions."
        )
    rng = np.random.default_rng(seed)
    customers, merchants, columns = _draw(rng, transactions)
    folder.mkdir(parents=True, exist_ok=True)
    source, importance = folder / "transactions.csv", folder / "CustomerImportance.csv"
    quoted = {name: _quoted(column) for name, column in columns.items()}
    text = [pc.cast(pa.array(columns["step"]), pa.string()), _quoted(customers)]
    text += [quoted["age"], quoted["gender"], "'28007'", _quoted(merchants), "'28007'"]
    text += [quoted["category"], columns["amount"], "0"]
    header = "step,customer,age,gender,zipcodeOri,merchant,zipMerchant,category,amount,fraud"
    _write(source, header, text)
    progress(f"{source}: {transactions:,} transactions")
    weights = [_quoted(customers), _quoted(merchants), columns["amount"], quoted["category"], "0"]
    _write(importance, "Source,Target,Weight,typeTrans,fraud", weights)
    return source, importance


def _draw(rng: np.random.Generator, rows: int) -> tuple[Any, Any, dict[str, Any]]:
    """Ids of customers and merchants by row, and the other columns."""
    genders = rng.choice(list(_GENDERS), _CUSTOMERS, p=list(_GENDERS.values()))
    ages = rng.choice(list("0123456U"), _CUSTOMERS)
    merchant = rng.choice(_MERCHANTS, rows, p=_merchant_shares())
    customer = _draw_customers(rng, merchant, genders)
    # What a customer spends, and by how much it varies from one time to the next.
    level = np.exp(rng.normal(0.0, 0.08, _CUSTOMERS))
    dear = np.where(np.arange(_MERCHANTS) < len(_BIG), 1.0, rng.uniform(1, 12, _MERCHANTS))
    amount = _SCALE * level[customer] * dear[merchant] * rng.gamma(5.0, 1 / 5.0, rows)
    category = np.array(
        ["es_transportation"] * len(_BIG)
        + [_CATEGORIES[i % len(_CATEGORIES)] for i in range(_MERCHANTS - len(_BIG))]
    )
    columns = {
        "step": np.sort(rng.integers(0, _STEPS, rows)),
        "age": ages[customer],
        "gender": genders[customer],
        "category": category[merchant],
        "amount": _two_decimals(amount),
    }
    return _ids(rng, "C", _CUSTOMERS)[customer], _merchant_ids(rng)[merchant], columns


def _draw_customers(rng: np.random.Generator, merchant: Any, genders: Any) -> Any:
    activity = rng.gamma(8.0, 1.0, _CUSTOMERS)
    men = activity * np.where(genders == "M", 2.5, 1.0)
    rows = len(merchant)
    anyone = rng.choice(_CUSTOMERS, rows, p=activity / activity.sum())
    rather_men = rng.choice(_CUSTOMERS, rows, p=men / men.sum())
    return np.where(np.isin(merchant, _MEN_PREFER), rather_men, anyone)


def _merchant_shares() -> Any:
    small = 1.0 / np.arange(2, _MERCHANTS - len(_BIG) + 2)
    shares = [*_BIG.values(), *(small / small.sum() * (1 - sum(_BIG.values())))]
    return np.array(shares) / np.sum(shares)


def _ids(rng: np.random.Generator, letter: str, count: int) -> Any:
    numbers = rng.choice(2_000_000_000, count, replace=False)
    return np.array([f"{letter}{number}" for number in numbers])


def _merchant_ids(rng: np.random.Generator) -> Any:
    return np.array([*_BIG, *_ids(rng, "M", _MERCHANTS - len(_BIG))])


def _two_decimals(amount: Any) -> pa.Array:
    cents = np.maximum(1, np.round(amount * 100)).astype(np.int64)
    whole, rest = pa.array(cents // 100), pa.array(cents % 100)
    return pc.binary_join_element_wise(
        pc.cast(whole, pa.string()), pc.utf8_lpad(pc.cast(rest, pa.string()), 2, "0"), "."
    )


def _quoted(values: Any) -> pa.Array:
    return pc.binary_join_element_wise("'", pa.array(values).cast(pa.string()), "'", "")


def _write(path: Path, header: str, columns: list[Any]) -> None:
    lines = pc.binary_join_element_wise(*columns, ",")
    with open(path, "wb") as file:
        file.write(f"{header}\n".encode())
        for start in range(0, len(lines), 100_000):
            part = lines.slice(start, 100_000).to_pylist()
            file.write(("\n".join(part) + "\n").encode())
