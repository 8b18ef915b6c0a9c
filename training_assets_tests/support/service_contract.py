"""Random requests after the service's OpenAPI document, valid and invalid ones, by Schemathesis."""

from typing import Any

import hypothesis
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode

# Not whether a body that it holds for valid is accepted: rules of rows decide that, which the
# document does not tell.
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
_NOT_IMPLEMENTED = 501


def try_contract(url: str, key: str, *, examples: int, seed: int) -> tuple[int, list[str]]:
    """Requests tried, and what was wrong with answers: ``examples`` an operation and mode."""
    load_all_checks()
    checks = [CHECKS.get_one(name) for name in _CHECKS]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    tried, faults = 0, []

    for found in schema.get_all_operations():
        operation = found.ok()

        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except Exception:
                # There are no invalid requests of an operation without parameters.
                continue

            @hypothesis.seed(seed)
            @hypothesis.settings(
                max_examples=examples,
                database=None,
                deadline=None,
                suppress_health_check=list(hypothesis.HealthCheck),
                phases=[hypothesis.Phase.generate],
                derandomize=False,
            )
            @hypothesis.given(case=strategy)
            def run(case: Any) -> None:
                nonlocal tried
                tried += 1
                response = case.call(base_url=url, headers=headers)
                if response.status_code == _NOT_IMPLEMENTED:
                    return
                try:
                    case.validate_response(response, checks=checks, headers=headers)
                except Exception as error:
                    faults.append(f"{case.method} {case.path}: {error}")
                except BaseExceptionGroup as group:
                    faults.append(f"{case.method} {case.path}: {group.exceptions}")

            try:
                run()
            except hypothesis.errors.Unsatisfiable:
                continue
    return tried, faults
