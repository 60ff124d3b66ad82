"""The backend: what artifacts carry, what is the host's, and what happens where a compiler is missing or refuses."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import tirx

from dsc.errors import ArtifactError, UnsupportedModelError, UsageError
from dsc.pipeline import compile_model
from dsc.simulator import simulated_cuda
from dsc.targets import Target
from dsc.targets.backend import ON_HOST
from dsc.targets.cuda import Cuda, toolchain
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.toolchain import AssemblerError, assemble, find_nvcc
from dsc.targets.gpu.generic.kernel import Generic, PlannedSpace
from dsc.targets.gpu.imports import CUDA, with_images
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Implementation, Kernel
from tests.compiled import TextModel
from tests.gpu.device import Device
from tests.targets.cuda.simulated import machine, target_of
from tests.targets.regions import Region

FATBIN = struct.pack("<I", 0xBA55ED50)
KERNEL = 'extern "C" __global__ void k(float* x) { x[threadIdx.x] += 1.0f; }\n'
RANDOM = np.random.default_rng(0)
MODEL = TextModel(
    """(float[batch,16] x, int64[batch] i) => (float[batch,8] y) {
        e = Gather(table, i) a = MatMul(x, w) b = Add(a, e) c = Gelu(b) d = MatMul(c, v) y = Softmax<axis=-1>(d) }""",
    {
        "table": RANDOM.standard_normal((10, 24)).astype(np.float32),
        "w": RANDOM.standard_normal((16, 24)).astype(np.float32),
        "v": RANDOM.standard_normal((24, 8)).astype(np.float32),
    },
)


def feeds(batch: int) -> dict[str, np.ndarray]:
    return {"x": RANDOM.standard_normal((batch, 16)).astype(np.float32), "i": RANDOM.integers(0, 10, batch)}


def entries(image: bytes) -> set[tuple[int, int]]:
    """What a fat binary holds: kind (1: PTX, 2: machine code) and capability, in its undocumented form."""
    magic, _, start, size = struct.unpack_from("<IHHQ", image)
    assert struct.pack("<I", magic) == FATBIN
    found, place = set(), start
    while place < start + size:
        kind, _, header, length = struct.unpack_from("<HHIQ", image, place)
        found.add((kind, struct.unpack_from("<I", image, place + 28)[0]))
        place += header + length
    return found


def test_an_image_has_machine_code_and_ptx() -> None:
    assert entries(assemble(KERNEL, "sm_86").image) == {(1, 86), (2, 86)}


def test_what_nvcc_refuses_it_says_in_the_last_line() -> None:
    with pytest.raises(AssemblerError) as raised:
        assemble(KERNEL.replace("1.0f", "one"), "sm_80")
    assert str(raised.value).splitlines()[-1].startswith("nvcc refuses the kernel for sm_80: ")
    assert '"one" is undefined' in str(raised.value).splitlines()[-1]


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_in_packages", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nvcc" else f"/usr/bin/{name}")
    with pytest.raises(UsageError, match=r"needs NVIDIA's nvcc.*pip install nvidia-cuda-nvcc"):
        compile_model(MODEL.proto(), target="cuda:sm_80")
    monkeypatch.setattr(toolchain, "_in_packages", lambda: Path("nvcc"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"C\+\+ compiler"):
        find_nvcc()


def test_a_whole_model_with_a_free_batch(simulation: Device, tmp_path: Path) -> None:
    compiled = compile_model(MODEL.proto(), target=target_of(simulation))
    assert not any(choice.failures for choice in compiled.model.choices)
    module = compiled.model.load(threads=1)
    for batch in (1, 5, 130):
        given = feeds(batch)
        (expected,) = MODEL.reference(given)
        np.testing.assert_allclose(module.run(given)["y"], expected, rtol=1e-4, atol=1e-6)
    wrong = feeds(3)
    with pytest.raises(UsageError, match=r"input i"):
        module.run(wrong | {"i": np.array([0, 10, 3])})
    with pytest.raises(UsageError):
        module.run(wrong | {"i": np.array([0, 1])})


def test_the_artifact_is_refused_where_there_is_no_such_gpu(tmp_path: Path) -> None:
    text = TextModel("(float[3,5] x) => (float[3,5] y) { y = Relu(x) }")
    compiled = compile_model(text.proto(), target="cuda:sm_90")
    assert [need.device for need in compiled.model.manifest.needs] == ["cpu", "cuda"]
    assert FATBIN in compiled.model.library
    if not tvm.cuda(0).exist:
        with pytest.raises(ArtifactError, match=r"cuda:sm_90 and needs a GPU of compute capability 9.0.*nvidia-smi"):
            compiled.model.load(threads=1)
    else:  # the simulated one, if another test has begun with it
        with (
            simulated_cuda("sm_80"),
            pytest.raises(ArtifactError, match=r"capability 9.0 or later; the GPU here has 8.0"),
        ):
            compiled.model.load(threads=1)


@dataclass(frozen=True, eq=False)
class Refused(PlannedSpace):
    """The generic kernel, but faster by its own account, and with a call of what CUDA does not have."""

    def estimate(self, point: object) -> float:
        return 0.0

    def build(self, point: object) -> Implementation:
        good = super().build(point)  # type: ignore[arg-type]

        def renamed(store: tirx.BufferStore) -> tirx.Stmt:
            value = tirx.call_pure_extern("float32", "no_such_function", store.value)
            return tirx.BufferStore(store.buffer, value, store.indices)

        return replace(
            good, func=good.func.with_body(tvm_ffi.structural_map(good.func.body, (tirx.BufferStore, renamed)))
        )


@dataclass(frozen=True)
class Broken:
    name: str = "test.broken"

    def match(self, workload: object, machine: Gpu) -> Refused:
        space = Generic().match(workload, machine)  # type: ignore[arg-type]
        assert isinstance(space, PlannedSpace)
        return Refused(space.scalars, space.body, space.plan, space.machine)


class WithBroken(Cuda):
    def kernels(self, machine: Gpu) -> Sequence[Kernel[Gpu]]:
        return (Broken(), *super().kernels(machine))


def test_a_kernel_that_nvcc_refuses_makes_way_for_the_next(caplog: pytest.LogCaptureFixture) -> None:
    model = TextModel("(float[3,5] x) => (float[3,5] y) { y = Tanh(x) }")
    compiled = compile_model(model.proto(), target=Target(WithBroken(), machine()))
    (choice,) = compiled.model.choices
    assert choice.kernel == "gpu.generic"
    ((kernel, reason),) = choice.failures
    assert kernel == "test.broken"
    assert "no_such_function" in reason
    assert "kernel test.broken failed, another is taken" in caplog.text


def test_a_model_too_large_for_the_memory_is_refused_before_the_work() -> None:
    model = TextModel(
        "(float[4,1000] x) => (float[4,1000] y) { y = MatMul(x, w) }", {"w": np.ones((1000, 1000), np.float32)}
    )
    small = replace(machine(), memory_bytes=4_000_000)
    with pytest.raises(UnsupportedModelError, match=r"0\.0 GB of weights\), and cuda:sm_80 has 0\.0 GB"):
        compile_model(model.proto(), target=Target(Cuda(), small))


def test_functions_of_the_host_stay_there() -> None:
    made = CudaBackend(machine(), assemble=lambda source, arch: b"")
    status = tirx.decl_buffer((3,), "int64", "status")
    size = tirx.Var("n", "int64")
    body = tirx.BufferStore(status, size, [tirx.const(0, "int32")])
    func = tirx.PrimFunc([status, size], body).with_attrs({"s_tir": True, ON_HOST: True, "global_symbol": "sizes"})
    code = made.generate(made.lower(tvm.IRModule({"sizes": func})))
    assert not code.imports
    values = np.zeros(3, np.int64)
    code["sizes"](tvm.runtime.tensor(values), 7)


def test_every_source_has_an_image() -> None:
    region = Region("(float[3,5] x) => (float[3,5] y) { y = Relu(x) }")
    space = Generic().match(region.workload(), machine())
    made = CudaBackend(machine(), assemble=lambda source, arch: b"image of " + arch.encode())
    func = space.build(space.points()[0]).func.with_attr("global_symbol", "k")
    code = made.generate(made.lower(tvm.IRModule({"k": func})))
    imports = tvm.get_global_func("runtime.ModulePackImportsToTensor")(code).numpy().tobytes()
    packed = made.pack(imports)
    assert b"image of sm_80" in packed
    assert b"__global__" not in packed
    assert b"k_kernel" in packed
    assert struct.unpack("<Q", packed[:8])[0] == len(packed) - 8
    with pytest.raises(ValueError, match=r"was not compiled"):
        with_images(imports, CUDA, {})
    with pytest.raises(ValueError, match=r"another size"):
        with_images(imports + b"x", CUDA, {})
