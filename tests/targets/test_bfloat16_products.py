"""Matrix products by instructions on bfloat16: what is multiplied, the inner loops, and numbers."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from dsc.exchange import import_model
from dsc.ir import FusionOp
from dsc.lower.workload import Workload
from dsc.passes import Pipeline
from dsc.pipeline import compile_model, preset
from dsc.targets import Implementation, Refusal, target
from dsc.targets.cpu.gemm import Gemm
from dsc.targets.cpu.gemm.panels import Panels
from dsc.targets.cpu.gemm.space import GemmSpace
from dsc.targets.kernel import ArrayType
from tests.bundle.arm import launcher
from tests.bundle.bundles import bundle, tool
from tests.compiled import TextModel
from tests.kernels import compiled_library
from tests.targets.assembly import ARM, X86, Syntax

BF16 = np.dtype(ml_dtypes.bfloat16)
RANDOM = np.random.default_rng(41)


def product(m: int, k: int, n: int, precision: str = "bfloat16") -> Workload:
    """``relu(x @ w)``, of which `x` is float32 in memory and `w` a weight."""
    text = f"(float[{m},{k}] x) => (float[{m},{n}] y) {{ p = MatMul(x, w) y = Relu(p) }}"
    graph = import_model(TextModel(text, {"w": RANDOM.standard_normal((k, n)).astype(np.float32)}).proto())
    Pipeline.parse(f"fuse,precision{{type={precision}}}").run(graph)
    return Workload.of(next(op for op in graph.ops() if isinstance(op, FusionOp)))


def space(workload: Workload, tag: str) -> GemmSpace:
    found = Gemm().match(workload, target(tag).machine)
    assert not isinstance(found, Refusal), found
    return found


@pytest.mark.parametrize(
    ("tag", "syntax", "instruction"), [("x86:znver4", X86, "vdpbf16ps"), ("arm:neoverse-v1", ARM, "bfmmla")]
)
def test_the_inner_loop_multiplies_pairs(tag: str, syntax: Syntax, instruction: str) -> None:
    """As many as the tile has vectors of sums, with nothing on the stack: rounding is done before."""
    found = space(product(64, 96, 128), tag)
    best = min(found.points(), key=found.estimate)
    made: Implementation = found.build(best)
    backend = target(tag).backend()
    loops = syntax.innermost_loops(backend.assembly(compiled_library({"product": made.func}, backend)), instruction)
    counted = max(syntax.count(loop, instruction) for loop in loops)
    assert counted >= best.rows * best.vectors
    assert not [line for loop in loops for line in (*syntax.on_stack(loop), *syntax.calls(loop))]


def test_factors_are_rounded_where_that_is_allowed_and_the_machine_multiplies_them() -> None:
    assert space(product(5, 6, 7), "x86:znver4").source.operands == ("bfloat16", "bfloat16", "float32")
    for precision, tag in (("bfloat16", "x86:znver3"), ("float16", "x86:znver4"), ("tfloat32", "x86:znver4")):
        assert space(product(5, 6, 7, precision), tag).source.operands == ("float32",) * 3


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", [BF16, np.dtype(np.float32)])
def test_weights_are_packed_as_bits_in_pairs(transposed: bool, dtype: np.dtype) -> None:
    """Odd depths end in a 0, ragged columns are zeros; float32 is rounded to the nearest."""
    weight = RANDOM.standard_normal((7, 5)).astype(dtype)
    packing, given = Panels(4, 2, "bfloat16", transposed), weight.T if transposed else weight
    (panels,) = packing.apply(given)
    assert packing.arrays(ArrayType(given.shape, dtype.name)) == (ArrayType(panels.shape, "uint16"),)
    padded = np.zeros((8, 8), BF16)
    padded[:7, :5] = weight.astype(BF16)
    for panel, step, column, neighbour in np.ndindex(2, 4, 4, 2):
        wanted = padded[2 * step + neighbour, 4 * panel + column]
        assert panels[panel, step, 2 * column + neighbour] == wanted.view(np.uint16)


NUMBERS = """(float[n,33] x, float[2,5,18] q, float[2,18,11] k, float[3,34] a) =>
    (float[n,70] y, float[2,5,11] s, float[3,9] t, float[n,21] z) {
    h = MatMul(x, w)  g = Add(h, bias)  y = Relu(g)  i = MatMul(y, v)  z = Tanh(i)
    s = MatMul(q, k)
    t = Gemm<transB=1>(a, u)
}"""


def test_numbers_under_emulation(tmp_path: Path) -> None:
    """By bfmmla: float32 inputs rounded by the kernel, a product of products in bfloat16, computed factors, transposed
    weights, odd depths; infinities and NaN stay what they are."""
    tool("aarch64-linux-gnu-g++")
    shapes = {"w": (33, 70), "v": (70, 21), "u": (9, 34), "bias": (70,)}
    weights = {name: RANDOM.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    shapes = {"x": (7, 33), "q": (2, 5, 18), "k": (2, 18, 11), "a": (3, 34)}
    feeds = {name: RANDOM.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    feeds["x"][0, 3], feeds["q"][1, 2, 4] = np.inf, np.nan
    onto = target("arm:neoverse-v1")
    compilation = compile_model(TextModel(NUMBERS, weights).proto(), target=onto, precision="bf16")
    assert {choice.kernel for choice in compilation.model.choices if choice.kind == "matmul"} == {"cpu.gemm"}
    compilation.model.write(tmp_path / "products.dsc")
    found = bundle(tmp_path / "products.dsc", tmp_path / "products", launcher(onto.backend())).run(feeds, tmp_path)

    def rounded(array: np.ndarray) -> np.ndarray:
        return array.astype(BF16).astype(np.float64)

    with np.errstate(invalid="ignore"):
        y = np.maximum(rounded(feeds["x"]) @ rounded(weights["w"]) + weights["bias"], 0)
        expected = (
            y, rounded(feeds["q"]) @ rounded(feeds["k"]), rounded(feeds["a"]) @ rounded(weights["u"]).T,
            np.tanh(rounded(y) @ rounded(weights["v"])),
        )  # fmt: skip
    # sums of products that are exact, of float32 in another order; y may round to the neighbour before it is multiplied
    for array, wanted, tolerance in zip(found, expected, (1e-5, 1e-5, 1e-5, 2e-2), strict=True):
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("tag", "precision", "activations"),
    [
        ("x86:znver4", "bf16", "packed"), ("arm:neoverse-v1", "bf16", "packed"), ("x86:znver3", "bf16", "none"),
        ("x86:znver4", "fp16", "none"), ("cuda:sm_80", "bf16", ""), ("cuda:sm_75", "bf16", ""),
    ],
)  # fmt: skip
def test_what_is_stored_in_half_precision(tag: str, precision: str, activations: str) -> None:
    passes = str(preset(2, target(tag), precision))
    assert f'activations="{activations}"' in passes if activations else "activations" not in passes
