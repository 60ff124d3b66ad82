"""Loading a compiled library from memory."""

from __future__ import annotations

import tvm
import tvm_ffi

from dsc.errors import ArtifactError
from dsc.files import scratch_folder


def load_library(code: bytes, source: str) -> tvm.runtime.Module:
    """Load the shared library `code`, which is the host's; a device starts it before it is used.

    The system loader wants a file: a private one that is gone when this returns.
    Raises `ArtifactError`, naming `source`, if the code cannot be loaded.
    """
    load = tvm_ffi.get_global_func("ffi.Module.load_from_file.so")
    with scratch_folder() as private:
        path = private / "lib.so"
        path.write_bytes(code)
        try:
            return load(str(path), "so")
        except (RuntimeError, OSError, ValueError) as error:
            raise ArtifactError(f"{source}: its code cannot be loaded here: {error}") from None
