"""Loading a compiled library from memory, with as many threads as asked for."""

from __future__ import annotations

import tvm
import tvm_ffi

from dsc.errors import ArtifactError
from dsc.files import scratch_folder


def load_library(code: bytes, threads: int, source: str) -> tvm.runtime.Module:
    """Load the shared library `code` and start its threads (the caller's included).

    The system loader wants a file: a private one that is gone when this returns.
    Raises `ArtifactError`, naming `source`, if the code cannot be loaded.
    """
    load = tvm_ffi.get_global_func("ffi.Module.load_from_file.so")
    with scratch_folder() as private:
        path = private / "lib.so"
        path.write_bytes(code)
        try:
            library = load(str(path), "so")
        except (RuntimeError, OSError, ValueError) as error:
            raise ArtifactError(f"{source}: its code cannot be loaded here: {error}") from None
    library.get_function("dsc_start", query_imports=True)(threads)
    return library
