"""`Module`: a compiled model, loaded and ready to run."""

from __future__ import annotations

import mmap
import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import tvm
import tvm_ffi
from numpy.typing import ArrayLike

from dsc.errors import ArtifactError, UsageError
from dsc.files import writing
from dsc.host import usable_cores
from dsc.runtime import graphs
from dsc.runtime.container import check_member, read_manifest
from dsc.runtime.devices import Device, Staging, needed_device
from dsc.runtime.inputs import checked_inputs
from dsc.runtime.library import load_library
from dsc.runtime.manifest import LIBRARY, MEMBERS, WEIGHTS, Manifest, TensorSpec
from dsc.runtime.sessions import Extent, SessionPool
from dsc.runtime.tensors import read_tensors
from dsc.runtime.weights import Entry, parse

_MAX_THREADS = 256
_DISAGREEMENT = ("ErrorContext(fn=main, loc=param[", "zip() argument", "When changing to a larger dtype")
"""What TVM says of an argument of another type than compiled, and Python and numpy of other outputs."""
_NO_MEMORY = ("bad_alloc", "out of memory")
"""What TVM and its devices say where a tensor cannot be allocated; ours raise MemoryError."""
_NOT_KERNELS = ("vm.", "shape_func")
"""How the names begin of what the machine calls besides kernels: its built-ins, and computing sizes."""


Watcher: TypeAlias = Callable[[str, bool, Sequence[object]], None]
"""Takes a kernel's name, whether it is about to run or has run, and its arguments: inputs, sizes, outputs."""


class Module:
    """A compiled model. Any number of Python threads may call `run` at once; each run has its own state."""

    def __init__(self, file: BinaryIO, source: str, threads: int | None = None) -> None:
        """Take over the open artifact `file`; use `load` for one that has a path."""
        self._file, self._source = file, source
        self.manifest = read_manifest(file, source)
        check_versions(self.manifest, source)
        self.device = needed_device(self.manifest.needs, self.manifest.target, source)
        self.threads = thread_count(threads)
        mapped = _map(file)
        _check_members(mapped, self.manifest, source)
        code = _member(mapped, self.manifest, LIBRARY).tobytes()
        tensors = read_tensors(_member(mapped, self.manifest, WEIGHTS), self.manifest.parameters, source)
        weights = _put(self.device, tensors.arrays, source)
        self._held = [_extent(mapped), _extent(tensors.memory)]
        library = load_library(code, source)
        self.device.start(library, self.threads)
        captures = not self.manifest.uncaptured and graphs.wanted()
        self._sessions = SessionPool(
            library, self.device, weights, self.manifest.inputs, self.manifest.checks, captures
        )
        session = self._sessions.take()
        if session.arity != len(self.manifest.inputs) + len(weights):
            raise ArtifactError(f"{source}: its code takes other inputs than its manifest says; compile it again")
        self._sessions.give_back(session)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        return self.manifest.outputs

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """Compute the outputs by name. The arrays belong to the caller; inputs are not changed.

        Anything `np.asarray` takes will do as an input, but its dtype must be the model's: nothing is cast.
        Raises `UsageError` for inputs that do not fit the model's interface, or what it computes of them.
        """
        arrays = checked_inputs(self.manifest.inputs, inputs)
        session = self._sessions.take()
        try:
            passed, results = session(arrays)
            owned = self._owned(passed, results)
        except UsageError:
            self._sessions.give_back(session)
            raise
        except ValueError as error:
            if any(sign in str(error) for sign in _DISAGREEMENT):
                raise ArtifactError(f"{self._source}: its code takes or gives other than its manifest says") from error
            raise
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in _NO_MEMORY):
                raise
            shapes = ", ".join(f"{spec.name}: {list(a.shape)}" for spec, a in zip(self.inputs, arrays, strict=True))
            raise UsageError(f"not enough memory for what is computed of inputs of shapes {shapes}") from error
        self._sessions.give_back(session)
        return {spec.name: array for spec, array in zip(self.manifest.outputs, owned, strict=True)}

    def profile(self, inputs: Mapping[str, ArrayLike]) -> list[tuple[str, float]]:
        """Run once and return (kernel name, seconds) for each kernel, in the order of execution."""
        arrays = checked_inputs(self.manifest.inputs, inputs)
        times: list[tuple[str, float]] = []
        started = 0.0

        def around(_: object, name: str, before: bool, *_rest: object) -> int:
            nonlocal started
            if before:
                started = time.perf_counter()
            elif not name.startswith(_NOT_KERNELS):
                self.device.synchronize()
                times.append((name, time.perf_counter() - started))
            return 0

        session = self._sessions.new()
        session(arrays)
        session.set_instrument(tvm_ffi.convert(around))
        session(arrays)
        return times

    def watch(self, inputs: Mapping[str, ArrayLike], callback: Watcher) -> dict[str, np.ndarray]:
        """Run once as `run` does, calling back before and after each kernel: for finding the one that is wrong."""
        arrays = checked_inputs(self.manifest.inputs, inputs)
        failed: list[BaseException] = []

        def around(_: object, name: str, before: bool, _result: object, *arguments: object) -> int:
            if not failed and not name.startswith(_NOT_KERNELS):
                try:
                    callback(name, before, arguments)
                except BaseException as error:  # raised below: the machine would make another of it
                    failed.append(error)
            return 0

        session = self._sessions.new()
        session.set_instrument(tvm_ffi.convert(around))
        passed, results = session(arrays)
        if failed:
            raise failed[0]
        owned = self._owned(passed, results)
        return {spec.name: array for spec, array in zip(self.manifest.outputs, owned, strict=True)}

    def kernel(self, name: str) -> tvm_ffi.Function:
        """One kernel of the library, to be called by itself: inputs (weights as packed), sizes, outputs."""
        return self._sessions.function(name)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the artifact to `path`, whole or not at all. Raises `UsageError` if that cannot be done."""
        with writing(Path(path)) as target:
            self._file.seek(0)
            shutil.copyfileobj(self._file, target, 1 << 20)

    def _owned(self, passed: Sequence[Extent], results: Sequence[tvm.runtime.Tensor]) -> list[np.ndarray]:
        """The results as arrays, copied where they share memory with inputs, weights or one another."""
        taken = [*self._held, *passed]
        arrays = []
        for spec, tensor in zip(self.manifest.outputs, results, strict=True):
            begin, array = tensor.data_ptr(), self.device.get(tensor)
            if array.dtype != spec.element:
                array = array.view(spec.element)
            end = begin + array.nbytes
            if any(begin < other_end and other_begin < end for other_begin, other_end in taken):
                array = array.copy()
            else:
                taken.append((begin, end))
            arrays.append(array)
        return arrays

    def __repr__(self) -> str:
        takes, gives = (", ".join(map(str, specs)) for specs in (self.inputs, self.outputs))
        return f"<dsc.Module {self.manifest.name}: ({takes}) -> ({gives}), {self.threads} threads>"


def load(path: str | os.PathLike[str], threads: int | None = None) -> Module:
    """Load a model.dsc file, after checking every byte of it and that this host can run it.

    threads: how many cores one run uses; all that this process may use if not given.
    Raises `ArtifactError` for a file that is damaged or made for something else, `UsageError` if it cannot be
    read.
    """
    file = _open(path)
    try:
        return Module(file, os.fspath(path), threads)
    except BaseException:
        file.close()
        raise


def inspect(path: str | os.PathLike[str], check: bool = False) -> Manifest:
    """The manifest of an artifact, which need not be for this host; `check` compares all hashes too.

    Raises as `load` does.
    """
    with _open(path) as file:
        manifest = read_manifest(file, os.fspath(path))
        if check:
            mapped = _map(file)
            _check_members(mapped, manifest, os.fspath(path))
            read_tensors(_member(mapped, manifest, WEIGHTS), manifest.parameters, os.fspath(path))
        return manifest


def stored_weights(path: str | os.PathLike[str]) -> dict[str, Entry]:
    """The table of an artifact's weights, by the names that the manifest's parameters have.

    Raises as `load` does; the bytes of the weights are not read.
    """
    with _open(path) as file:
        manifest = read_manifest(file, os.fspath(path))
        return parse(_member(_map(file), manifest, WEIGHTS).data, os.fspath(path))[0]


def thread_count(threads: int | None) -> int:
    """The number of threads asked for; all cores if None. Raises `UsageError` for what is no such number."""
    if threads is None:
        return usable_cores()
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= _MAX_THREADS:
        raise UsageError(f"threads must be a number from 1 to {_MAX_THREADS}, not {threads!r}")
    return threads


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UsageError(f"cannot read {os.fspath(path)}: it is not a regular file")
        return open(path, "rb")  # the Module keeps it
    except OSError as error:
        raise UsageError(f"cannot read {os.fspath(path)}: {error.strerror}") from None


def check_versions(manifest: Manifest, source: str) -> None:
    """Raises `ArtifactError` where the artifact `source` was compiled with another TVM than is installed."""
    needed, here = manifest.versions.get("apache-tvm", ""), version("apache-tvm")
    if needed.split(".")[:2] != here.split(".")[:2]:
        raise ArtifactError(
            f"{source} was compiled with apache-tvm {needed or 'of unknown version'}, here is {here}; "
            f"compile the model again or `pip install 'apache-tvm=={needed}'`"
        )


def _check_members(mapped: np.ndarray, manifest: Manifest, source: str) -> None:
    """Hash what the manifest does not hold itself, on all cores."""
    for name in MEMBERS:
        check_member(_member(mapped, manifest, name).data, manifest, name, source, usable_cores())


def _member(mapped: np.ndarray, manifest: Manifest, name: str) -> np.ndarray:
    member = manifest.members[name]
    return mapped[member.offset : member.offset + member.size]


def _map(file: BinaryIO) -> np.ndarray:
    """The file's bytes. The mapping is private as DLPack has no read-only tensors; nothing writes to it."""
    return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)


def _extent(array: np.ndarray) -> Extent:
    return array.ctypes.data, array.ctypes.data + array.nbytes


def _put(device: Device, weights: list[np.ndarray], source: str) -> list[tvm.runtime.Tensor]:
    """The weights where kernels read them. Raises `ArtifactError` where the device has no room for them."""
    try:
        return [device.put(array, Staging()) for array in weights]
    except MemoryError as error:
        size = sum(array.nbytes for array in weights)
        raise ArtifactError(
            f"{source}: its weights take {size} bytes, for which {device.name} has no room: {error}"
        ) from error
