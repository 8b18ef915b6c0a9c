"""Datasets for torch's DataLoader, whose workers share out the batches of a rank."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from training_assets.errors import SettingsError
from training_assets.loader.batches import Batch
from training_assets.loader.position import Iteration
from training_assets.loader.stream import Stream

TensorBatch = Batch[torch.Tensor]


def as_tensors(batch: Any) -> TensorBatch:
    """The same memory as tensors."""
    found: TensorBatch = batch.map(torch.from_numpy)
    return found


class SharedEpoch(IterableDataset[TensorBatch]):
    """An epoch from batch ``start``, whose batches the workers of a DataLoader take in turn."""

    def __init__(self, stream: Stream, epoch: int, start: int) -> None:
        super().__init__()
        self._stream = stream
        self._epoch = epoch
        self._start = start

    def __iter__(self) -> Iterator[TensorBatch]:
        worker, num_workers = _worker()
        with self._stream.gathering(threads=1) as gather_from:
            start = self._start + worker
            batches = self._stream.batches(gather_from, self._epoch, start, stride=num_workers)
            yield from map(as_tensors, batches)


class WorkerBatches(IterableDataset[TensorBatch]):
    """For ``DataLoader(dataset, batch_size=None, num_workers=n)``; each item is a whole batch.

    Batch ``k`` is made by worker ``k % n``, so a DataLoader gives the same batches in the same
    order with any ``n``, each example once per epoch. Each iteration of a DataLoader is the next
    epoch, with workers that are kept (persistent_workers) or not, and with another DataLoader too.
    Iterate one at a time.

    torchdata's StatefulDataLoader keeps the position in its own state_dict. Where workers of a
    plain DataLoader iterate, nobody knows how far they are: use it, or
    ``TrainingDays.tensors(num_workers=n)``.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream
        self._cells = torch.from_numpy(stream.position.cells.copy()).share_memory_()
        self._num_begun = 0
        stream.position.cells = self._cells.numpy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In a process that was started anew; torch brings the shared memory along."""
        self.__dict__.update(state)
        self._stream.position.cells = self._cells.numpy()

    def __len__(self) -> int:
        return self._stream.num_batches

    def __iter__(self) -> "BatchIterator":
        position = self._stream.position
        info = get_worker_info()
        if info is None:
            return BatchIterator(self._stream, *position.begin())
        iteration = Iteration(info.seed - info.id, info.num_workers, self._num_begun)
        self._num_begun += 1
        return BatchIterator(self._stream, *position.begin_in_worker(info.id, iteration))


class BatchIterator(Iterator[TensorBatch]):
    """The batches that a process takes of an epoch, with its place in it.

    Alone it gives all batches from ``start`` and counts them in the stream's position; as one of
    several workers every ``n``-th.
    """

    def __init__(self, stream: Stream, epoch: int, start: int) -> None:
        self._stream = stream
        self._epoch = epoch
        self._worker, self._num_workers = _worker()
        self._next = start + self._worker
        self._batches: Iterator[TensorBatch] | None = None

    def __next__(self) -> TensorBatch:
        if self._batches is None:
            self._batches = self._made()
        batch = next(self._batches)
        self._next += self._num_workers
        return batch

    def _made(self) -> Iterator[TensorBatch]:
        stream = self._stream
        with stream.gathering(threads=1) as gather_from:
            batches = stream.batches(gather_from, self._epoch, self._next, stride=self._num_workers)
            tensors = map(as_tensors, batches)
            yield from tensors if get_worker_info() else stream.counted(tensors)

    def state_dict(self) -> dict[str, Any]:
        """Which batch this process makes next; rank and workers since they share the batches."""
        state = self._stream.state_at(self._epoch, self._next)
        return {**state, "rank": self._stream.order.rank}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the batch that ``state`` names.

        Raises SettingsError as ``TrainingDays.load_state_dict`` does, and where workers took turns
        on a rank that has other batches than this one.
        """
        self._refuse_uneven(state)
        self._epoch, self._next = self._stream.place_of(state)
        is_worker = get_worker_info() is not None
        self._stream.position.follow(self._epoch, self._next, is_worker=is_worker)

    def _refuse_uneven(self, state: Mapping[str, Any]) -> None:
        order = self._stream.order
        if self._num_workers == 1 or (order.rank, order.world_size) == (
            state["rank"],
            state["world_size"],
        ):
            return
        most = max(order.world_size, state["world_size"])
        step_size = order.batch_size * order.world_size
        for day in self._stream.days:
            if not order.drop_last and 0 < day.num_examples % step_size < most:
                raise SettingsError(
                    f"loader: the last step of {day.dt} has {day.num_examples % step_size} "
                    f"examples; expected one for each of {most} ranks, where workers go on from "
                    f"the state of rank {state['rank']} of {state['world_size']}. Use "
                    "drop_last=True, or one worker at most."
                )


def _worker() -> tuple[int, int]:
    """Number of this worker, and how many there are; the first of one outside of workers."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info else (0, 1)
