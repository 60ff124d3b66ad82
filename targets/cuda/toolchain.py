"""NVIDIA's compiler: where it is, and what it makes of a kernel's source."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dsc import environment
from dsc.errors import DscError, UsageError
from dsc.files import scratch_folder

PACKAGES = ("nvidia-cuda-nvcc", "nvidia-cuda-cccl")
"""What brings nvcc, ptxas and the headers by pip."""
QUIET = ("-diag-suppress", "177")
"""Variables that are never read: TVM's code has some."""


TELLING = ("-Xptxas", "-v")
"""Have ptxas say what registers and memory each kernel takes."""


SERIALIZED = "wgmma.mma_async instructions are serialized"
"""What ptxas says of kernels in whose registers sums could not stay, so that each product waits for the one before."""
_SPECIFIC = "wgmma."
"""What is written in PTX of instructions that only one architecture has."""


def is_specific(source: str) -> bool:
    """Whether a kernel's CUDA C++ has instructions that only one architecture has: its image runs on no later GPU."""
    return _SPECIFIC in source


def specific(arch: str) -> str:
    """``sm_90a`` for ``sm_90``: as nvcc has the architecture with what only it has (CUDA Compiler Driver NVCC,
    "Architecture-Specific Features")."""
    return f"{arch}a"


@dataclass(frozen=True)
class Assembled:
    """A kernel's code, and what was said of it."""

    image: bytes
    """Machine code, and PTX for what comes after it, if anything takes that."""
    said: str
    """By nvcc and ptxas: see `dsc.targets.cuda.resources`."""


class AssemblerError(DscError):
    """nvcc or ptxas refuse a kernel."""


def find_nvcc() -> Path:
    """nvcc, on PATH or in the packages of this Python. Raises `UsageError` where there is none, or no C++ compiler."""
    nvcc = _on_path() or _in_packages()
    if nvcc is None:
        raise UsageError(
            "compiling for cuda needs NVIDIA's nvcc, which is neither on PATH nor among Python's packages; install the "
            f"CUDA toolkit (13 or newer), or: pip install {' '.join(PACKAGES)}"
        )
    if shutil.which("g++") is None:
        raise UsageError("nvcc needs a C++ compiler, g++; install one, as: apt install g++")
    return nvcc


def _on_path() -> Path | None:
    found = shutil.which("nvcc")
    return None if found is None else Path(found)


def _in_packages() -> Path | None:
    """In nvidia/cu13/bin, say, beside the other packages of NVIDIA's."""
    spec = importlib.util.find_spec("nvidia")
    roots = [] if spec is None else list(spec.submodule_search_locations or ())
    found = sorted(nvcc for root in roots for nvcc in Path(root).glob("*/bin/nvcc"))
    return found[-1] if found else None


def assemble(source: str, arch: str) -> Assembled:
    """The image of a kernel's CUDA C++, for `arch` (``sm_80``; ``sm_90a`` without PTX, which nothing later would take).

    Raises `AssemblerError`, whose last line is the compiler's first complaint; also where products of warpgroups would
    wait for one another.
    """
    virtual = arch.replace("sm_", "compute_")
    code = f"arch={virtual},code={arch}" if arch.endswith("a") else f"arch={virtual},code=[{arch},{virtual}]"
    with scratch_folder() as folder:
        given, image = folder / "kernel.cu", folder / "kernel.fatbin"
        given.write_text(source)
        options = ["-fatbin", *TELLING, "-gencode", code, str(given), "-o", str(image)]
        said = compile_with(find_nvcc(), options, arch)
        if complaint := next((line.strip() for line in said.splitlines() if SERIALIZED in line), None):
            raise AssemblerError(f"ptxas makes slow code of the kernel for {arch}: {complaint}")
        return Assembled(image.read_bytes(), said)


def compile_with(nvcc: Path, options: list[str], arch: str) -> str:
    """What nvcc prints. Raises `AssemblerError` where it fails."""
    command = [str(nvcc), "-std=c++17", *QUIET, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment.copied())
    said = done.stdout + done.stderr
    if done.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        complaint = next(
            (line for line in lines if "error" in line.lower() or "fatal" in line.lower()), "no reason given"
        )
        raise AssemblerError("\n".join([*lines[:20], f"nvcc refuses the kernel for {arch}: {complaint}"]))
    return said
