"""x86 hosts of which a hypervisor hides features, and processors that LLVM does not know."""

from __future__ import annotations

import pytest
import tvm

from dsc import targets
from dsc.targets.cpu.machine import Cpu
from dsc.targets.x86 import X86, host
from dsc.targets.x86.machines import BY_TAG, FEATURES, MACHINES

ALL = frozenset(FEATURES)
AMX = frozenset(f for f in ALL if f.startswith("amx"))
AVX512 = frozenset(f for f in ALL if f.startswith("avx512")) | AMX
SSE = frozenset("sse4_1 sse4_2 popcnt".split())
BYTES, BFLOAT16 = ("uint8", "int8", "int32"), ("bfloat16", "bfloat16", "float32")


def enabled(machine: Cpu) -> frozenset[str]:
    """The features of which LLVM may use instructions, as Linux calls them."""
    target = X86().backend(machine).target
    found = {str(feature) for feature in tvm.target.codegen.llvm_get_cpu_features(target)}
    return frozenset(ours for ours, theirs in FEATURES.items() if theirs in found)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_an_artifact_needs_what_llvm_may_use(machine: Cpu) -> None:
    """And no more; each instruction of the table is one that LLVM may use."""
    assert machine.features == enabled(machine)
    assert all(machine.features.issuperset(row.requires) for row in machine.instructions)


@pytest.mark.parametrize(
    ("cpu", "shown", "found", "mattr", "bits", "bytes_", "bfloat16"),
    [
        ("sapphirerapids", ALL, "sapphirerapids", "", 512, True, True),
        ("sapphirerapids", ALL - {"avx512_fp16"}, "sapphirerapids", "-avx512fp16", 512, True, True),
        ("sapphirerapids", ALL - AMX, "sapphirerapids", "-amx-bf16 -amx-int8 -amx-tile", 512, True, True),
        ("sapphirerapids", ALL - {"avx512_bf16"}, "sapphirerapids", "-avx512bf16", 512, True, False),
        ("sapphirerapids", ALL - {"avx512_vnni", "gfni"}, "sapphirerapids", "-avx512vnni -gfni", 512, False, True),
        ("sapphirerapids", ALL - AVX512, "alderlake", "", 256, True, False),
        ("sapphirerapids", ALL - AVX512 - {"avx_vnni", "gfni"}, "alderlake", "-avxvnni -gfni", 256, False, False),
        ("sapphirerapids", SSE | {"avx"}, "x86-64-v2", "", 128, False, False),
        ("icelake-server", ALL - {"avx512vl"}, "skylake", "+avxvnni", 256, True, False),
        ("znver4", ALL - {"avx512_vnni"}, "znver4", "-avx512vnni", 512, False, True),
        ("znver4", ALL - {"avx512vl", "avx_vnni"}, "znver3", "", 256, False, False),
        ("znver5", ALL - AVX512 - {"avx_vnni", "movbe"}, "znver3", "-movbe", 256, False, False),
        ("cooperlake", ALL, "cascadelake", "+avx512bf16", 512, True, True),
        ("emeraldrapids", ALL - {"avx512_fp16"}, "sapphirerapids", "-avx512fp16", 512, True, True),
        ("x86-64", ALL, "x86-64-v4", "+avx512bf16 +avx512vnni", 512, True, True),
        ("generic", ALL - {"avx512_bf16"}, "x86-64-v4", "+avx512vnni", 512, True, False),
        ("generic", ALL - AVX512 - {"avx_vnni"}, "x86-64-v3", "", 256, False, False),
        ("generic", ALL - AVX512 - {"avx_vnni", "abm", "f16c"}, "x86-64-v3", "-lzcnt -f16c", 256, False, False),
        ("generic", SSE, "x86-64-v2", "", 128, False, False),
    ],
)
def test_a_host_is_what_it_shows(
    cpu: str, shown: frozenset[str], found: str, mattr: str, bits: int, bytes_: bool, bfloat16: bool
) -> None:
    machine = host.closest(cpu, shown)
    assert machine is not None
    assert (machine.name, machine.mcpu) == (f"x86:{found}", BY_TAG[found].mcpu)
    assert machine.mattr == tuple(mattr.split())
    assert machine.vector_bits == bits
    assert bool(machine.multiply_adds(*BYTES)) == bytes_
    assert bool(machine.multiply_adds(*BFLOAT16)) == bfloat16
    assert machine.features <= shown
    assert enabled(machine) <= shown
    for operands in {row.operands for row in machine.instructions}:
        widths = [row.n * 32 for row in machine.multiply_adds(*operands)]
        assert widths == sorted(widths, reverse=True)
        assert widths[0] == bits


@pytest.mark.parametrize("hidden", sorted(ALL - SSE))
@pytest.mark.parametrize("machine", [m for m in MACHINES if m.name in ("x86:sapphirerapids", "x86:znver5")])
def test_any_one_feature_may_be_hidden(machine: Cpu, hidden: str) -> None:
    """LLVM takes none that it is not told of, and never falls below the next narrower vectors."""
    found = host.closest(machine.mcpu, machine.features - {hidden})
    assert found is not None
    assert hidden not in enabled(found)
    assert enabled(found) <= found.features
    assert found.vector_bits >= (128 if hidden in ("avx", "avx2", "fma") else 256)
    if found.vector_bits == machine.vector_bits:
        assert found.features == machine.features - {hidden}


def test_nothing_runs_without_sse42() -> None:
    assert host.closest("znver4", ALL - {"sse4_2"}) is None


def test_what_is_missing_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """And only where kernels lack something by it; `remark` has it in any case."""
    native(monkeypatch, ALL - {"avx512_fp16"})
    assert not caplog.text
    machine = native(monkeypatch, ALL - {"avx512_bf16"})
    targets.target("x86")
    text = "x86:sapphirerapids without avx512_bf16, which this host does not show: no vdpbf16ps"
    assert machine.remark == f"{text}, which multiplies bfloat16"
    assert caplog.text.count(text) == 1
    assert native(monkeypatch, ALL).remark == ""
    narrow = native(monkeypatch, ALL - AVX512).remark
    assert "code is as for x86:alderlake: vectors of 256 bits, not 512, no vdpbf16ps" in narrow


def native(monkeypatch: pytest.MonkeyPatch, shown: frozenset[str]) -> Cpu:
    """A Sapphire Rapids that shows these features."""
    monkeypatch.setattr(host, "cpu_features", lambda: shown)
    monkeypatch.setattr(host, "_llvm_cpu", lambda: "sapphirerapids")
    host._lasting.cache_clear()
    return host.native()


@pytest.fixture(autouse=True)
def _read_again():
    """The real host, after each test."""
    yield
    host._lasting.cache_clear()
