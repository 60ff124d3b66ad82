"""Convolutions of bfloat16, on CPUs that multiply it: what they read and write, their inner loops, and numbers.

Numbers are whole and so small that bfloat16 has all of them: then nothing is ever rounded, and results are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tvm
from tvm.tirx.script.builder import ir as T

from dsc.codegen.selection import Choice
from dsc.lower.rounding import rounded
from dsc.pipeline import Compilation, compile_model
from dsc.targets import target
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.conv.direct import PackWeights
from dsc.targets.kernel import ArrayType
from dsc.targets.tir.loops import argument, function
from tests.bundle.arm import launcher
from tests.bundle.bundles import bundle, tool
from tests.compiled import TextModel
from tests.kernels import compiled_library, machine
from tests.targets.assembly import ARM, X86, Syntax

RANDOM = np.random.default_rng(53)
EMULATED = "arm:neoverse-v1"

CHAINS = {
    "pointwise": """(float[1,32,7,9] x) => (float[1,40,7,9] y) {
        a = Conv(x, w32_32_1_1)  b = Relu(a)  c = Conv(b, w16_32_1_1)  y = Conv(c, w40_16_1_1)
    }""",
    "residual": """(float[2,16,6,5] x) => (float[2,16,6,5] y) {
        a = Conv<pads=[1,1,1,1]>(x, w16_16_3_3)  b = Conv(a, w16_16_1_1)  c = Add(b, a)  y = Relu(c)
    }""",
    "stem, strides, dilations": """(float[1,3,17,19] x) => (float[1,24,3,4] y) {
        a = Conv<pads=[1,1,0,0],strides=[2,2]>(x, w16_3_3_3)
        y = Conv<pads=[0,1,1,0],strides=[2,2],dilations=[2,2]>(a, w24_16_3_2)
    }""",
    "depthwise": """(float[1,16,9,8] x) => (float[1,16,5,4] y) {
        a = Conv(x, w32_16_1_1)  b = Conv<group=32,pads=[1,1,1,1],strides=[2,2]>(a, w32_1_3_3)  c = Clip(b, low, high)
        y = Conv(c, w16_32_1_1)
    }""",
    "grouped, of even and of odd channels": """(float[1,16,6,6] x) => (float[1,24,6,6] y) {
        a = Conv(x, w48_16_1_1)  b = Conv<group=3,pads=[1,1,1,1]>(a, w48_16_3_3)
        c = Conv<group=16>(b, w16_3_1_1)  y = Conv(c, w24_16_1_1)
    }""",
    "odd channels": """(float[1,7,5,6] x) => (float[1,9,5,6] y) {
        a = Conv<pads=[1,1,1,1]>(x, w11_7_3_3)  y = Conv(a, w9_11_1_1)
    }""",
    "one channel": """(float[2,1,9,11] x) => (float[2,16,9,11] y) {
        a = Conv<pads=[1,3,1,3]>(x, w16_1_3_7)  y = Conv(a, w16_16_1_1)
    }""",
    "one pixel": """(float[2,64,1,1] x) => (float[2,32,1,1] y) { a = Conv(x, w48_64_1_1)  y = Conv(a, w32_48_1_1) }""",
    "one pixel of odd channels": """(float[n,7,1,1] x) => (float[n,16,1,1] y) { y = Conv(x, w16_7_1_1) }""",
    "of any size": """(float[n,16,h,w] x) => (float[n,32,h,w] y) {
        a = Conv<pads=[1,1,1,1]>(x, w32_16_3_3)  b = Conv<group=32,pads=[1,1,1,1]>(a, w32_1_3_3)
        y = Conv(b, w32_32_1_1)
    }""",
    "pools": """(float[1,16,8,8] x) => (float[1,8] y) {
        a = Conv(x, w32_16_1_1)  b = MaxPool<kernel_shape=[2,2],strides=[2,2]>(a)  c = Conv(b, w16_32_1_1)
        d = GlobalMaxPool(c)  e = Flatten(d)  y = MatMul(e, w16_8)
    }""",
}
SIZES = {"n": 2, "h": 5, "w": 11}


def weights_of(text: str) -> dict[str, np.ndarray]:
    """Of the names in a text that say their sizes: few that are not 0, so that sums stay below 256."""
    found: dict[str, np.ndarray] = {"low": np.float32(-9), "high": np.float32(9)} if "low" in text else {}
    for name in {word.strip("(),") for word in text.split() if word.startswith("w") and word[1:2].isdigit()}:
        shape = tuple(map(int, name[1:].rstrip("),").split("_")))
        few = min(1.0, 3 / np.prod(shape[1:]))
        found[name] = ((RANDOM.random(shape) < few) * RANDOM.choice([-1, 1], shape)).astype(np.float32)
    return found


def compiled(name: str, onto: str) -> tuple[Compilation, dict[str, np.ndarray], np.ndarray]:
    """A chain, what it is given, and what ONNX Runtime makes of that."""
    text = TextModel(CHAINS[name], weights_of(CHAINS[name]))
    model = text.proto()
    shape = [dim.dim_value or SIZES[dim.dim_param] for dim in model.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": RANDOM.integers(-3, 4, shape).astype(np.float32)}
    (expected,) = text.reference(feeds)
    assert np.abs(expected).max() < 256
    assert expected.any()
    return compile_model(model, target=onto, precision="bf16"), feeds, expected


def convolutions(compilation: Compilation) -> list[Choice]:
    return [choice for choice in compilation.model.choices if "onnx.Conv" in choice.workload]


@pytest.mark.parametrize("name", CHAINS)
def test_numbers(name: str) -> None:
    """Where the host multiplies bfloat16; `test_numbers_under_emulation` is for all hosts."""
    if not machine().multiply_adds("bfloat16", "bfloat16", "float32"):
        pytest.skip("this processor does not multiply bfloat16")
    compilation, feeds, expected = compiled(name, "x86")
    assert all(not choice.failures and choice.kernel.startswith("cpu.conv2d") for choice in convolutions(compilation))
    (found,) = compilation.model.load(2).run(feeds).values()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "name", ["residual", "depthwise", "grouped, of even and of odd channels", "of any size", "one channel"]
)
def test_numbers_under_emulation(name: str, tmp_path: Path) -> None:
    tool("aarch64-linux-gnu-g++")
    compilation, feeds, expected = compiled(name, EMULATED)
    assert all(not choice.failures and choice.kernel.startswith("cpu.conv2d") for choice in convolutions(compilation))
    compilation.model.write(tmp_path / "chain.dsc")
    made = bundle(tmp_path / "chain.dsc", tmp_path / "chain", launcher(target(EMULATED).backend()))
    (found,) = made.run(feeds, tmp_path)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("tag", "syntax", "instruction"), [("x86:znver4", X86, "vdpbf16ps"), (EMULATED, ARM, "bfdot")])
def test_the_inner_loop_multiplies_pairs(tag: str, syntax: Syntax, instruction: str, tmp_path: Path) -> None:
    """With nothing on the stack; images are of bfloat16 between convolutions."""
    text = """(float[1,64,28,28] x) => (float[1,128,28,28] y) {
        a = Conv(x, w64_64_1_1)  b = Conv<pads=[1,1,1,1],strides=[1,1]>(a, w128_64_3_3)  y = Conv(b, w128_128_1_1)
    }"""
    model = TextModel(text, weights_of(text)).proto()
    dumped = tmp_path / "kernels"
    choices = convolutions(compile_model(model, target=tag, precision="bf16", dump=tmp_path))
    direct = [choice for choice in choices if choice.kernel == "cpu.conv2d.direct"]
    assert len(direct) >= 2
    lanes = machine(tag).lanes()
    assert f"%0: bfloat16[1,{64 // lanes},28,28,{lanes}]" in choices[1].workload
    for choice in direct:
        code = (dumped / f"{choice.function}.s").read_text()
        loops = syntax.innermost_loops(code, instruction)
        assert loops
        assert not [line for loop in loops for line in (*syntax.on_stack(loop), *syntax.calls(loop))]


def test_rounding_is_one_instruction_where_there_is_one(tmp_path: Path) -> None:
    model = TextModel(CHAINS["pointwise"], weights_of(CHAINS["pointwise"])).proto()
    compile_model(model, target="x86:znver4", precision="bf16", dump=tmp_path)
    code = "".join(path.read_text() for path in (tmp_path / "kernels").glob("*conv2d*.s"))
    assert "vcvtneps2bf16" in code


def test_weights_are_rounded_and_packed_in_pairs() -> None:
    weight = RANDOM.standard_normal((5, 4, 1, 1)).astype(np.float32)
    packing = PackWeights(groups=1, panel=4, inner=4, k=2, dtype="bfloat16")
    (panels,) = packing.apply(weight)
    assert packing.arrays(ArrayType(weight.shape, "float32")) == (ArrayType(panels.shape, "uint16"),)
    bits = weight.astype(ml_dtypes.bfloat16).view(np.uint16)
    for channel, depth in np.ndindex(5, 4):
        assert panels[0, channel // 4, 0, 0, 0, depth // 2, channel % 4 * 2 + depth % 2] == bits[channel, depth, 0, 0]
    assert not panels[0, 1, ..., 2:].any(), "the last panel has one channel"


def test_infinity_and_nan_stay_what_they_are() -> None:
    """And a number that rounds beyond the largest becomes infinite."""
    if not machine().multiply_adds("bfloat16", "bfloat16", "float32"):
        pytest.skip("this processor does not multiply bfloat16")
    text = "(float[1,16,1,6] x) => (float[1,16,1,6] y) { a = Conv(x, w)  b = Abs(a)  y = Conv<group=16>(b, v) }"
    weights = {"w": np.eye(16, dtype=np.float32).reshape(16, 16, 1, 1), "v": np.ones((16, 1, 1, 1), np.float32)}
    model = TextModel(text, weights)
    x = np.zeros((1, 16, 1, 6), np.float32)
    x[0, 0, 0] = np.inf, np.nan, -np.inf, 3.4e38, -2.0, 1 + 2**-9
    (found,) = compile_model(model.proto(), precision="bf16").model.load(1).run({"x": x}).values()
    np.testing.assert_array_equal(found[0, 0, 0], np.float32([np.inf, np.nan, np.inf, np.inf, 2, 1]))


@pytest.mark.parametrize("lanes", [1, 3, 4, 8, 16, 32])
def test_every_number_is_rounded_alike(lanes: int) -> None:
    """By instructions and by integers, as by numpy: all exponents, ties, what becomes infinite; normal numbers."""
    if not machine().rounds_bfloat16:
        pytest.skip("this processor does not round to bfloat16")
    bits = RANDOM.integers(0, 2**32, (1 << 12, lanes), np.uint32)
    bits[::3] &= np.uint32(0xFFFF8000)  # ties, and exact ones
    numbers = bits.view(np.float32)
    numbers = np.where(np.abs(numbers) < np.finfo(np.float32).tiny, np.float32(0), numbers)
    with np.errstate(invalid="ignore"):
        expected = numbers.astype(ml_dtypes.bfloat16)
    found = _rounding(lanes)(numbers)
    same = (found.view(ml_dtypes.bfloat16) == expected) | (np.isnan(numbers) & np.isnan(found.view(ml_dtypes.bfloat16)))
    assert same.all()


def _rounding(lanes: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that rounds rows of so many numbers as vectors."""
    with function() as made:
        given = argument("given", (1 << 12, lanes), "float32")
        result = argument("result", (1 << 12, lanes), "uint16")
        with T.serial(1 << 12) as row, (T.vectorized if lanes > 1 else T.serial)(lanes) as lane:
            T.buffer_store(result, rounded(given[row, lane]), [row, lane])
    code = compiled_library({"kernel": made.get()}, CpuBackend(machine()))["kernel"]

    def run(numbers: np.ndarray) -> np.ndarray:
        bits = tvm.runtime.tensor(np.zeros(numbers.shape, np.uint16))
        code(tvm.runtime.tensor(numbers), bits)
        return bits.numpy()

    return run
