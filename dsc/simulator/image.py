"""Kernels as the simulator loads them: a shared library behind a header."""

from __future__ import annotations

import hashlib
import re
import struct
from functools import lru_cache
from pathlib import Path

from dsc.errors import UsageError
from dsc.files import scratch_folder
from dsc.simulator.errors import UnknownInstructionError
from dsc.simulator.flags import kernel_flags
from dsc.simulator.toolchain import header_paths, run
from dsc.simulator.translate import translate

MAGIC = b"DSCSIM02"
"""As in core/launch.h; TVM takes what begins with a slash for PTX."""
_HEADER = struct.Struct("=8sQQ")

_INCLUDE = re.compile(r"^([ \t]*)#([ \t]*include\b.*)$", re.MULTILINE)
_NAME = "kernels.cu"


@lru_cache(maxsize=32)
def compile_image(source: str, arch: str, checks: bool = True) -> bytes:
    """The image for CUDA source in which kernels are ``__global__`` functions that are no templates.

    arch: such as ``sm_80``; the source sees it as ``__CUDA_ARCH__``.
    checks: whether accesses to memory are watched one by one: races, bounds, bytes that nobody wrote, counters.

    Raises `UnknownInstructionError` for what of CUDA or PTX the simulator does not know, with the line; `UsageError`
    where there is no compiler.
    """
    number = re.fullmatch(r"sm_(\d+)a?", arch)
    if number is None:
        raise UsageError(f"{arch!r} is no architecture of CUDA: they are written as sm_80")
    defines = [f"-D__CUDA_ARCH__={int(number[1]) * 10}", "-D__CUDACC_VER_MAJOR__=13", "-D__CUDACC_VER_MINOR__=0"]
    translated = translate(_preprocessed(source, defines))
    with scratch_folder() as folder:
        compiled, library = folder / "kernels.o", folder / "kernels.so"
        result = run(
            [*kernel_flags(checks), *header_paths(checks), *defines, "-x", "c++", "-c", "-", "-o", str(compiled)],
            translated,
        )
        if result.returncode != 0:
            raise UnknownInstructionError(_complaint(result.stderr, source))
        # Linked apart: the sanitizer's own runtime is not wanted, the core has what is called.
        linked = run(["-shared", "-o", str(library), str(compiled)])
        if linked.returncode != 0:
            raise UsageError(f"g++ could not link a kernel: {linked.stderr[-2000:]}")
        return packed(library)


def packed(library: Path) -> bytes:
    """A library as an image."""
    code = library.read_bytes()
    digest = hashlib.sha256(code).digest()
    return _HEADER.pack(MAGIC, len(code), int.from_bytes(digest[:8], "little")) + code


def image_id(image: bytes) -> int:
    """What tells it from others."""
    _, _, number = _HEADER.unpack_from(image)
    return int(number)


def unpacked(image: bytes) -> bytes:
    """The library of an image."""
    return image[_HEADER.size :]


def _preprocessed(source: str, defines: list[str]) -> str:
    """The source with its own macros and conditions resolved; what it includes is left to the compiler."""
    held = _INCLUDE.sub(r"\1simulator_hold \2", source)
    result = run(["-E", "-undef", *defines, "-D__CUDACC__", "-x", "c++", "-"], f'# 1 "{_NAME}"\n{held}')
    if result.returncode != 0:
        raise UnknownInstructionError(f"the CUDA source cannot be preprocessed: {result.stderr[-2000:]}")
    return re.sub(r"^([ \t]*)simulator_hold\b", r"\1#", result.stdout, flags=re.MULTILINE)


def _complaint(messages: str, source: str) -> str:
    """The first error of the compiler, in a sentence: mostly a function that is not known here."""
    match = re.search(rf"^(?:{re.escape(_NAME)}:(\d+):)?.*?\berror: (.*)$", messages, re.MULTILINE)
    if match is None:
        return f"g++ fails on the translated source: {messages[-1000:]}"
    if not match[1]:
        return f"the translated source is not understood by the simulator: {match[2]}"
    line = source.splitlines()[int(match[1]) - 1].strip()
    return f"line {match[1]} of the CUDA source: not understood by the simulator: {match[2]}\n  {line}"
