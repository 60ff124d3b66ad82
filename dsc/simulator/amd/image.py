"""Images of AMD's kernels: LLVM's code for the host, compiled by TVM's LLVM, which wrote the kernels too."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dsc.errors import UsageError
from dsc.files import scratch_folder
from dsc.simulator.amd.translate import translate
from dsc.simulator.errors import UnknownInstructionError
from dsc.simulator.image import packed
from dsc.simulator.machines import AMD, limits
from dsc.simulator.toolchain import run

_LOAD = "ffi.Module.load_from_file.ll"


@lru_cache(maxsize=32)
def compile_image(code: str, arch: str, checks: bool = True) -> bytes:
    """The image for LLVM's code, as text, in which kernels are functions of the calling convention ``amdgpu_kernel``.

    arch: such as ``gfx942``, for which the code was generated.
    checks: whether accesses to memory are watched one by one: races, bounds, bytes that nobody wrote, counters.

    Raises `UnknownInstructionError` for what the simulator does not know, with the line; `UsageError` for an
    architecture that is not AMD's, or where there is no linker.
    """
    lanes = limits(arch).warp
    if arch not in AMD:
        raise UsageError(f"{arch!r} is no architecture of AMD's: they are written as gfx942")
    translated = translate(code, lanes, checks)
    with scratch_folder() as folder:
        text, compiled, library = folder / "kernels.ll", folder / "kernels.o", folder / "kernels.so"
        text.write_text(translated)
        _compile(text, compiled)
        linked = run(["-shared", "-o", str(library), str(compiled), "-lm"])
        if linked.returncode != 0:
            raise UsageError(f"g++ could not link a kernel: {linked.stderr[-2000:]}")
        return packed(library)


def _compile(text: Path, to: Path) -> None:
    import tvm

    load = tvm.get_global_func(_LOAD, allow_missing=True)
    if load is None:
        raise UsageError("the simulator compiles AMD's kernels by TVM's LLVM, and this tvm was built without it")
    try:
        load(str(text), "ll").write_to_file(str(to), "o")
    except RuntimeError as error:
        raise UnknownInstructionError(f"LLVM does not take the translated code: {str(error)[-1000:]}") from None
