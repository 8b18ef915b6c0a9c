"""Which epoch and batch come next: kept in integers that processes can share.

A position stands before a batch (as at the start, after ``resume``, or at the end of an epoch), or
its epoch has begun. Whoever begins to iterate goes on where it stands; where the epoch has begun it
was left early, and the next one begins. So no two iterations are alike, and a seed gives the same
ones again.

Workers of a DataLoader share the integers. A DataLoader tells nobody that an iteration begins: its
workers are there and ask for batches, new processes or kept ones. So worker 0 begins the iteration
and says which one it is by what is the same for all its workers: the loader's base seed, the
number of workers, and how often a process has begun before.
"""

import os
import time
from typing import Final, NamedTuple

import numpy as np

from training_assets.errors import SettingsError
from training_assets.loader.arrays import Int64Array

_EPOCH, _NUM_DONE, _STATE, _VERSION = range(4)
_RECORD: Final = slice(4, 10)
_SIZE: Final = 10
_STANDS, _BEGUN, _BEGUN_BY_WORKERS = range(3)
_POLL_SECONDS: Final = 0.001
_WAIT_SECONDS: Final = 120.0


class Iteration(NamedTuple):
    """What all workers of an iteration know of it, and others do not."""

    base_seed: int
    num_workers: int
    round: int


class Position:
    """Epoch and number of batches done of one rank; ``cells`` may lie in shared memory."""

    def __init__(self) -> None:
        self.cells: Int64Array = np.zeros(_SIZE, np.int64)

    @property
    def epoch(self) -> int:
        return int(self.cells[_EPOCH])

    @property
    def num_done(self) -> int:
        return int(self.cells[_NUM_DONE])

    @property
    def is_known(self) -> bool:
        """False where the latest iteration is by workers of a DataLoader of the user's own."""
        return bool(self.cells[_STATE] != _BEGUN_BY_WORKERS)

    def resume(self, epoch: int, num_done: int) -> None:
        """Let the next iteration begin with batch ``num_done`` of ``epoch``."""
        self.cells[: _STATE + 1] = epoch, num_done, _STANDS

    def skip_to(self, epoch: int) -> None:
        """Let no epoch before ``epoch`` begin any more."""
        next_epoch = self.epoch + int(self.cells[_STATE] != _STANDS)
        if next_epoch < epoch:
            self.resume(epoch, 0)

    def begin(self) -> tuple[int, int]:
        """Epoch and number of the batch that an iteration which begins now gives first."""
        if self.cells[_STATE] != _STANDS:
            self.resume(self.epoch + 1, 0)
        self.cells[_STATE] = _BEGUN
        return self.epoch, self.num_done

    def follow(self, epoch: int, num_done: int, *, is_worker: bool) -> None:
        """An iteration that has begun goes on from there."""
        self.cells[: _STATE + 1] = epoch, num_done, _BEGUN_BY_WORKERS if is_worker else _BEGUN

    def count(self, num_batches: int) -> None:
        """One more of ``num_batches`` is done; after the last the position stands at the next."""
        self.cells[_NUM_DONE] += 1
        if self.num_done >= num_batches:
            self.resume(self.epoch + 1, 0)

    def begin_in_worker(self, worker: int, iteration: Iteration) -> tuple[int, int]:
        """``begin`` for all workers of an iteration: each gets the same answer.

        Raises SettingsError where worker 0 has not begun for two minutes.
        """
        if worker == 0:
            return self._tell(iteration)
        end = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < end:
            version, record = int(self.cells[_VERSION]), self.cells[_RECORD].tolist()
            *told, leader, epoch, start = record
            is_whole = version % 2 == 0 and version == self.cells[_VERSION]
            if is_whole and tuple(told) == iteration and _is_alive(leader):
                return epoch, start
            time.sleep(_POLL_SECONDS)
        raise SettingsError(
            f"loader: worker {worker} of a DataLoader has waited {_WAIT_SECONDS:.0f} s for worker "
            "0 to begin; expected one iteration of a dataset at a time. End the other one first."
        )

    def _tell(self, iteration: Iteration) -> tuple[int, int]:
        epoch, start = self.begin()
        self.cells[_STATE] = _BEGUN_BY_WORKERS
        # Odd while it is being written.
        self.cells[_VERSION] += 1
        self.cells[_RECORD] = *iteration, os.getpid(), epoch, start
        self.cells[_VERSION] += 1
        return epoch, start


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
