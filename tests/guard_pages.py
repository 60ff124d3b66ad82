"""Arrays that end, or begin, where memory does: an access beside them is a segmentation fault."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import tvm_ffi

_LIBC = ctypes.CDLL(None, use_errno=True)
_NO_ACCESS = 0
_PAGE = mmap.PAGESIZE


@contextmanager
def guarded(array: np.ndarray, end: bool = True) -> Iterator[np.ndarray]:
    """A copy of `array` between two pages that must not be touched; it lies against the second, or the first."""
    pages = -(-max(array.nbytes, 1) // _PAGE)
    memory = mmap.mmap(-1, (pages + 2) * _PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        _protect(base + page * _PAGE, _NO_ACCESS)
    start = _PAGE + (pages * _PAGE - array.nbytes if end else 0)
    copy = np.frombuffer(memory, np.uint8, array.nbytes, start).view(array.dtype).reshape(array.shape)
    copy[...] = array
    try:
        yield copy
    finally:
        for page in (0, pages + 1):  # the memory is read again when it is given back
            _protect(base + page * _PAGE, mmap.PROT_READ | mmap.PROT_WRITE)


@contextmanager
def all_guarded(arrays: Sequence[np.ndarray], end: bool = True) -> Iterator[list[np.ndarray]]:
    """Guarded copies of all arrays."""
    with ExitStack() as stack:
        yield [stack.enter_context(guarded(array, end)) for array in arrays]


def run_guarded(
    kernel: tvm_ffi.Function, inputs: Sequence[np.ndarray], output: np.ndarray, end: bool = True
) -> np.ndarray:
    """The output of a kernel, on guarded copies of its inputs and of what the output is before it."""
    with all_guarded([*inputs, output], end) as copies:
        kernel(*map(tvm_ffi.from_dlpack, copies))
        return copies[-1].copy()


def _protect(address: int, access: int) -> None:
    if _LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(_PAGE), access):
        raise OSError(ctypes.get_errno(), "mprotect")
