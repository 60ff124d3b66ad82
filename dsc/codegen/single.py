"""One kernel by itself, as it runs in a model: for measuring candidates."""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx

from dsc.codegen.link import link
from dsc.codegen.objects import compile_kernel, write_object
from dsc.files import scratch_folder
from dsc.runtime.library import load_library

_NAME = "kernel"


def load_kernel(func: tirx.PrimFunc, target: tvm.target.Target, threads: int) -> tvm_ffi.Function:
    """A scheduled function, callable on tensors, with the threads and the thread pool that a model would have.

    Its workers end when it is dropped. Raises `UsageError` if there is no linker.
    """
    with scratch_folder() as folder:
        code, output = folder / "kernel.o", folder / "kernel.so"
        write_object(compile_kernel(_NAME, func.with_attr("global_symbol", _NAME), target), code)
        link([code], output)
        kernel: tvm_ffi.Function = load_library(output.read_bytes(), threads, "kernel").get_function(_NAME)
        return kernel
