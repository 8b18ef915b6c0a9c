"""Names of the array types, and output buffers that are used again once nobody holds them."""

import sys
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
Int16Array = npt.NDArray[np.int16]
Int8Array = npt.NDArray[np.int8]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def viewed(values: Any) -> Array:
    """A pyarrow array of numbers without nulls as NumPy, sharing its memory.

    Arrow's own ``to_numpy`` imports pandas, which takes as long as reading a day.
    """
    return np.from_dlpack(values)


class Allocate(Protocol):
    """Makes an uninitialised array, as ``np.empty`` does."""

    def __call__(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array: ...


def _references(buffers: list[Array], index: int) -> int:
    return sys.getrefcount(buffers[index])


# Python versions count the reference of the call itself differently; so it is measured.
_REFERENCES_WHEN_IDLE = _references([np.empty(0)], 0)


class BufferPool:
    """Output arrays, handed out again once no batch, view or tensor refers to them.

    Fresh memory for each batch costs as much as filling it: the pages must be mapped and zeroed.
    A batch that is kept stays valid for as long as it is kept, since its buffer is then not idle;
    keeping more than ``max_idle`` batches only means fresh memory for the next ones. A pool
    belongs to one thread.
    """

    def __init__(self, allocate: Allocate = np.empty, *, max_idle: int = 3) -> None:
        self._allocate = allocate
        self._max_idle = max_idle
        self._buffers: dict[tuple[str, npt.DTypeLike, tuple[int, ...]], list[Array]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An uninitialised array; ``name`` and the trailing ``shape`` say which ones it may share.

        A smaller leading size than an earlier one's is a view of it.
        """
        key = (name, dtype, shape[1:])
        buffers = self._buffers.setdefault(key, [])
        for index in range(len(buffers)):
            if _references(buffers, index) > _REFERENCES_WHEN_IDLE:
                continue
            if len(buffers[index]) < shape[0]:
                roomy = shape[0] + shape[0] // 4
                buffers[index] = self._allocate((roomy, *shape[1:]), dtype)
            return buffers[index][: shape[0]]
        fresh = self._allocate(shape, dtype)
        if len(buffers) < self._max_idle:
            buffers.append(fresh)
        return fresh[: shape[0]]
