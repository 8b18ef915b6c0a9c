"""Batches as torch tensors: on the host, through DataLoader workers, or gathered on a device.

This module and ``workers`` import torch; ``pip install training-assets[torch]``.
"""

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from training_assets.errors import SettingsError
from training_assets.loader.arrays import Array, Int64Array
from training_assets.loader.batches import Batch, identity
from training_assets.loader.day import Day
from training_assets.loader.samples import SampleDay
from training_assets.loader.stream import GatherRows, Stream
from training_assets.loader.workers import SharedEpoch, TensorBatch, as_tensors

if TYPE_CHECKING:
    from training_assets.loader.loader import TrainingDays

logger = logging.getLogger(__name__)

# A batch is being copied while the next one is gathered; a third buffer is never awaited.
_COPIES_IN_FLIGHT = 2


class TensorBatches:
    """The batches of a ``TrainingDays`` as tensors; position and epoch are those of its own.

    On the CPU tensors share memory with the loader's buffers: a batch stays valid while anything
    refers to it. With ``num_workers`` batches are made in that many DataLoader processes, each of
    which reads all days for itself; they are the same batches in the same order.

    On another device (device mode) the histories of a day are moved there once and batches are
    gathered there. A day that is larger than ``device_limit_bytes`` stays on the host, a log
    line says so, and batches are gathered into pinned memory and copied over while the next one
    is gathered. The default limit on CUDA is half of the memory free when the day begins; other
    devices have none.
    """

    def __init__(
        self,
        days: "TrainingDays",
        stream: Stream,
        device: "str | torch.device" = "cpu",
        *,
        threads: int = 1,
        num_workers: int = 0,
        device_limit_bytes: int | None = None,
    ) -> None:
        self._days = days
        self._stream = stream
        self._device = torch.device(device)
        self._is_host = self._device.type == "cpu"
        self._threads = threads
        self._num_workers = num_workers
        self._device_limit_bytes = device_limit_bytes
        if num_workers and not self._is_host:
            raise SettingsError(
                f"loader: num_workers is {num_workers} with device {self._device}; expected 0, "
                "since batches are gathered on the device. Leave one of them out."
            )

    @property
    def sampler(self) -> "EpochSampler":
        """What Lightning tells which epoch begins."""
        return EpochSampler(self._stream)

    def __len__(self) -> int:
        return self._stream.num_batches

    def __iter__(self) -> Iterator[TensorBatch]:
        """One epoch of batches, or the rest of it after ``load_state_dict``."""
        epoch, start = self._stream.position.begin()
        if self._num_workers:
            dataset = SharedEpoch(self._stream, epoch, start)
            loader = DataLoader(dataset, batch_size=None, num_workers=self._num_workers)
            yield from self._stream.counted(loader)
        elif self._is_host:
            with self._stream.gathering(threads=self._threads) as gather_from:
                batches = self._stream.batches(gather_from, epoch, start)
                yield from self._stream.counted(map(as_tensors, batches))
        else:
            yield from self._on_device(epoch, start)

    def state_dict(self) -> dict[str, Any]:
        """As ``TrainingDays.state_dict``; Lightning keeps it in its checkpoints."""
        return self._days.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As ``TrainingDays.load_state_dict``."""
        self._days.load_state_dict(state)

    def _on_device(self, epoch: int, start: int) -> Iterator[TensorBatch]:
        def allocate(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
            kind = torch.from_numpy(np.empty(0, dtype)).dtype
            pinned = torch.empty(shape, dtype=kind, pin_memory=self._device.type == "cuda")
            return pinned.numpy()

        with self._stream.gathering(threads=self._threads, allocate=allocate) as gather_from:

            def place(day: Day | SampleDay) -> GatherRows[TensorBatch]:
                if isinstance(day, SampleDay):
                    return CopiedGather(gather_from(day), self._device).batch
                limit = self._limit()
                size = held_bytes(day)
                if limit is None or size <= limit:
                    return DeviceGather(day, self._device, self._stream).batch
                logger.warning(
                    "%s: the day holds %.2f GB, more than the %.2f GB allowed on %s; batches are "
                    "gathered in pinned host memory and copied.",
                    day.dt,
                    size / 1e9,
                    limit / 1e9,
                    self._device,
                )
                return CopiedGather(gather_from(day), self._device).batch

            yield from self._stream.counted(self._stream.batches(place, epoch, start))

    def _limit(self) -> int | None:
        if self._device_limit_bytes is not None or self._device.type != "cuda":
            return self._device_limit_bytes
        free, _ = torch.cuda.mem_get_info(self._device)
        cached = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(
            self._device
        )
        return (free + cached) // 2


class EpochSampler:
    """Lets Lightning go on after the epochs that a checkpoint has seen.

    From one of a whole epoch Lightning restores no position: it only says, as to any sampler,
    which epoch begins. It says so to a loader that is further on by itself, too.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def set_epoch(self, epoch: int) -> None:
        """Begin no epoch before ``epoch``."""
        self._stream.position.skip_to(epoch)


class DeviceGather:
    """A day moved to a device once; batches are gathered there.

    The identity holds strings and is not for the model: it is made on the host.
    """

    def __init__(self, day: Day, device: torch.device, stream: Stream) -> None:
        def move(array: Array) -> torch.Tensor:
            return torch.from_numpy(array).to(device)

        histories = day.histories
        self._dt = day.dt
        self._device = device
        self._layout = stream.layout
        self._extras = stream.extras
        self._names = day.names
        self._length = histories.length
        self._pointer = move(day.pointer)
        self._impressions = move(day.impressions)
        self._labels = move(day.labels)
        self._lengths = move(histories.lengths)
        self._starts = None if histories.starts is None else move(histories.starts)
        self._values = {name: move(values) for name, values in histories.values.items()}

    def batch(self, rows: Int64Array) -> TensorBatch:
        """The examples ``rows``, int64 [B], in that order."""
        at = torch.from_numpy(rows).to(self._device)
        which = self._pointer[at]
        fields: dict[str, Any] = {}
        if self._layout != "expanded":
            which, fields["inverse"] = torch.unique(which, return_inverse=True)
        lengths = self._lengths[which]
        gather = self._jagged if self._layout == "jagged" else self._padded
        fields |= gather(which, lengths)
        if "lengths" in self._extras:
            fields["lengths"] = lengths
        if self._names is not None:
            fields["identity"] = identity(self._names, rows).map(torch.from_numpy)
        return Batch(
            dt=self._dt, impressions=self._impressions[at], labels=self._labels[at], **fields
        )

    def _padded(self, which: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        is_action = torch.arange(self._length, device=self._device) < lengths[:, None]
        out = {"mask": is_action} if "mask" in self._extras else {}
        for name, values in self._values.items():
            if self._starts is None:
                out[name] = values.index_select(0, which).to(torch.int32)
            else:
                windows = values.unfold(0, self._length, 1)
                out[name] = windows[self._starts[which]].to(torch.int32) * is_action
        return out

    def _jagged(self, which: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        assert self._starts is not None
        offsets = torch.zeros(len(which) + 1, dtype=torch.int64, device=self._device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        shift = torch.repeat_interleave(self._starts[which] - offsets[:-1], lengths)
        places = torch.arange(len(shift), device=self._device) + shift
        out = {name: values[places].to(torch.int32) for name, values in self._values.items()}
        return {**out, "offsets": offsets}


class CopiedGather:
    """Batches gathered on the host and copied to a device while the next one is gathered."""

    def __init__(self, gather: GatherRows[Any], device: torch.device) -> None:
        self._gather = gather
        self._device = device
        self._in_flight: deque[tuple[torch.cuda.Event | None, TensorBatch]] = deque()

    def batch(self, rows: Int64Array) -> TensorBatch:
        """The examples ``rows``, int64 [B], in that order."""
        if len(self._in_flight) == _COPIES_IN_FLIGHT:
            event, _ = self._in_flight.popleft()
            if event is not None:
                event.synchronize()
        on_host = as_tensors(self._gather(rows))
        on_device = on_host.map(lambda tensor: tensor.to(self._device, non_blocking=True))
        # Holding on to the host batch keeps its buffers from being filled again meanwhile.
        self._in_flight.append((self._copied(), on_host))
        return on_device

    def _copied(self) -> torch.cuda.Event | None:
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        return event


def held_bytes(day: Day) -> int:
    """Bytes that ``DeviceGather`` moves for a day."""
    rows = day.pointer.nbytes + day.impressions.nbytes + day.labels.nbytes
    return rows + day.histories.nbytes
