"""NVIDIA's machines by tag, and the one of this host."""

from __future__ import annotations

import re
import subprocess

import pytest
import tvm

from dsc.errors import UsageError
from dsc.targets import target
from dsc.targets.cuda.host import closest
from dsc.targets.cuda.machines import BY_TAG, DEFAULT, MACHINES
from dsc.targets.cuda.toolchain import find_nvcc
from dsc.targets.gpu.estimate import Launch, resident_blocks, seconds


def test_the_compiler_makes_code_for_every_machine() -> None:
    listed = subprocess.run([find_nvcc(), "--list-gpu-code"], capture_output=True, text=True, check=True).stdout.split()
    assert {machine.arch for machine in MACHINES} <= set(listed)


def test_machines_say_where_their_facts_are_from() -> None:
    for machine in MACHINES:
        assert machine.source
        assert all(row.source for row in machine.instructions)
        assert machine.l2_bandwidth >= machine.dram_bandwidth
        assert machine.shared_bytes <= machine.shared_bytes_total
    assert BY_TAG[DEFAULT].arch == "sm_80"


@pytest.mark.parametrize(
    ("tag", "float32", "half"), [("sm_75", 8.1e12, 65e12), ("sm_80", 19.5e12, 312e12), ("sm_86", 31.2e12, 125e12)]
)
def test_peaks_are_those_of_the_data_sheets(tag: str, float32: float, half: float) -> None:
    machine = target(f"cuda:{tag}").machine
    assert machine.peak() * machine.cores == pytest.approx(float32, rel=0.02)
    assert machine.peak("float16") * machine.cores == pytest.approx(half, rel=0.02)


def test_tensor_cores_are_named_as_ptx_names_them() -> None:
    for machine in MACHINES:
        for row in machine.instructions:
            if row.m > 1:
                shape = rf"m{row.m}n{row.n}k{row.k}"
                names = {"mma": rf"mma\.sync\.aligned\.{shape}\.row\.col(\.[a-z0-9]+){{4}}"}
                names["wgmma"] = rf"wgmma\.mma_async\.sync\.aligned\.{shape}\.f32\.(b?f16)\.\1"
                assert re.fullmatch(names[row.name], row.intrinsic or "")


def test_unknown_machines_are_refused_with_those_known() -> None:
    with pytest.raises(UsageError, match=r"'cuda:sm_20': near are .*sm_"):
        target("cuda:sm_20")


@pytest.mark.skipif(tvm.cuda(0).exist, reason="there is a GPU here")
def test_no_gpu_here() -> None:
    with pytest.raises(UsageError, match=r"no NVIDIA GPU.*name a machine.*cuda:sm_80"):
        target("cuda:native")


@pytest.mark.skipif(tvm.cuda(0).exist, reason="there is a GPU here")
def test_without_a_gpu_the_name_alone_is_the_default(caplog: pytest.LogCaptureFixture) -> None:
    assert target("nvidia").name == target("cuda").name == "cuda:sm_80"
    assert "no NVIDIA GPU" in caplog.text


def test_a_gpu_runs_the_code_of_the_nearest_machine_before_it() -> None:
    assert [closest(found).arch for found in ("7.5", "8.0", "8.7", "9.0", "12.0")] == [
        "sm_75", "sm_80", "sm_86", "sm_90", "sm_100",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"compute capability 7.0.*no older"):
        closest("7.0")


def test_occupancy() -> None:
    machine = BY_TAG[DEFAULT]
    assert resident_blocks(machine, Launch(1, 256, 1.0, 1.0, registers=128)) == 2
    assert resident_blocks(machine, Launch(1, 64, 1.0, 1.0, registers=16)) == 32
    assert resident_blocks(machine, Launch(1, 64, 1.0, 1.0, registers=16, shared_bytes=48 << 10)) == 3
    assert resident_blocks(machine, Launch(1, 1024, 1.0, 1.0, registers=128)) == 0


def test_a_last_block_alone_takes_as_long_as_all() -> None:
    times = [seconds(BY_TAG[DEFAULT], Launch(blocks, 128, 1e9 * blocks, 1.0)) for blocks in (108, 109, 216)]
    assert times[0] < times[1] == pytest.approx(times[2])
