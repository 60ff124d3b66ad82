"""What all targets share knows of none: no family, no feature of a processor, no element type that is meant for all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsc.targets import families
from dsc.targets.x86.machines import MACHINES

ROOT = Path(__file__).parents[1]
SHARED = ("dsc/codegen", "dsc/lower", "dsc/runtime", "dsc/pipeline.py", "dsc/tune")
FILES = sorted(
    file for place in SHARED for file in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*"))
    if file.suffix in (".py", ".c")
)  # fmt: skip
ONE_DEVICE = {f"dsc/runtime/devices/{name}.py" for name in ("cuda", "rocm", "registry")}
"""What is about one device, or lists them."""
VENDORS = ("x86", "amd", "intel", "zen", "neon", "cuda", "rocm", "nvidia", "arm64", "aarch64")
MEANT_FOR_ALL = (
    r'placeholder\([^)]*"float32"',
    r'(alloc|decl)_buffer\([^)]*"float32"',
    r': str = "float32"',
    r'dtype="float32"',
)
"""Where kernels' memory would be of one type, or a parameter say so."""


def named() -> set[str]:
    """Names that only those who describe machines may know."""
    features = {feature for machine in MACHINES for feature in machine.features}
    cores = {machine.mcpu for machine in MACHINES}
    instructions = {row.name for machine in MACHINES for row in machine.instructions}
    return {name.lower() for name in {*VENDORS, *families(), *features, *cores, *instructions} if len(name) > 2}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_machine_is_named(file: Path) -> None:
    if str(file.relative_to(ROOT)) in ONE_DEVICE:
        return
    words = set(re.findall(r"[a-z0-9_.-]+", file.read_text().lower()))
    parts = {part for word in words for part in re.split(r"[.\-]", word)} | words
    assert not parts & named()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_type_is_meant_for_all(file: Path) -> None:
    text = file.read_text()
    assert not [pattern for pattern in MEANT_FOR_ALL if re.search(pattern, text)]
    if not file.is_relative_to(ROOT / "dsc/lower"):  # ONNX's own definitions say float32 there
        assert "float32" not in text
