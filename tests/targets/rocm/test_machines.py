"""AMD's machines by tag, and the one of this host."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tvm

from dsc.errors import UsageError
from dsc.targets import target
from dsc.targets.gpu.machine import Gpu
from dsc.targets.rocm import Rocm, host
from dsc.targets.rocm.machines import BY_TAG, MACHINES

PROPERTIES = """simd_count {simds}
simd_per_cu 4
gfx_target_version {version}
max_engine_clk_fcompute 1700
"""


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_machines_are_those_that_llvm_knows(machine: Gpu) -> None:
    known = tvm.target.codegen.llvm_get_cpu_archlist(
        tvm.target.Target({"kind": "llvm", "mtriple": "amdgcn-amd-amdhsa", "mcpu": machine.arch})
    )
    assert machine.arch in {str(name) for name in known}
    assert machine.source
    assert machine.dram_bandwidth < machine.l2_bandwidth
    assert machine.warp == (64 if machine.arch.startswith("gfx9") else 32)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_llvm_has_the_intrinsics_of_every_row(machine: Gpu) -> None:
    for row in machine.instructions:
        assert row.source
        if row.intrinsic is not None:
            assert tvm.target.codegen.llvm_lookup_intrinsic_id(row.intrinsic) != 0, row.intrinsic


@pytest.mark.parametrize(
    ("tag", "element", "peak"),
    [
        ("gfx906", "float32", 13.3e12),
        ("gfx906", "int8", 53.0e12),
        ("gfx90a", "float32", 47.9e12),  # half of the MI250X, packed or by matrix cores
        ("gfx90a", "float16", 191.5e12),
        ("gfx90a", "int8", 191.5e12),
        ("gfx942", "float32", 163.4e12),
        ("gfx942", "bfloat16", 1307.4e12),
        ("gfx942", "tfloat32", 653.7e12),
        ("gfx942", "int8", 2614.9e12),
        ("gfx1030", "float32", 23.0e12),
        ("gfx1100", "float16", 122.9e12),
        ("gfx1200", "float16", 102.6e12),
        ("gfx1200", "int8", 205.1e12),
    ],
)
def test_peaks_are_those_of_the_data_sheets(tag: str, element: str, peak: float) -> None:
    machine = BY_TAG[tag]
    assert machine.peak(element) * machine.cores == pytest.approx(peak, rel=0.01)


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """A host with a processor and one GPU, as amdkfd lists them."""
    processor, gpu = folder / "0", folder / "1"
    for node in (processor, gpu, gpu / "mem_banks" / "0"):
        node.mkdir(parents=True)
    (processor / "properties").write_text("cpu_cores_count 8\nsimd_count 0\ngfx_target_version 0\n")
    (gpu / "properties").write_text(PROPERTIES.format(simds=416, version=version))
    (gpu / "mem_banks" / "0" / "properties").write_text(f"heap_type 1\nsize_in_bytes {64 << 30}\n")
    monkeypatch.setattr(host, "TOPOLOGY", folder)


def test_the_gpu_of_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, version=90010)
    found = target("rocm").machine
    assert isinstance(found, Gpu)
    assert (found.name, found.arch, found.cores) == ("rocm:native", "gfx90a", 104)
    assert (found.frequency, found.memory_bytes) == (1.7e9, 64 << 30)


@pytest.mark.parametrize(
    ("version", "arch"),
    [(90006, "gfx906"), (90010, "gfx90a"), (90402, "gfx942"), (100300, "gfx1030"), (110000, "gfx1100")],
)
def test_names_of_instruction_sets(version: int, arch: str) -> None:
    assert host.arch_of(version) == arch


def test_an_unknown_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, version=80003)
    with pytest.raises(UsageError, match=r"this GPU is gfx803.*known are gfx906, gfx90a"):
        target("rocm:native")


def test_no_gpu_is_the_default_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(host, "TOPOLOGY", tmp_path)
    with pytest.raises(UsageError, match=r"rocm:native needs an AMD GPU.*there is none here"):
        target("rocm:native")
    with caplog.at_level(logging.WARNING):
        assert target("amd").name == f"rocm:{Rocm.default}" == "rocm:gfx942"
    assert "there is none here" in caplog.text
