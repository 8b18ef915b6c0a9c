"""DynamoDB: one table with the string key ``p``; every item of a version has its name in its key.

    p = "training_assets/users/state"                 n = number of changes, v = the pointer
    p = "training_assets/users/2026-11-25-…/17"       v = values
    p = "training_assets/users/2026-11-25-…/ids/0"    v = ids of one block, by which it is removed

Reads are consistent ones, so that a version is whole as soon as the pointer names it. Credentials
and region come from where the AWS tools look for them. The table is made if it is missing.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from training_assets.errors import StoreError
from training_assets.lake.base import store_error
from training_assets.online.backend import Backend, Id, Rows

_KEYS_PER_READ: Final = 100
_ITEMS_PER_WRITE: Final = 25
_IDS_PER_BLOCK: Final = 5_000
_MAX_WAITS: Final = 12
_CONFIG: Final = Config(
    connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 5}
)


class DynamoBackend(Backend):
    """``endpoint`` and ``region`` are those of the environment where they are None."""

    def __init__(
        self, table: str, *, prefix: str, endpoint: str | None = None, region: str | None = None
    ) -> None:
        self.url = f"dynamodb://{table}/{prefix}"
        self._table, self._prefix = table, prefix
        with self._calling():
            self._client: Any = boto3.client(
                "dynamodb", endpoint_url=endpoint, region_name=region, config=_CONFIG
            )

    def read_state(self, table: str) -> tuple[bytes | None, Any]:
        with self._calling():
            try:
                answer = self._client.get_item(
                    TableName=self._table,
                    Key=_key(self._name(table, "state")),
                    ConsistentRead=True,
                )
            except self._client.exceptions.ResourceNotFoundException:
                return None, 0
        item = answer.get("Item")
        return (item["v"]["S"].encode(), int(item["n"]["N"])) if item else (None, 0)

    def swap_state(self, table: str, state: bytes, token: Any) -> bool:
        item = {
            **_key(self._name(table, "state")),
            "v": {"S": state.decode()},
            "n": {"N": str(token + 1)},
        }
        condition = {"ConditionExpression": "attribute_not_exists(p)"}
        if token:
            condition = {
                "ConditionExpression": "n = :n",
                "ExpressionAttributeValues": {":n": {"N": str(token)}},  # type: ignore[dict-item]
            }
        with self._calling():
            if not token:
                self._make_table()
            try:
                self._client.put_item(TableName=self._table, Item=item, **condition)
            except self._client.exceptions.ConditionalCheckFailedException:
                return self.read_state(table) == (state, token + 1)
        return True

    def write(self, table: str, version: str, rows: Rows) -> None:
        number = 0
        with self._calling():
            for ids, values in rows:
                for start in range(0, len(ids), _IDS_PER_BLOCK):
                    some = ids[start : start + _IDS_PER_BLOCK]
                    block = self._name(table, f"{version}/ids/{number}")
                    # First, so that also what a killed load wrote can be found.
                    self._put([{**_key(block), "v": {"S": json.dumps(list(some))}}])
                    self._put(
                        [
                            {**_key(self._name(table, f"{version}/{key}")), "v": {"S": value}}
                            for key, value in zip(
                                some, values[start : start + _IDS_PER_BLOCK], strict=True
                            )
                        ]
                    )
                    number += 1

    def read(self, table: str, version: str, ids: Sequence[Id]) -> dict[Id, str | bytes]:
        names = {self._name(table, f"{version}/{key}"): key for key in ids}
        with self._calling():
            return {names[item["p"]["S"]]: item["v"]["S"] for item in self._get(list(names))}

    def drop(self, table: str, version: str) -> None:
        with self._calling():
            number = 0
            while True:
                block = self._name(table, f"{version}/ids/{number}")
                found = list(self._get([block]))
                if not found:
                    return
                keys = [
                    _key(self._name(table, f"{version}/{key}"))
                    for key in json.loads(found[0]["v"]["S"])
                ]
                self._batch([{"DeleteRequest": {"Key": key}} for key in keys])
                self._batch([{"DeleteRequest": {"Key": _key(block)}}])
                number += 1

    def close(self) -> None:
        self._client.close()

    def _get(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(names), _KEYS_PER_READ):
            keys = [_key(name) for name in names[start : start + _KEYS_PER_READ]]
            asked: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
            for wait in range(_MAX_WAITS):
                answer = self._client.batch_get_item(RequestItems=asked)
                yield from answer["Responses"].get(self._table, [])
                asked = answer.get("UnprocessedKeys")
                if not asked:
                    break
                _pause(wait)
            else:
                raise self._throttled()

    def _put(self, items: Sequence[dict[str, Any]]) -> None:
        self._batch([{"PutRequest": {"Item": item}} for item in items])

    def _batch(self, requests: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(requests), _ITEMS_PER_WRITE):
            asked: Any = {self._table: requests[start : start + _ITEMS_PER_WRITE]}
            for wait in range(_MAX_WAITS):
                asked = self._client.batch_write_item(RequestItems=asked).get("UnprocessedItems")
                if not asked:
                    break
                _pause(wait)
            else:
                raise self._throttled()

    def _make_table(self) -> None:
        with suppress(self._client.exceptions.ResourceInUseException):
            self._client.create_table(
                TableName=self._table,
                KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        self._client.get_waiter("table_exists").wait(TableName=self._table)

    def _name(self, table: str, what: str) -> str:
        return f"{self._prefix}/{table}/{what}"

    def _throttled(self) -> StoreError:
        return StoreError(
            f"{self.url}: DynamoDB left requests undone {_MAX_WAITS} times; expected it to do "
            "them. Raise the table's capacity, then run again."
        )

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, OSError) as error:
            raise store_error(self.url, error) from error


def _key(name: str) -> dict[str, Any]:
    return {"p": {"S": name}}


def _pause(wait: int) -> None:
    time.sleep(min(0.05 * 2**wait, 5.0))
