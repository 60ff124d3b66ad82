"""One kernel by itself, as it runs in a model: for measuring candidates."""

from __future__ import annotations

import tvm_ffi
from tvm import tirx

from dsc.codegen.objects import compile_kernel, write_imports, write_object
from dsc.files import scratch_folder
from dsc.runtime.devices import Device
from dsc.runtime.library import load_library
from dsc.targets.backend import Backend

_NAME = "kernel"


def load_kernel(func: tirx.PrimFunc, backend: Backend, device: Device, threads: int) -> tvm_ffi.Function:
    """A scheduled function, callable on the device's tensors, launched as in a model.

    What launches it ends when it is dropped. Raises `UsageError` if there is no linker.
    """
    with scratch_folder() as folder:
        code, output = [folder / "kernel.o"], folder / "kernel.so"
        compiled = compile_kernel(_NAME, func.with_attr("global_symbol", _NAME), backend)
        write_object(compiled, code[0])
        if compiled.imports:
            code.append(folder / "imports.o")
            write_imports(compiled, compiled, backend, code[-1])
        backend.link(code, output)
        library = load_library(output.read_bytes(), "kernel")
        device.start(library, threads)
        kernel: tvm_ffi.Function = library.get_function(_NAME)
        return kernel
