"""Random requests after the service's OpenAPI document, valid and invalid, with and without key."""

from pathlib import Path

from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.support.service import serving
from training_assets_tests.support.service_contract import try_contract

# Of an operation, for valid requests and for invalid ones; a fifth of it without a key.
_EXAMPLES = 13


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """More than 10,000 requests for ``times`` 20."""
    examples = times * _EXAMPLES
    outcomes = []
    with serving(lake=str(scratch / "lake")) as served:
        for kind, key, part in (
            ("requests with a key that may do all", served.client().text, examples),
            ("requests without a key", "", max(1, examples // 5)),
        ):
            tried, faults = try_contract(served.url, key, examples=part, seed=seed)
            result = "no 5xx, every answer as the document says"
            if faults:
                result = f"NOT AS PROMISED: {len(faults)} answers: {'; '.join(faults[:5])}"
            print(kind, tried, result, flush=True)
            outcomes.append(Outcome("service_contract", kind, tried, result))
    return outcomes
