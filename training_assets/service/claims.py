"""Which records of a topic are whose: each offset belongs to exactly one range.

    claims/<topic id>/<partition>/<start>.json    {"start", "end"}: put once, so it fixes the range
    claims/<topic id>/<partition>/<start>.terms   how its records are judged, put once as well
    claims/<topic id>/<partition>/<start>.done    the range's files are all there

Whoever puts the claim of a start has fixed its end; whoever comes second takes the winner's. A
claim without its end mark is done again, by anybody: what it writes is a pure function of the
range and of its terms. A topic that was made anew has another id, and so begins at 0 again.
"""

import json
from dataclasses import dataclass
from typing import Final

from training_assets.errors import StoreError
from training_assets.lake import Store

_FOLDER: Final = "claims"
_DONE: Final = ".done"
_CLAIM: Final = ".json"
_TERMS: Final = ".terms"
# A consumer that is far behind must find that a start was claimed, not claim it anew.
_KEPT_RANGES: Final = 1000


@dataclass(frozen=True)
class Range:
    """Records ``start`` to ``end`` of a partition, ``end`` not among them."""

    topic: str
    topic_id: str
    partition: int
    start: int
    end: int

    @property
    def name(self) -> str:
        """Of its files; no other range has it."""
        return f"s-{self.topic}-{self.topic_id}-{self.partition}-{self.start:020}-{self.end:020}"


class Claims:
    """Claims of one partition."""

    def __init__(self, store: Store, topic: str, topic_id: str, partition: int) -> None:
        self._store = store
        self._topic, self._topic_id, self._partition = topic, topic_id, partition
        self._folder = f"{_FOLDER}/{topic_id}/{partition}"

    def claim(self, start: int, end: int) -> tuple[Range, bool]:
        """The range that begins there, and whether it is this call that fixed it."""
        content = json.dumps({"start": start, "end": end}).encode()
        path = f"{self._folder}/{start:020}{_CLAIM}"
        is_mine = self._store.put_new(path, content)
        return self._read(path), is_mine

    def fixed_terms(self, own: Range, terms: bytes) -> bytes:
        """The terms that were put first for the range, these where none were."""
        path = f"{self._folder}/{own.start:020}{_TERMS}"
        return terms if self._store.put_new(path, terms) else self._store.read(path)

    def finish(self, done: Range) -> None:
        self._store.put(f"{self._folder}/{done.start:020}{_DONE}", b"")

    def known(self) -> tuple[int | None, list[Range]]:
        """Where the next range begins, None where there is none yet; and unfinished ranges."""
        names = {entry.path.rpartition("/")[2] for entry in self._store.list(self._folder)}
        starts = sorted(name.removesuffix(_CLAIM) for name in names if name.endswith(_CLAIM))
        if not starts:
            return None, []
        wanted = [start for start in starts if start + _DONE not in names or start == starts[-1]]
        ranges = [self._read(f"{self._folder}/{start}{_CLAIM}") for start in wanted]
        open_ones = [one for one in ranges if f"{one.start:020}{_DONE}" not in names]
        return ranges[-1].end, open_ones

    def prune(self) -> None:
        """Forget finished ranges but the newest: only where the next begins is asked of them."""
        names = [entry.path.rpartition("/")[2] for entry in self._store.list(self._folder)]
        done = sorted(name.removesuffix(_DONE) for name in names if name.endswith(_DONE))
        for start in done[:-_KEPT_RANGES]:
            # The claim first: a mark alone says nothing, a claim alone that work is to be done.
            for ending in (_CLAIM, _TERMS, _DONE):
                self._store.delete([f"{self._folder}/{start}{ending}"])

    def _read(self, path: str) -> Range:
        try:
            found = json.loads(self._store.read(path))
            return Range(self._topic, self._topic_id, self._partition, found["start"], found["end"])
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                f"claims: {path} is damaged; expected start and end. Restore it from a copy of the "
                "store."
            ) from None
