"""Weights in half precision of products in float32: read by panels, packed as float32 for convolutions."""

from __future__ import annotations

import re
from collections import Counter

import ml_dtypes
import numpy as np
import pytest

from dsc.exchange import import_model
from dsc.ir import FusionOp, element_of, onnx
from dsc.lower.workload import Workload
from dsc.pipeline import Compilation, compile_model, preset
from dsc.targets import Refusal, target
from dsc.targets.cpu.gemm import Gemm
from dsc.targets.cpu.gemm.space import GemmSpace
from tests.compiled import TextModel
from tests.kernels import compiled_library
from tests.targets.assembly import X86

HALVES = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
V3 = "x86:x86-64-v3"
"""Has no instruction that multiplies either."""
RANDOM = np.random.default_rng(23)

PRODUCTS = """(float[n,33] x, float[1,33] one, float[3,2,18] q, int64[5] token) =>
    (float[n,9] y, float[1,41] single, float[3,2,11] s, float[5,24] looked) {
    h = MatMul(x, w)  g = Add(h, bias)  r = Relu(g)  y = Gemm<transB=1>(r, u)
    single = MatMul(one, w1)
    s = MatMul(q, k)
    t = Gather(table, token)  looked = LayerNormalization<axis=-1>(t, scale)
}"""
CONVOLUTIONS = """(float[2,3,11,13] image) =>
    (float[2,20,11,13] direct, float[2,16,11,13] winograd, float[2,16,6,7] depthwise) {
    a = Conv<pads=[1,1,1,1]>(image, stem)  b = Relu(a)
    c = Conv<pads=[1,1,1,1]>(b, dense)  winograd = Relu(c)
    d = Conv<group=16, pads=[2,2,2,2], strides=[2,2]>(b, deep)  depthwise = Tanh(d)
    e = Conv(b, point)  direct = Relu(e)
}"""
SHAPES = {
    "w": (33, 70), "u": (9, 70), "w1": (33, 41), "k": (3, 18, 11), "table": (50, 24), "bias": (70,), "scale": (24,),
    "stem": (16, 3, 3, 3), "dense": (16, 16, 3, 3), "deep": (16, 1, 5, 5), "point": (20, 16, 1, 1),
}  # fmt: skip
WEIGHTS = {name: (RANDOM.standard_normal(shape) / 3).astype(np.float32) for name, shape in SHAPES.items()}


def model(text: str, dtype: np.dtype | type = np.float32) -> TextModel:
    """With weights of products, and the table, rounded to a type."""
    used = {name: weight for name, weight in WEIGHTS.items() if re.search(rf"\b{name}\b", text.split("{")[1])}
    kept = {"bias", "scale"}
    return TextModel(text, {n: w if n in kept else w.astype(dtype).astype(np.float32) for n, w in used.items()})


def check(compilation: Compilation, text: str, dtype: np.dtype, given: dict[str, np.ndarray]) -> None:
    """Results are those of rounded weights, and of nothing else that is rounded: as near as float32 is."""
    expected, found = model(text, dtype).reference(given), compilation.model.load(1).run(given)
    for (name, value), wanted in zip(found.items(), expected, strict=True):
        # some hundred products in another order, and Winograd's transforms: 2^-24 each
        np.testing.assert_allclose(value, wanted, atol=4e-6 * np.abs(wanted).max(), err_msg=name)


@pytest.fixture(scope="module", params=HALVES)
def compiled(request: pytest.FixtureRequest) -> tuple[str, Compilation]:
    return request.param, compile_model(model(PRODUCTS).proto(), target=V3, precision=request.param)


@pytest.mark.parametrize("rows", [1, 29])
def test_products(compiled: tuple[str, Compilation], rows: int) -> None:
    precision, compilation = compiled
    given = {"x": (rows, 33), "one": (1, 33), "q": (3, 2, 18)}
    arrays = {name: RANDOM.standard_normal(shape, np.float32) for name, shape in given.items()}
    check(compilation, PRODUCTS, HALVES[precision], arrays | {"token": RANDOM.integers(0, 50, 5)})
    assert [choice.kernel for choice in compilation.model.choices if choice.kind == "matmul"] == ["cpu.gemm"] * 4


def test_convolutions() -> None:
    """By the kernels of float32, which find float32 in memory."""
    compilation = compile_model(model(CONVOLUTIONS).proto(), target=V3, precision="bf16")
    check(compilation, CONVOLUTIONS, HALVES["bf16"], {"image": RANDOM.standard_normal((2, 3, 11, 13), np.float32)})
    chosen = [choice.kernel for choice in compilation.model.choices if choice.kind == "conv"]
    assert sorted(chosen) == ["cpu.conv2d.depthwise", *["cpu.conv2d.direct"] * 2, "cpu.conv2d.winograd"]
    assert {weight.dtype for weight in compilation.model.weights} == {"float32"}


def test_what_is_kept_in_half_precision(compiled: tuple[str, Compilation]) -> None:
    """Weights of matrix products, in panels; the table, and what is looked up; no other tensor."""
    precision, compilation = compiled
    half = HALVES[precision].name
    assert 'activations="none"' in str(preset(2, target(V3), precision))
    in_panels = {"float16": "float16", "bfloat16": "uint16"}[half]
    types = Counter(weight.dtype for weight in compilation.model.weights)
    assert types == Counter([*[in_panels] * 4, half, "float32", "float32"])
    made = {op: element_of(op.results[0].type).dtype.name for op in compilation.graph.ops() if op.results}
    computed = {element for op, element in made.items() if isinstance(op, FusionOp)}
    assert computed == {"float32"}
    assert [element for op, element in made.items() if isinstance(op, onnx.Gather)] == [half]


def space(precision: str, m: int | str) -> GemmSpace:
    """Of ``relu(x @ w)``."""
    text = f"(float[{m},96] x) => (float[{m},128] y) {{ p = MatMul(x, w) y = Relu(p) }}"
    graph = import_model(TextModel(text, {"w": RANDOM.standard_normal((96, 128)).astype(np.float32)}).proto())
    preset(2, target(V3), precision).run(graph)
    found = Gemm().match(Workload.of(next(op for op in graph.ops() if isinstance(op, FusionOp))), target(V3).machine)
    assert not isinstance(found, Refusal), found
    return found


@pytest.mark.parametrize(("precision", "conversion"), [("fp16", "cvtph2ps"), ("bf16", "pslld")])
@pytest.mark.parametrize("m", [1, 64, "n"])
def test_the_inner_loop(precision: str, conversion: str, m: int | str) -> None:
    """It multiplies vectors and calls nothing; it converts the weights of the only tile of a task, in registers, and
    none where many tiles share a panel that was made float32 before."""
    found = space(precision, m)
    best = min(found.points(), key=found.estimate)
    assert m == 1 or best.block > 1 or not best.by_rows
    backend = target(V3).backend()
    assembly = backend.assembly(compiled_library({"product": found.build(best).func}, backend))
    loops = [loop for loop in X86.innermost_loops(assembly, "vfmadd231ps") if X86.widths(loop) >= {256}]
    assert loops
    for loop in loops:
        assert not X86.calls(loop)
        assert not X86.on_stack(loop)
        assert X86.count(loop, "vfmadd231ps") >= best.rows * best.vectors
        assert (X86.count(loop, conversion) > 0) == (m == 1)
    assert X86.count([line.strip() for line in assembly.splitlines() if line[:1] == "\t"], conversion) > 0
