# ruff: noqa: E501 - graphs are written on one line
"""Products of bytes on GPUs, exactly: whole models on simulated ones, against sums of NumPy's int64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import tvm

from dsc.check.simulated import simulated
from dsc.pipeline import compile_model
from dsc.simulator import simulated_cuda, simulated_rocm
from dsc.targets import Refusal, target
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.toolchain import assemble
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.matrix.space import MatrixSpace
from tests.compiled import TextModel
from tests.targets.cuda.sass import LOCAL, count, instructions
from tests.targets.cuda.simulated import backend, device, library, machine
from tests.targets.cuda.test_matrix import in_turn
from tests.targets.regions import Region
from tests.targets.rocm.compiled import of_implementations

RANDOM = np.random.default_rng(29)


def bytes_of(dtype: str, *shape: int) -> np.ndarray:
    """Random bytes, many of them the least and the greatest."""
    limits = np.iinfo(dtype)
    array = RANDOM.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    array[RANDOM.random(shape) < 0.2] = limits.min
    array[RANDOM.random(shape) < 0.2] = limits.max
    return array


def product(a: np.ndarray, b: np.ndarray, a_zero: object = 0, b_zero: object = 0) -> np.ndarray:
    """MatMulInteger; a zero point of the rows of `a` is one of rank 1."""
    left = np.asarray(a_zero, np.int64)
    rows = left[:, None] if left.ndim == 1 else left
    return ((a.astype(np.int64) - rows) @ (b.astype(np.int64) - np.asarray(b_zero, np.int64))).astype(np.int32)


@dataclass(frozen=True)
class Convolution:
    """What there is of it in two dimensions: the same padding at all sides, the same stride along both."""

    pad: int = 0
    stride: int = 1
    groups: int = 1

    def __call__(self, x: np.ndarray, w: np.ndarray, x_zero: object = 0, w_zero: object = 0) -> np.ndarray:
        """ConvInteger; a zero point of rank 1 of `w` is one of its channels."""
        around = (self.pad, self.pad)
        image = np.pad(x.astype(np.int64) - np.asarray(x_zero, np.int64), ((0, 0), (0, 0), around, around))
        zero = np.asarray(w_zero, np.int64)
        filters = w.astype(np.int64) - (zero[:, None, None, None] if zero.ndim == 1 else zero)
        windows = np.lib.stride_tricks.sliding_window_view(image, filters.shape[2:], axis=(2, 3))
        windows = windows[:, :, :: self.stride, :: self.stride]
        groups = zip(np.split(windows, self.groups, 1), np.split(filters, self.groups, 0), strict=True)
        found = [np.einsum("nchwij,ocij->nohw", image, part) for image, part in groups]
        return np.concatenate(found, 1).astype(np.int32)


def requantized(sums: np.ndarray, factor: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """QLinearMatMul and QLinearConv, from their sums on."""
    limits = np.iinfo(zero.dtype)
    value = np.rint(sums.astype(np.float32) * factor) + zero.astype(np.float32)
    return np.clip(value, limits.min, limits.max).astype(zero.dtype)


# --- whole models

SCALE, OTHER_SCALE = np.array(0.02, np.float32), np.array(19.0, np.float32)
WEIGHTS = {
    "s": SCALE, "u": OTHER_SCALE, "t": (RANDOM.random(24) * 0.01 + 1e-3).astype(np.float32),
    "w": bytes_of("int8", 24, 20, 3, 3), "wz": bytes_of("int8", 24), "xz": np.array(131, np.uint8), "yz": np.array(100, np.uint8),
    "bias": RANDOM.integers(-9999, 9999, 24).astype(np.int32), "v": bytes_of("uint8", 72, 75), "vz": np.array(255, np.uint8),
    "az": bytes_of("int8", 70), "ez": np.array(-3, np.int8),
}  # fmt: skip
X, A = bytes_of("uint8", 2, 20, 11, 9), bytes_of("int8", 70, 72)
MODELS: Mapping[str, tuple[str, Sequence[np.ndarray]]] = {
    "convolution": (
        "(uint8[2,20,11,9] x) => (uint8[2,24,6,5] y) {"
        "y = QLinearConv<pads=[1,1,1,1],strides=[2,2]>(x, s, xz, w, t, wz, u, yz, bias) }",
        [
            requantized(
                Convolution(pad=1, stride=2)(X, WEIGHTS["w"], WEIGHTS["xz"], WEIGHTS["wz"])
                + WEIGHTS["bias"][:, None, None],
                (SCALE * WEIGHTS["t"] / OTHER_SCALE)[:, None, None],
                WEIGHTS["yz"],
            ),
        ],
    ),
    "products": (
        "(int8[70,72] a) => (int32[70,75] c, int8[70,75] d) {"
        "c = MatMulInteger(a, v, az)"
        "d = QLinearMatMul(a, s, ez, v, s, vz, u, ez) }",
        [
            product(A, WEIGHTS["v"], WEIGHTS["az"]),
            requantized(product(A, WEIGHTS["v"], WEIGHTS["ez"], WEIGHTS["vz"]), SCALE * SCALE / OTHER_SCALE, WEIGHTS["ez"]),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("tag", "which"),
    [
        ("cuda:sm_75", "products"), ("rocm:gfx942", "convolution"),
    ],
)  # fmt: skip
def test_whole_models(tag: str, which: str) -> None:
    """All by instructions on matrices, as the estimates have it, to the last bit."""
    text, expected = MODELS[which]
    used = {name: array for name, array in WEIGHTS.items() if f"{name}," in text or f"{name})" in text}
    with simulated(target(tag), order="reverse", checks=False) as (onto, simulation):
        model = compile_model(TextModel(text, used).proto(), target=onto).model
        assert {choice.kernel for choice in model.choices} == {"gpu.matrix"}
        found = model.load(1).run({"a": A} if which == "products" else {"x": X})
        counted = [counters.matrix_macs for counters in simulation.counters().values()]
    for array, wanted in zip(found.values(), expected, strict=True):
        assert array.dtype == wanted.dtype
        np.testing.assert_array_equal(array, wanted)
    assert all(count > 0 for count in counted)


# --- regions, every access to memory watched


@dataclass(frozen=True)
class Case:
    """A region of factors and zero points, and its sums."""

    region: Region
    sums: Callable[..., np.ndarray] = product

    def arrays(self) -> list[np.ndarray]:
        return [bytes_of(str(array.dtype), *array.shape) for array in self.region.arrays()]


PACKED = Case(
    Region("(uint8[1,32,7,6] x, int8[32,32,3,3] w, uint8 z, int8[32] q) => (int32[1,32,7,6] y) { y = ConvInteger<pads=[1,1,1,1]>(x, w, z, q) }", block=16),
    Convolution(pad=1),
)  # fmt: skip
STRIDED = Case(
    Region("(int8[2,16,7,5] x, uint8[16,16,3,3] w) => (int32[2,16,3,2] y) { y = ConvInteger<strides=[2,2]>(x, w) }", block=16),
    Convolution(stride=2),
)  # fmt: skip
GROUPS = Case(
    Region("(uint8[1,12,6,7] x, uint8[10,6,2,2] w, uint8 z, uint8[10] q) => (int32[1,10,7,8] y) { y = ConvInteger<group=2,pads=[1,1,1,1]>(x, w, z, q) }"),
    Convolution(pad=1, groups=2),
)  # fmt: skip
FREE = Case(
    Region("(uint8[n,24] x, uint8[24,k] w, uint8[n] z) => (int32[n,k] y) { y = MatMulInteger(x, w, z) }", {"n": 21, "k": 9})
)  # fmt: skip
BATCHES = Case(
    Region("(int8[3,1,17,40] x, uint8[2,40,18] w, int8 z, uint8[18] q) => (int32[3,2,17,18] y) { y = MatMulInteger(x, w, z, q) }")
)  # fmt: skip
TINY = Case(Region("(uint8[2,3] x, int8[3,2] w, uint8 z) => (int32[2,2] y) { y = MatMulInteger(x, w, z) }"))


@pytest.mark.parametrize(
    ("arch", "cases"),
    [
        ("sm_80", [PACKED]),
        ("gfx906", [TINY]),
        ("gfx942", [BATCHES]),
        ("gfx1030", [GROUPS]),
        ("gfx1100", [FREE]),
        ("gfx1200", [STRIDED]),
    ],
)
def test_regions(arch: str, cases: Sequence[Case]) -> None:
    """Factors by vectors and by elements, zero points of all kinds, zeros among them, sizes of all kinds."""
    onto = simulated_rocm if arch.startswith("gfx") else simulated_cuda
    with onto(arch, order="reverse") as simulation:
        spaces = [matched(case.region, arch) for case in cases]
        functions = {f"k{i}": space.build(*in_turn(space)).func for i, space in enumerate(spaces)}
        code, on = library(functions, backend(simulation)), device(simulation)
        for name, case in zip(functions, cases, strict=True):
            factors, zeros = case.arrays()[:2], case.arrays()[2:]
            for given in (zeros, [np.zeros_like(zero) for zero in zeros]):
                arrays = [*factors, *given]
                expected = case.region.pack(case.sums(*arrays), "outputs")
                inputs = [tvm.runtime.tensor(case.region.pack(array, "inputs"), on) for array in arrays]
                output = tvm.runtime.tensor(np.full_like(expected, 77), on)
                code[name](*inputs, output)
                np.testing.assert_array_equal(output.numpy(), expected, err_msg=case.region.text)
        assert not simulation.faults()


def matched(region: Region, arch: str) -> MatrixSpace:
    found = ContractMatrices().match(region.workload(), machine(arch))
    assert isinstance(found, MatrixSpace), found
    return found


def test_packed_images_are_loaded_by_chunks_of_sixteen_channels() -> None:
    for arch in ("sm_80", "gfx942", "gfx1100"):
        image = matched(PACKED.region, arch).sides[0]
        assert (image.chunk, image.together_in_depth) == (16, 16)
        assert image.is_shifted == (arch == "gfx942")  # MFMA has signed bytes only


def test_what_is_no_product_of_bytes_is_refused() -> None:
    computed = (
        "(uint8[16,16] x, uint8 z, uint8[16,16] w) => (int32[16,16] y) { d = Clip(x, z) y = MatMulInteger(d, w) }"
    )
    wide = "(int32[16,16] x, int32[16,16] w) => (int32[16,16] y) { y = MatMul(x, w) }"
    for text in (computed, wide):
        found = ContractMatrices().match(Region(text).workload(), machine())
        assert isinstance(found, Refusal)
        assert found.reason == "a factor that is not bytes in memory less a zero point for each row or column"
    without = replace(machine("gfx1030"), instructions=())
    found = ContractMatrices().match(TINY.region.workload(), without)
    assert isinstance(found, Refusal)
    assert found.reason == "no instruction on several bytes"


# --- what compilers make of them

PRODUCT = Region("(uint8[257,300] x, int8[190,300] w, uint8 z, int8[190] q) => (int32[257,190] y) { t = Transpose<perm=[1,0]>(w) y = MatMulInteger(x, t, z, q) }")  # fmt: skip


def test_tensor_cores_multiply_bytes_and_all_is_in_registers() -> None:
    arch = "sm_80"
    space = matched(PRODUCT, arch)
    functions = {"k": space.build(min(space.points(), key=space.estimate)).func.with_attr("global_symbol", "k")}
    sources: list[str] = []
    made = CudaBackend(machine(arch), assemble=lambda source, _: sources.append(source) or b"")  # type: ignore[func-returns-value]
    made.generate(made.lower(tvm.IRModule(functions)))
    (counted,) = instructions(assemble(sources[0], arch).image).values()
    assert counted["IMMA"] > 0
    assert counted["IMAD"] < 500  # addresses: 257 * 190 * 300 products are elsewhere
    assert count(counted, LOCAL) == 0


@pytest.mark.parametrize(
    ("arch", "mnemonic", "which"),
    [
        ("gfx906", "v_dot4_i32_i8", -1), ("gfx1030", "v_dot4c_i32_i8", -1), ("gfx90a", "v_mfma_i32_", -1),
        ("gfx942", "v_mfma_i32_", 0), ("gfx1100", "v_wmma_i32_", 0), ("gfx1200", "v_wmma_i32_", -1),
    ],
)  # fmt: skip
def test_matrix_cores_multiply_bytes_and_all_is_in_registers(arch: str, mnemonic: str, which: int) -> None:
    """The largest tile, with the most sums, or the smallest."""
    space = matched(PRODUCT, arch)
    found = of_implementations(arch, [space.build(space.points()[which])])
    (used,) = found.used
    assert (used.vector_spills, used.private_bytes) == (0, 0), used
    assert mnemonic in found.assembly
