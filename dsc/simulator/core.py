"""The simulator's core, which is C++, as Python calls it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dsc.errors import UsageError
from dsc.simulator.machines import Limits
from dsc.simulator.toolchain import core_folder

_THREADS = 1024
_REGISTERS = 65536


class _Machine(ctypes.Structure):
    """core/machine.h"""

    _fields_ = [
        *(
            (name, ctypes.c_int)
            for name in (
                "major minor processors clock_khz max_threads max_threads_per_processor shared_bytes "
                "shared_bytes_optin shared_bytes_per_processor registers l2_bytes warp sector_bytes"
            ).split()
        ),
        ("memory", ctypes.c_size_t),
        ("arch", ctypes.c_char * 32),
    ]


class _Settings(ctypes.Structure):
    """core/machine.h"""

    _fields_ = [
        ("active", ctypes.c_bool),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint64),
        ("counts", ctypes.c_bool),
        ("workers", ctypes.c_int),
    ]


@dataclass(frozen=True)
class Record:
    """A fault as the core has it: its place in the code is an offset into the kernel's image."""

    kernel: str
    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    what: str
    image: int
    """Id of the image, as `dsc.simulator.image` gives it."""
    offset: int


class Core:
    """The loaded core; there is one in a process, `core()`."""

    def __init__(self, folder: Path) -> None:
        """Loads the libraries in `folder` so that TVM's library for CUDA finds them."""
        self._library = ctypes.CDLL(str(folder / "libcudart.so.13"), ctypes.RTLD_GLOBAL)
        self._driver = ctypes.CDLL(str(folder / "libcuda.so.1"), ctypes.RTLD_GLOBAL)
        text, pointer, number = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int
        self._set_machine = self._function("simulator_set_machine", None, pointer)
        self._set = self._function("simulator_set", None, pointer)
        self._fault_count = self._function("simulator_fault_count", number)
        self._fault_kernel = self._function("simulator_fault_kernel", text, number)
        self._fault_what = self._function("simulator_fault_what", text, number)
        self._fault_offset = self._function("simulator_fault_offset", ctypes.c_uint64, number)
        self._fault_image = self._function("simulator_fault_image", ctypes.c_uint64, number)
        self._fault_place = self._function("simulator_fault_place", None, number, pointer)
        self._clear = self._function("simulator_clear", None)
        self._submissions = self._function("simulator_submissions", None, pointer)
        self._counter_count = self._function("simulator_counter_count", number)
        self._counter_kernel = self._function("simulator_counter_kernel", text, number)
        self._counter_values = self._function("simulator_counter_values", ctypes.POINTER(ctypes.c_uint64), number)
        self._load_image = self._function("simulator_load_image", pointer, pointer)
        self._error = self._function("simulator_error", text)
        self._launch = self._function(
            "simulator_launch", number, pointer, text, pointer, pointer, ctypes.c_size_t, pointer
        )
        self._kernel_arguments = self._function("simulator_kernel_arguments", number, pointer, text)
        self._allocate = self._function("simulator_allocate", pointer, ctypes.c_size_t)
        self._free = self._function("simulator_free", number, pointer)
        names = self._function("simulator_counter_names", ctypes.POINTER(text))()
        self.counter_names = tuple(_texts(names))

    def _function(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        function = getattr(self._library, name)
        function.restype, function.argtypes = result, arguments
        return function  # type: ignore[no-any-return]

    def begin(self, arch: str, limits: Limits, order: int, seed: int, counts: bool, workers: int) -> None:
        """There is a device from now on, and nothing has happened on it."""
        self._set_machine(ctypes.byref(_machine(arch, limits)))
        self._set(ctypes.byref(_Settings(True, order, seed, counts, workers)))
        self._clear()

    def end(self) -> None:
        """There is no device any more; what it allocated stays until it is freed."""
        self._set(ctypes.byref(_Settings(False, 0, 0, False, 1)))

    def faults(self) -> list[Record]:
        """All since the beginning."""
        return [self._record(i) for i in range(self._fault_count())]

    def _record(self, i: int) -> Record:
        place = (ctypes.c_uint * 6)()
        self._fault_place(i, place)
        block, thread = (place[0], place[1], place[2]), (place[3], place[4], place[5])
        kernel, what = self._fault_kernel(i).decode(), self._fault_what(i).decode()
        return Record(kernel, block, thread, what, self._fault_image(i), self._fault_offset(i))

    def counters(self) -> dict[str, tuple[int, ...]]:
        """Of each kernel, in the order of `counter_names`."""
        return {
            self._counter_kernel(i).decode(): tuple(self._counter_values(i)[: len(self.counter_names)])
            for i in range(self._counter_count())
        }

    def submissions(self) -> tuple[int, int]:
        """How many kernels were launched one by one since the beginning, and how many graphs."""
        counts = (ctypes.c_uint64 * 2)()
        self._submissions(counts)
        return counts[0], counts[1]

    def load(self, image: bytes) -> int:
        """A handle of an image. Raises `UsageError` where the bytes are none."""
        handle = self._load_image(image)
        if not handle:
            raise UsageError(self._error().decode())
        return int(handle)

    def arguments(self, image: int, kernel: str) -> int:
        """How many arguments a kernel takes. Raises `UsageError` where the image does not have it."""
        count = int(self._kernel_arguments(image, kernel.encode()))
        if count < 0:
            raise UsageError(f"there is no kernel {kernel}")
        return count

    def launch(
        self,
        image: int,
        kernel: str,
        grid: Sequence[int],
        block: Sequence[int],
        shared: int,
        arguments: Sequence[ctypes.c_void_p | ctypes._SimpleCData[Any]],
    ) -> bool:
        """Whether it ran to its end."""
        addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
        sizes = ((ctypes.c_uint * 3)(*each, *[1] * (3 - len(each))) for each in (grid, block))
        return bool(self._launch(image, kernel.encode(), *sizes, shared, addresses) == 0)

    def allocate(self, size: int) -> int:
        """Bytes of the device's memory, at this address. Raises `UsageError` where it is full."""
        address = self._allocate(size)
        if not address:
            raise UsageError(f"{size} bytes do not fit into the memory of the simulated device")
        return int(address)

    def free(self, address: int) -> None:
        """Give back what `allocate` gave."""
        self._free(address)


def device_variable(arch: str, limits: Limits, order: int, seed: int, counts: bool, workers: int) -> str:
    """The environment variable that gives a program a device; it is read when a stand-in is loaded."""
    return (bytes(_machine(arch, limits)) + bytes(_Settings(True, order, seed, counts, workers))).hex()


def _machine(arch: str, limits: Limits) -> _Machine:
    return _Machine(
        limits.major,
        limits.minor,
        limits.processors,
        limits.clock_khz,
        _THREADS,
        limits.threads_per_processor,
        limits.static_shared,
        limits.shared_per_block,
        limits.shared_per_processor,
        _REGISTERS,
        limits.l2_bytes,
        limits.warp,
        limits.sector_bytes,
        limits.memory,
        arch.encode(),
    )


def _texts(array: Any) -> list[str]:
    """Of a C array of strings that a null ends."""
    texts: list[str] = []
    while array[len(texts)]:
        texts.append(array[len(texts)].decode())
    return texts


@cache
def core() -> Core:
    """Built (the first time on this machine) and loaded."""
    return Core(core_folder())
