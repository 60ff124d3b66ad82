"""From models to artifacts with code objects, and what is said where something is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnx.parser
import pytest
import tvm

import dsc
from dsc import hip
from dsc.codegen.objects import compile_kernels
from dsc.errors import ArtifactError, UsageError
from dsc.pipeline import compile_model
from dsc.runtime.devices.rocm import Rocm as RocmDevice
from dsc.targets import Target, target
from dsc.targets.rocm import Rocm, toolchain
from dsc.targets.rocm.backend import RocmBackend
from dsc.targets.rocm.machines import BY_TAG
from dsc.targets.rocm.resources import ResourceError, Resources, check, resources
from dsc.targets.rocm.toolchain import LinkerError, link
from tests.targets.regions import Region, implement

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[batch,3,17,17] x) => (float[batch,10] y)
<float[8,3,3,3] w = {}, float[8,10] v = {}>
{
  c = Conv<pads=[1,1,1,1]>(x, w)
  r = Relu(c)
  p = GlobalAveragePool(r)
  f = Flatten(p)
  m = MatMul(f, v)
  y = Softmax(m)
}
"""


def model() -> onnx.ModelProto:
    """Of several regions, with a free batch; its weights are numbers that differ."""
    numbers = [", ".join(f"{(i * 37 % 101 - 50) / 50:.2f}" for i in range(count)) for count in (8 * 27, 80)]
    text = MODEL
    for each in numbers:
        text = text.replace("= {}", f"= {{{each}}}", 1)
    return onnx.parser.parse_model(text)


def test_an_artifact_carries_code_objects_and_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "net.dsc"
    compile_model(model(), target="rocm:gfx90a").model.write(file)
    content = file.read_bytes()
    assert content.count(b"amdhsa.kernels") >= 3
    assert content.count(b"amdgcn-amd-amdhsa") >= 3
    monkeypatch.setattr(hip, "problem", lambda: "no libamdhip64.so: install ROCm")
    with pytest.raises(
        ArtifactError,
        match=r"net\.dsc was compiled for rocm:gfx90a and needs an AMD GPU of type gfx90a; no libamdhip64\.so: install",
    ):
        dsc.load(file)
    monkeypatch.setattr(hip, "problem", lambda: "")
    monkeypatch.setattr(hip, "architecture", lambda: "gfx942")
    with pytest.raises(ArtifactError, match=r"needs an AMD GPU of type gfx90a; the GPU here is gfx942: compile .*"):
        dsc.load(file)


def test_a_device_whose_library_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_headers() -> str:
        raise UsageError("driving AMD's GPUs needs HIP's headers")

    monkeypatch.setattr(hip, "problem", no_headers)
    with pytest.raises(ArtifactError, match=r"model\.dsc was compiled for rocm:gfx942 .*gfx942; driving AMD's GPUs"):
        RocmDevice().check({"arch": "gfx942"}, "rocm:gfx942", "model.dsc")


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    made = [compile_model(model(), target="rocm:gfx1100").model.library for _ in range(2)]
    assert made[0] == made[1]


def test_no_linker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cc").write_text("#!/bin/sh\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"ld\.lld.*neither on PATH nor in ROCm's folder.*apt install lld-19"):
        compile_model(model(), target="rocm:gfx942")


def test_images_of_a_simulator_need_no_linker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are made of LLVM's code, and take the place of code objects."""
    monkeypatch.setattr(toolchain, "LINKERS", ())
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    made: list[str] = []

    def assemble(code: str, arch: str) -> bytes:
        made.append(code)
        return f"image {len(made)} for {arch}.".encode()

    library = compile_model(model(), target=Target(Rocm(assemble), BY_TAG["gfx1100"])).model.library
    assert len(made) >= 3
    assert all("amdgpu_kernel" in code for code in made)
    for number in range(1, len(made) + 1):
        assert library.count(f"image {number} for gfx1100.".encode()) == 1
    assert b"amdgcn-amd-amdhsa" not in library


def test_the_linker_of_rocm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "llvm" / "bin" / "ld.lld"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    assert toolchain.find_lld() == own


def test_no_library_of_functions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is asked for by what calls it only, and by its name."""
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "SYSTEM", tmp_path)
    common = "(float[9] x) => (float[9] y) { e = Exp(x)  t = Tanh(e)  y = Erf(t) }"
    rare = "(float[9] x) => (float[9] y) { y = Sinh(x) }"
    backend, machine = RocmBackend(BY_TAG["gfx942"]), BY_TAG["gfx942"]
    kernels = Rocm().kernels(machine)
    for text, missing in ((common, False), (rare, True)):
        func = implement(kernels[-1], Region(text), machine).func.with_attr("global_symbol", "kernel")
        module = tvm.IRModule({"kernel": func})
        if missing:
            with pytest.raises(UsageError, match=r"__ocml_sinh_f32.*apt install rocm-device-libs"):
                compile_kernels(module, backend)
        else:
            compile_kernels(module, backend)


def test_what_the_linker_refuses_it_says() -> None:
    with pytest.raises(LinkerError, match=r"ld\.lld refuses the kernel: .*"):
        link(b"no object file")


USED = Resources("kernel", 90, 0, 20, 0, 0, 4096, 0)


def test_a_kernel_that_does_not_fit_is_refused() -> None:
    machine = BY_TAG["gfx1100"]
    check(USED, machine)
    with pytest.raises(ResourceError, match=r"kernel takes 65540 bytes of local memory; gfx1100 has 65536"):
        check(replace(USED, shared_bytes=65540), machine)
    with pytest.raises(ResourceError, match=r"kernel takes 257 registers; gfx1100 has 256"):
        check(replace(USED, vector_registers=257), machine)


def test_assembly_without_metadata_is_no_kernel() -> None:
    with pytest.raises(ValueError, match="no metadata"):
        resources("s_endpgm")


def test_a_kernel_that_does_not_fit_makes_way_for_the_next(caplog: pytest.LogCaptureFixture) -> None:
    """Products by tiles in local memory, of which this machine has less than its estimates say."""
    machine = BY_TAG["gfx1030"]
    region = Region("(float[512,512] a, float[512,512] b) => (float[512,512] y) { y = MatMul(a, b) }")
    taken = []
    for each in (machine, replace(machine, shared_bytes=4096)):
        (kernel,) = compile_model(region.model(), target=Target(Rocm(), each)).model.manifest.kernels
        taken.append(kernel["kernel"])
    assert taken == ["gpu.contraction", "gpu.generic"]
    assert "gpu.contraction failed, another is taken: ResourceError" in caplog.text


def test_it_has_a_target_of_tvms() -> None:
    made = target("rocm:gfx1100").backend().target
    assert (str(made.kind), made.attrs["mcpu"], int(made.attrs["thread_warp_size"])) == ("rocm", "gfx1100", 32)
