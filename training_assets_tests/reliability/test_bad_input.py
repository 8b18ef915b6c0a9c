"""The campaigns of bad input measure what they say, on a few kinds; benchmarks run them all."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.schemas import CLICKS
from training_assets_tests.reliability.campaign import bad_input, fuzz, report
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.reliability.campaign.planting import Kind, Plant, drop

NULL = "customer_id is null"
ODD = Outcome("fuzz", "a|b", 3, "<img src=x> *x* `y` [z](w) | NOT", 0, 0)


def test_kinds_are_many_and_each_is_named_once() -> None:
    names = [kind.name for kind in bad_input.kinds()]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("engine", ["sail"], indirect=True)
def test_what_is_not_as_expected_is_told(spark: SparkSession, tmp_path: Path) -> None:
    text = "customer_id,item_id\n1,7\n,7\n"
    kinds = [
        # As if a row had been lost, and an error did not say what it is about.
        Kind("lost", (Plant(CLICKS, drop("a.csv", text, CLICKS), reasons=[NULL] * 3),)),
        Kind("unclear", (Plant(CLICKS, drop("a.csv", "x", CLICKS)),), ("is missing", "no words")),
    ]
    lost, unclear = bad_input.try_all(spark, tmp_path, kinds)
    assert lost.lost_rows == 1
    assert lost.torn_days > 0
    assert "NOT AS PROMISED: unclear error" in unclear.result
    assert (unclear.lost_rows, unclear.torn_days, report.is_bad(unclear)) == (0, 0, True)


def test_fuzzing_goes_on_and_says_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(draw: fuzz.Draw, root: Path) -> str:
        raise KeyError("not one of ours")

    monkeypatch.setattr(fuzz, "_EXAMPLES", 2)
    right = "Parquet rankings of any types"
    monkeypatch.setattr(fuzz, "PROPERTIES", {"wrong": wrong, right: fuzz.PROPERTIES[right]})
    outcomes = fuzz.run(tmp_path, 0, 1)
    assert outcomes[1].times > 0
    assert [o.kind for o in outcomes if report.is_bad(o)] == ["wrong"]
    assert "not one of ours" in outcomes[0].result


def test_report_adds_up_and_shows_text_as_text() -> None:
    provenance = {
        "commit": "abc",
        "versions": {"python": "3"},
        "seed": 0,
        "command": "x",
        "seconds": 2.0,
        "machine": "m",
    }
    rows = [ODD, Outcome("fuzz", "c", 2_000, "ok", 1, 2)]
    text = report.markdown(
        {"fuzz": {"provenance": provenance, "outcomes": [vars(row) for row in rows]}}
    )
    assert "| **in all** | 2 | 2,003 | 1 | 2 | 1 | 2 |" in text
    row = r"| a\|b | 3 | &lt;img src=x&gt; \*x\* \`y\` \[z\](w) \| NOT | 0 | 0 |"
    assert row in text
