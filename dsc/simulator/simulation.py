"""A simulated device in this process, for as long as a block lasts."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dsc import environment
from dsc.errors import DscError, UsageError
from dsc.files import scratch_folder
from dsc.host import usable_cores
from dsc.simulator import amd
from dsc.simulator.core import Core, Record, core, device_variable
from dsc.simulator.counters import Counters, Submissions
from dsc.simulator.errors import Fault, KernelError, UnknownInstructionError
from dsc.simulator.image import compile_image, image_id, unpacked
from dsc.simulator.machines import AMD, limits
from dsc.simulator.toolchain import core_folder
from dsc.simulator.tvm_runtime import load_cuda, load_rocm

ORDERS = ("forward", "reverse")
_FORWARD, _REVERSE, _RANDOM = range(3)
_COMPILE = "tvm_callback_cuda_compile"
_active: list[Simulation] = []


class Simulation:
    """What a simulated device is asked; `simulated_cuda`, `simulated_rocm` and `simulated_kernels` give one."""

    def __init__(self, core: Core, arch: str, checks: bool) -> None:
        """Not for callers."""
        self._core, self._checks = core, checks
        self.arch = arch
        self._make = amd.compile_image if arch in AMD else compile_image
        self._compiled: dict[int, tuple[bytes, str]] = {}
        self._refused: UnknownInstructionError | None = None

    def compile(self, source: str) -> bytes:
        """The image of CUDA source for this device, or of LLVM's code for AMD's, as the `compile_image` of either."""
        try:
            image = self._make(source, self.arch, self._checks)
        except UnknownInstructionError as error:
            self._refused = error
            raise
        self._compiled[image_id(image)] = image, source
        return image

    def faults(self) -> list[Fault]:
        """What ended launches since the simulation began, oldest first."""
        return [self._fault(record) for record in self._core.faults()]

    def counters(self) -> dict[str, Counters]:
        """What each kernel did since the simulation began, by its name in the source."""
        names = self._core.counter_names
        return {
            kernel: Counters(**dict(zip(names, values, strict=True)))
            for kernel, values in self._core.counters().items()
        }

    def submissions(self) -> Submissions:
        """What runtimes gave the device since the simulation began."""
        return Submissions(*self._core.submissions())

    def launch(
        self,
        source: str,
        kernel: str,
        grid: Sequence[int],
        block: Sequence[int],
        *arguments: np.ndarray | int | float,
        shared: int = 0,
    ) -> None:
        """Compile a source and launch a kernel of it, without TVM.

        arguments: arrays, which the kernel reads and writes in global memory, ints (of 32 bits, or NumPy's) and floats.
        shared: bytes of dynamic shared memory.
        Raises `KernelError` where the kernel breaks a rule; the arrays are as they were then.
        """
        handle = self._core.load(self.compile(source))
        expected = self._core.arguments(handle, kernel)
        if expected != len(arguments):
            raise UsageError(f"the kernel {kernel} takes {expected} arguments, there are {len(arguments)}")
        with _copied(self._core, arguments) as values:
            if not self._core.launch(handle, kernel, grid, block, shared, values):
                raise KernelError(self.faults()[-1])

    def cause(self, error: Exception) -> DscError | None:
        """The fault, or the instruction that is not known, that an error which TVM raised is about, if it is."""
        faults = self.faults()
        if faults and faults[-1].what in str(error):
            return KernelError(faults[-1])
        if self._refused is not None and str(self._refused) in str(error):
            return self._refused
        return None

    def _fault(self, record: Record) -> Fault:
        image, source = self._compiled.get(record.image, (b"", ""))
        line = _source_line(image, source, record.offset) if image and record.offset else ""
        return Fault(record.kernel, record.block, record.thread, record.what, line)


@contextmanager
def simulated_cuda(
    arch: str = "sm_80",
    *,
    order: str | int = "forward",
    checks: bool = True,
    workers: int | None = None,
) -> Iterator[Simulation]:
    """A CUDA device `tvm.cuda(0)` that this process's CPU executes, while the block lasts.

    arch: which device, such as ``sm_80``; see `dsc.simulator.machines`.
    order: in which lanes, warps and blocks follow one another: "forward", "reverse", or the seed of random orders.
    checks: whether accesses to memory are watched one by one (see `compile_image`); without, kernels run several times
        as fast, and what is still seen is said in docs/simulator.md.
    workers: threads of the host that blocks are spread over; as many as there are cores if not given.

    Kernels that TVM compiles within the block are made for the simulator. Where a kernel breaks a rule of CUDA, the
    launch fails and the block raises `KernelError`.
    Raises `UsageError` where a simulation is active already, or the real CUDA is in the process.
    """
    with _session(load_cuda, arch, order, checks, workers) as simulation, _compiling(simulation), _told(simulation):
        yield simulation


@contextmanager
def simulated_rocm(
    arch: str = "gfx942",
    *,
    order: str | int = "forward",
    checks: bool = True,
    workers: int | None = None,
) -> Iterator[Simulation]:
    """A ROCm device `tvm.rocm(0)` that this process's CPU executes, while the block lasts.

    It runs artifacts whose code is the simulator's images. Arguments and errors are those of `simulated_cuda`; HIP's
    headers and a C++ compiler are needed too (see `dsc.hip`).
    """
    with _session(load_rocm, arch, order, checks, workers) as simulation, _told(simulation):
        yield simulation


@contextmanager
def simulated_kernels(
    arch: str,
    *,
    order: str | int = "forward",
    checks: bool = True,
    workers: int | None = None,
) -> Iterator[Simulation]:
    """A device for `Simulation.launch` alone, which no runtime of TVM's sees: CUDA's, or AMD's, as ``gfx942``.

    Arguments and errors are those of `simulated_cuda`.
    """
    with _session(core, arch, order, checks, workers) as simulation:
        yield simulation


@contextmanager
def _session(
    load: Callable[[], Core], arch: str, order: str | int, checks: bool, workers: int | None
) -> Iterator[Simulation]:
    """The core, by `load`, with a device."""
    if _active:
        raise UsageError("a simulation is active already: one process has one simulated device")
    kind, seed = _order(order)
    found, loaded = limits(arch), load()
    loaded.begin(arch, found, kind, seed, checks, workers or usable_cores())
    simulation = Simulation(loaded, arch, checks)
    _active.append(simulation)
    try:
        yield simulation
    finally:
        _active.remove(simulation)
        loaded.end()


def simulated_environment(arch: str, *, order: str | int = "forward", workers: int | None = None) -> dict[str, str]:
    """The environment variables that give a program a simulated device, in place of HIP's library or CUDA's.

    The program gets what kernels break as errors of its launches; counters are not to be had. Raises as
    `simulated_cuda`.
    """
    kind, seed = _order(order)
    device = device_variable(arch, limits(arch), kind, seed, False, workers or usable_cores())
    return {"LD_LIBRARY_PATH": str(core_folder()), "DSC_SIMULATED_DEVICE": device}


def _order(order: str | int) -> tuple[int, int]:
    if isinstance(order, int):
        return _RANDOM, order
    if order not in ORDERS:
        raise UsageError(
            f"the order {order!r} is none of {', '.join(ORDERS)} and no number (the seed of random orders)"
        )
    return (_FORWARD, _REVERSE)[ORDERS.index(order)], 0


@contextmanager
def _compiling(simulation: Simulation) -> Iterator[None]:
    """Sources that TVM compiles go to the simulator."""
    import tvm_ffi

    before = tvm_ffi.get_global_func(_COMPILE, allow_missing=True)
    tvm_ffi.register_global_func(_COMPILE, simulation.compile, override=True)
    try:
        yield
    finally:
        if before is None:
            tvm_ffi.registry.remove_global_func(_COMPILE)
        else:
            tvm_ffi.register_global_func(_COMPILE, before, override=True)


@contextmanager
def _told(simulation: Simulation) -> Iterator[None]:
    """What TVM makes of an error is a RuntimeError, with the source of the kernel: say what it was instead."""
    try:
        yield
    except DscError:
        raise
    except Exception as error:
        if cause := simulation.cause(error):
            raise cause from None
        raise


@contextmanager
def _copied(core: Core, arguments: Sequence[np.ndarray | int | float]) -> Iterator[list[Any]]:
    """The arguments as a launch takes them; arrays get their elements back when the block ends well."""
    values: list[Any] = []
    arrays: list[tuple[int, np.ndarray]] = []
    try:
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                contiguous = np.ascontiguousarray(argument)
                address = core.allocate(argument.nbytes)
                arrays.append((address, argument))
                ctypes.memmove(address, contiguous.ctypes.data, argument.nbytes)
                values.append(ctypes.c_void_p(address))
            elif isinstance(argument, np.generic):
                values.append(np.ctypeslib.as_ctypes(np.array(argument)))
            else:
                values.append(ctypes.c_int(argument) if isinstance(argument, int) else ctypes.c_float(argument))
        yield values
        for address, array in arrays:
            flat = np.empty(array.size, array.dtype)
            ctypes.memmove(flat.ctypes.data, address, array.nbytes)
            array[...] = flat.reshape(array.shape)
    finally:
        for address, _ in arrays:
            core.free(address)


def _source_line(image: bytes, source: str, offset: int) -> str:
    """The line of the source that an instruction is of, or nothing where the tool for that is missing."""
    with scratch_folder() as folder:
        library = folder / "kernels.so"
        library.write_bytes(unpacked(image))
        try:
            told = subprocess.run(
                ["addr2line", "-e", str(library), hex(offset - 1)],
                capture_output=True,
                text=True,
                check=False,
                env=environment.copied(),
            )
        except OSError:
            return ""
    lines = source.splitlines()
    match = re.search(r"(?:kernels\.cu|kernels\.ll|<stdin>):(\d+)", told.stdout)
    if match is None or not 0 < int(match[1]) <= len(lines):
        return ""
    return f"line {match[1]}: {lines[int(match[1]) - 1].strip()}"
