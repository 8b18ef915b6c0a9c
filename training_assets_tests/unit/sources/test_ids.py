"""Integer ids of text ids: the same for ever, whoever adds them, and never two for one."""

import threading
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from training_assets.errors import RawDataError
from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.schemas import CUSTOMER_IDS, ITEM_IDS
from training_assets.sources import id_tables, ids
from training_assets.sources.id_tables import add_customers, add_items, id_files

A, B = date(2024, 5, 1), date(2024, 5, 2)


def numbers(root: Path) -> dict[str, int]:
    """By text; no text and no number stands twice."""
    found = []
    for file in id_files(Lake.at(root), ITEM_IDS):
        found += SealedParquet(file).read().to_pylist()
    assert len({row["id"] for row in found}) == len({row["text"] for row in found}) == len(found)
    return {row["text"]: row["id"] for row in found}


def test_a_hash_stays_what_it_is() -> None:
    # Published histories hold these: another value would be another customer.
    assert ids.hash_text("user-1") == -7301361363733257848
    texts = pa.array(["user-1", "b", "user-1", "ä"])
    assert ids.hash_texts(texts).to_pylist() == [ids.hash_text(t) for t in texts.to_pylist()]


def test_items_are_numbered_by_first_day_and_text(tmp_path: Path) -> None:
    assert add_items(Lake.at(tmp_path), {"z": A, "b": B, "a": B, "ä": A}) == 4
    assert numbers(tmp_path) == {"z": 1, "ä": 2, "a": 3, "b": 4}


def test_later_ones_come_after_and_known_ones_stay(tmp_path: Path) -> None:
    add_items(Lake.at(tmp_path), {"m": B})
    assert add_items(Lake.at(tmp_path), {"m": A, "a": A}) == 1
    assert add_items(Lake.at(tmp_path), {"m": A, "a": A}) == 0
    assert numbers(tmp_path) == {"m": 1, "a": 2}


def test_runs_at_once_give_every_text_one_number(tmp_path: Path) -> None:
    parts = [{f"t{n}": A for n in range(start, start + 40)} for start in (0, 20, 30, 10)]
    threads = [threading.Thread(target=add_items, args=(Lake.at(tmp_path), part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = numbers(tmp_path)
    assert sorted(found.values()) == list(range(1, 71))
    assert set(found) == {f"t{n}" for n in range(70)}


def test_a_run_killed_before_its_commit_has_added_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(id_tables, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            add_items(Lake.at(tmp_path), {"lost": A})
    assert add_items(Lake.at(tmp_path), {"a": A, "lost": A}) == 2
    assert numbers(tmp_path) == {"a": 1, "lost": 2}


def test_customers_that_another_run_added_meanwhile_are_looked_at_again(tmp_path: Path) -> None:
    def rows(*texts: str) -> pa.Table:
        numbers = [ids.hash_text(text) for text in texts]
        return pa.table({"id": numbers, "text": texts, "first_seen": [A] * len(texts)})

    seen = Lake.at(tmp_path).snapshot(CUSTOMER_IDS.name)
    assert add_customers(Lake.at(tmp_path), rows("a", "b"), seen)
    assert not add_customers(Lake.at(tmp_path), rows("b", "c"), seen)
    newest = Lake.at(tmp_path).snapshot(CUSTOMER_IDS.name)
    assert add_customers(Lake.at(tmp_path), rows("c"), newest)
    files = id_files(Lake.at(tmp_path), CUSTOMER_IDS)
    texts = [row["text"] for file in files for row in SealedParquet(file).read().to_pylist()]
    assert sorted(texts) == ["a", "b", "c"]


def test_a_commit_whose_answer_was_lost_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = id_tables.commit

    def lose(*args: object) -> Exception:
        real(*args)  # type: ignore[arg-type]
        return OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(id_tables, "commit", lose)
        assert add_items(Lake.at(tmp_path), {"a": A}) == 1
    assert numbers(tmp_path) == {"a": 1}


@pytest.mark.parametrize("text", ["07", "7.0", "prod_1", "+7", "9" * 20, "", "१", "1१", "7\n"])
def test_what_is_no_plain_integer_is_a_text(text: str) -> None:
    assert not ids.is_integer(text)
    assert ids.are_integers(pa.array([text, "7", "-7", "0"])).to_pylist() == [False, *[True] * 3]


def test_mixed_ids_are_named() -> None:
    with pytest.raises(RawDataError, match=r"the id 'prod_1' is of another kind .* are integers"):
        ids.integers_of(pa.array(["7", "prod_1"]), "raw/items")
    with pytest.raises(RawDataError, match=r"items: the id '7' is of another kind .* are texts"):
        ids.texts_only(pa.array(["prod_1", "7"]), "raw/items")


def test_an_integer_that_fits_nowhere_is_named() -> None:
    with pytest.raises(RawDataError, match="items: an id is beyond 64 bits"):
        ids.integers_of(pa.array(["7", "9223372036854775808"]), "items")
