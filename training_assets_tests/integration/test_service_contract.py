"""Random requests after the OpenAPI document: no answer is a 5xx, each is as documented.

10,000 and more of them: the campaign ``service_contract``.
"""

from pathlib import Path

from training_assets_tests.support.service import serving
from training_assets_tests.support.service_contract import try_contract


def test_answers_are_as_documented(tmp_path: Path) -> None:
    with serving(lake=str(tmp_path)) as served:
        tried, faults = try_contract(served.url, served.client().text, examples=1, seed=7)
    assert tried >= 25
    assert not faults, "\n\n".join(faults[:3])
