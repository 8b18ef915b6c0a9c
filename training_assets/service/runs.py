"""Starts runs of a tenant's assets at Dagster's webserver, and asks how they are: by GraphQL.

The platform's own jobs are launched as the UI does it; Dagster itself is not imported here.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from training_assets.service.problems import Problem

_SECONDS: Final = 30
_MAX_BYTES: Final = 8 * 2**20
# Where the definitions are served under when there is one lake.
_REPOSITORY: Final = "__repository__"
_PARTITION_RANGE: Final = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
_TENANT_TAG: Final = "training_assets/tenant"

_LOCATIONS: Final = """
query { workspaceOrError { ... on Workspace { locationEntries {
  name locationOrLoadError { ... on RepositoryLocation { repositories { name } } } } } } }
"""
_LAUNCH: Final = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId status } }
  ... on PythonError { message } ... on InvalidSubsetError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }
"""
_STATUS: Final = """
query ($id: ID!) { runOrError(runId: $id) {
  __typename ... on Run { runId status tags { key value } startTime endTime
    assetSelection { path } } } }
"""


@dataclass(frozen=True)
class Runs:
    """Runs at one webserver. Raises ``Problem`` 503 where it does not answer."""

    url: str

    def launch(
        self, tenant: str, assets: Sequence[Sequence[str]], first: date, last: date
    ) -> dict[str, Any]:
        """A run of these assets over a range of days, of the tenant's code location."""
        location, repository = self._repository(tenant)
        tags = zip(_PARTITION_RANGE, (str(first), str(last)), strict=True)
        params = {
            "selector": {
                "repositoryLocationName": location,
                "repositoryName": repository,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": list(path)} for path in assets],
                "assetCheckSelection": None,
            },
            "runConfigData": {},
            "executionMetadata": {
                "tags": [
                    {"key": _TENANT_TAG, "value": tenant},
                    *({"key": key, "value": value} for key, value in tags),
                ]
            },
        }
        found = self._asked(_LAUNCH, {"params": params})["launchRun"]
        if found["__typename"] != "LaunchRunSuccess":
            raise Problem(
                "invalid_parameter",
                "Dagster did not take the run; expected assets and days that it knows.",
            )
        return {"run_id": found["run"]["runId"], "status": found["run"]["status"]}

    def status(self, tenant: str, run_id: str) -> dict[str, Any]:
        """Raises ``Problem`` 404 for a run that the tenant did not start."""
        found = self._asked(_STATUS, {"id": run_id})["runOrError"]
        if found["__typename"] != "Run" or _tenant_of(found) != tenant:
            raise Problem("not_found", "There is no such run.")
        return {
            "run_id": found["runId"],
            "status": found["status"],
            "started": found["startTime"],
            "ended": found["endTime"],
        }

    def _repository(self, tenant: str) -> tuple[str, str]:
        """Location and repository of the tenant: that of its name, or the only one there is."""
        entries = self._asked(_LOCATIONS, {})["workspaceOrError"].get("locationEntries", [])
        own = [entry for entry in entries if entry["name"] == tenant]
        if not own and len(entries) == 1 and tenant == "default":
            own = entries
        repositories = [
            one["name"]
            for entry in own
            for one in (entry.get("locationOrLoadError") or {}).get("repositories", [])
        ]
        if not repositories:
            raise Problem(
                "unavailable", "Dagster does not serve the tenant's definitions at the moment."
            )
        return own[0]["name"], repositories[0]

    def _asked(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                found = json.loads(answer.read(_MAX_BYTES))
        except (OSError, ValueError):
            raise Problem("unavailable", "Dagster does not answer at the moment.") from None
        if found.get("errors") or not found.get("data"):
            raise Problem("invalid_parameter", "Dagster did not understand the request.")
        data: dict[str, Any] = found["data"]
        return data


def _tenant_of(run: Mapping[str, Any]) -> str | None:
    return next((t["value"] for t in run["tags"] if t["key"] == _TENANT_TAG), None)
