"""Bad input is quarantined or told; nothing is lost, and nothing is half done."""

from decimal import Decimal

import pytest

from training_assets.transactions.loop import detect_all
from training_assets_tests.unit.transactions.banks import line, write_lines
from training_assets_tests.unit.transactions.conftest import OpenBank

GOOD = line("C0", "M", amount="10")
BAD = {
    "1,'C1','4'": "wrong number of columns",
    f"{GOOD},0": "wrong number of columns",
    line("", "M"): "customer is empty",
    line(" ' ", "M"): "customer is empty",
    line("C1", '""'): "merchant is empty",
    line("x" * 201, "M"): "customer is longer than 200",
    line("C1", "M", amount=""): "amount is no plain decimal number",
    line("C1", "M", amount="ten"): "amount is no plain decimal number",
    line("C1", "M", amount="1e3"): "amount is no plain decimal number",
    line("C1", "M", amount="NaN"): "amount is no plain decimal number",
    line("C1", "M", amount="1.2.3"): "amount is no plain decimal number",
    line("C1", "M", amount="1" * 13): "amount is no plain decimal number",
    line("C1", "M", amount="0." + "1" * 19): "amount is no plain decimal number",
    line("C1", "M", amount="-0.01"): "amount is negative",
    line("C1", "M").replace("0,", "x,", 1): "step is no whole number",
    line("C1", "M").replace("0,", "-1,", 1): "step is no whole number",
    line("C\x001", "M"): "customer holds a NUL character",
}


def test_bad_rows_are_quarantined_with_reason_and_place_and_the_others_count(
    open_bank: OpenBank,
) -> None:
    bank = open_bank(chunk_rows=7)
    lines = [row for bad in BAD for row in (GOOD, bad)]
    write_lines(bank.source, lines)
    bank.feed()
    detect_all(bank.detector())
    found = bank.rows("SELECT row, reason FROM quarantine WHERE source = 'transactions'")
    assert sorted(found) == [(2 * i + 1, reason) for i, reason in enumerate(BAD.values())]
    assert bank.rows("SELECT sum(row_count), sum(quarantined_count) FROM applied_chunks") == [
        (len(lines), len(BAD))
    ]
    assert bank.state().pairs == {("M", "C0"): (len(BAD), Decimal(10 * len(BAD)))}


@pytest.mark.parametrize("is_bytes", [False, True])
def test_the_content_of_a_bad_row_is_kept(open_bank: OpenBank, is_bytes: bool) -> None:
    bank = open_bank()
    bad = b"1,'C1','4','\xff',1,'M','1','es',10,0" if is_bytes else b"1,half a line"
    bank.source.write_bytes(bank.source.read_bytes() + bad + b"\n")
    bank.feed()
    detect_all(bank.detector())
    expected = (
        ("not UTF-8", "1,'C1','4','\\xff',1,'M','1','es',10")
        if is_bytes
        else ("wrong number of columns", "1,half a line")
    )
    assert bank.rows("SELECT reason, content FROM quarantine") == [expected]


def test_quotes_of_all_kinds_are_taken_off(open_bank: OpenBank) -> None:
    bank = open_bank()
    quoted = ["'C0'", '"C0"', "C0", "'\"C0\"'", "\"'C0'\"", " 'C0' ", "'C0", 'C0"']
    quoted += ["‘C0’", "“C0”", "`C0`"]
    write_lines(bank.source, [GOOD.replace("'C0'", customer) for customer in quoted])
    bank.feed()
    detect_all(bank.detector())
    assert bank.state().pairs == {("M", "C0"): (len(quoted), Decimal(10 * len(quoted)))}


def test_a_comma_within_quotes_is_part_of_the_value(open_bank: OpenBank) -> None:
    bank = open_bank()
    names = {
        "Doe, Jane": ["'Doe, Jane'", '"Doe, Jane"', "\"'Doe, Jane'\"", ' "Doe, Jane" '],
        'Ann "Jo" Li': ['"Ann ""Jo"" Li"', "'Ann \"Jo\" Li'", 'Ann "Jo" Li'],
        'Li, "Jo"x': ['"Li, ""Jo""x"', "'Li, \"Jo\"x'"],
        "O'Neil": ["'O'Neil'", "O'Neil", '"O\'Neil"', "'O''Neil'"],
        "O'Neil, Jr": ["'O'Neil, Jr'", '"O\'Neil, Jr"'],
    }
    # With quotes of any kind around a comma elsewhere in the line, and with none.
    categories = ["'es_food'", "'es, x'", '"es, x"']
    lines = [
        GOOD.replace("'C0'", text).replace("'es_food'", category)
        for texts in names.values()
        for text in texts
        for category in categories
    ]
    write_lines(bank.source, lines)
    bank.feed()
    detect_all(bank.detector())
    assert {customer: count for (_, customer), (count, _) in bank.state().pairs.items()} == {
        name: len(texts) * len(categories) for name, texts in names.items()
    }


def test_genders_are_known_in_any_case_and_as_words(open_bank: OpenBank) -> None:
    bank = open_bank()
    words = {
        "F": ["F", "f", "female", "FEMALE", "2"],
        "M": ["M", "Male", "'\"M\"'", "1"],
        "E": ["E", "Enterprise"],
        "U": ["U", "unknown", "", "X"],
    }
    genders = {f"{g}{i}": g for g, texts in words.items() for i, _ in enumerate(texts)}
    texts = [text for found in words.values() for text in found]
    lines = [line(name, "M", text) for name, text in zip(genders, texts, strict=True)]
    write_lines(bank.source, lines)
    bank.feed()
    detect_all(bank.detector())
    assert bank.state().genders == genders


def test_amounts_of_zero_and_any_plain_writing_count(open_bank: OpenBank) -> None:
    bank = open_bank()
    amounts = ["0", "0.00", "-0", "+5", "007.50", "999999999999.99", "0.000000000000000001"]
    write_lines(bank.source, [line(f"C{i}", "M", amount=a) for i, a in enumerate(amounts)])
    bank.feed()
    detect_all(bank.detector())
    assert bank.state().pairs == {
        ("M", f"C{i}"): (1, Decimal(amount)) for i, amount in enumerate(amounts)
    }


def test_the_longest_ids_and_the_largest_numbers_fit(open_bank: OpenBank) -> None:
    bank = open_bank(upgrade_min_transactions=0)
    merchant, customers, largest = "é" * 200, ["客" * 200, "C1"], f"{'9' * 12}.{'9' * 18}"
    write_lines(bank.source, [line(customer, merchant, amount=largest) for customer in customers])
    weights = [f"{customer},{merchant},{largest},x,0" for customer in customers]
    bank.importance.write_text("\n".join(["Source,Target,Weight,typeTrans,fraud", *weights]))
    bank.feed()
    detect_all(bank.detector())
    expected = {(merchant, customer): (1, Decimal(largest)) for customer in customers}
    assert bank.state().pairs == expected
    assert bank.rows("SELECT count(DISTINCT weight_rank_key) FROM customer_merchant_stats") == [
        (1,)
    ]


def test_bad_weights_are_quarantined_and_the_others_count(open_bank: OpenBank) -> None:
    bank = open_bank()
    write_lines(bank.source, [GOOD])
    bank.importance.write_text(
        "Source,Target,Weight,typeTrans,fraud\n'C0','M',\"4.5\",'x',0\n'C0','M',many,'x',0\n"
        "'','M',1,'x',0\n'C0'\n'C0',\"M\",-1,'y',0\n"
    )
    bank.feed()
    detect_all(bank.detector())
    assert bank.state().weights == {("M", "C0"): (Decimal("3.5"), 2)}
    assert bank.rows("SELECT row, reason FROM quarantine ORDER BY row") == [
        (1, "Weight is no plain decimal number"),
        (2, "Source is empty"),
        (3, "wrong number of columns"),
    ]
