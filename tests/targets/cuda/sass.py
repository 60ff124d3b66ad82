"""NVIDIA's machine code as text: what instructions each kernel of an image is made of."""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dsc.files import scratch_folder

MAGIC = struct.pack("<I", 0xBA55ED50)
"""A fat binary begins with it; then a version, the size of its header and that of what follows."""
MATRIX = frozenset({"HMMA", "IMMA", "BMMA", "DMMA", "HGMMA", "IGMMA"})
"""What tensor cores execute."""
LOCAL = frozenset({"LDL", "STL"})
"""Memory of a thread: spills, and arrays that are no registers."""
_FUNCTION = re.compile(r"^\s*Function : (\w+)$", re.MULTILINE)
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z0-9_]+)", re.MULTILINE)


def find_cuobjdump() -> Path:
    """On PATH or in the package nvidia-cuda-cuobjdump, beside which it finds nvdisasm."""
    spec = importlib.util.find_spec("nvidia")
    roots = [] if spec is None else list(spec.submodule_search_locations or ())
    found = [tool for root in roots for tool in Path(root).glob("*/bin/cuobjdump")]
    on_path = shutil.which("cuobjdump")
    if not found and on_path is None:
        raise FileNotFoundError("cuobjdump is missing: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    return sorted(found)[-1] if found else Path(on_path or "")


def images(library: bytes) -> Iterator[bytes]:
    """The fat binaries in an artifact's library, one for each kernel."""
    start = library.find(MAGIC)
    while start >= 0:
        _, header, size = struct.unpack_from("<HHQ", library, start + len(MAGIC))
        yield library[start : start + header + size]
        start = library.find(MAGIC, start + header + size)


def machine_code(image: bytes) -> str:
    """What cuobjdump writes of a fat binary."""
    with scratch_folder() as folder:
        (folder / "kernel.fatbin").write_bytes(image)
        command = [find_cuobjdump(), "-sass", folder / "kernel.fatbin"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def instructions(image: bytes) -> dict[str, Counter[str]]:
    """How many of each instruction (its name without what follows a dot) a fat binary has, by kernel."""
    _, *parts = _FUNCTION.split(machine_code(image))
    return {
        name: Counter(_INSTRUCTION.findall(text)) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }  # fmt: skip


def count(found: Counter[str], names: frozenset[str]) -> int:
    """Of the instructions of a kernel, those of a kind."""
    return sum(found[name] for name in names)
