"""MatMulNBits and GatherBlockQuantized, against ONNX Runtime's own kernels."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from dsc.errors import UnsupportedModelError
from dsc.exchange import export_model, import_model
from dsc.pipeline import compile_model
from tests.exchange.models import assert_close, model, node, run, value

RANDOM = np.random.default_rng(3)


def product(
    n: int, k: int, block: int, bits: int, zeros: bool = False, bias: bool = False, dtype: Any = np.float32,
    **changed: Any,
) -> onnx.ModelProto:  # fmt: skip
    """y = MatMulNBits(x, b, s, z, , c)"""
    blocks = -(-k // block)
    weights = {
        "b": RANDOM.integers(0, 256, (n, blocks, block * bits // 8), np.uint8),
        "s": RANDOM.uniform(0.01, 0.1, n * blocks).astype(dtype),
    }
    if zeros:
        weights["z"] = RANDOM.integers(0, 256, n * -(-blocks * bits // 8), np.uint8)
    if bias:
        weights["c"] = RANDOM.standard_normal(n).astype(dtype)
    weights |= changed.pop("weights", {})
    names = ["x", "b", "s", "z" if "z" in weights else "", "g" if "g" in weights else "", "c" if bias else ""]
    while not names[-1]:
        names.pop()
    attributes = {"K": k, "N": n, "bits": bits, "block_size": block} | changed
    op = node("MatMulNBits", names, ["y"], domain="com.microsoft", name="packed", **attributes)
    inputs, outputs = [value("x", ["m", k], dtype)], [value("y", ["m", n], dtype)]
    made = model([op], inputs, outputs, weights, opset=21, domains=["com.microsoft"])
    made.ir_version = 10
    return made


def product_of_floats(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without the permission to round what is multiplied, which ONNX Runtime makes use of."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    (op,) = made.graph.node
    kept = [attribute for attribute in op.attribute if attribute.name != "accuracy_level"]
    del op.attribute[:]
    op.attribute.extend(kept)
    return made


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"n": 9, "k": 64, "block": 16, "bits": 4}, "int4"),
        ({"n": 9, "k": 100, "block": 32, "bits": 4, "zeros": True, "bias": True, "accuracy_level": 4}, "uint4"),
        ({"n": 5, "k": 70, "block": 64, "bits": 8, "bias": True}, "int8"),
        ({"n": 5, "k": 70, "block": 16, "bits": 8, "zeros": True}, "uint8"),
        ({"n": 6, "k": 20, "block": 16, "bits": 2, "zeros": True}, "uint2"),
    ],
    ids=lambda case: "-".join(map(str, case.values())) if isinstance(case, dict) else "",
)
def test_products(case: dict[str, Any], expected: str) -> None:
    """Compiled, with the weight in integers of its width all the way; a weight of 4 levels as ONNX Runtime has it."""
    proto = product(**case)
    x = RANDOM.standard_normal((3, case["k"]), np.float32)
    wanted = run(product_of_floats(proto), {"x": x})[0]
    compilation = compile_model(proto, shapes={"x": [3, case["k"]]})
    integers = {array.dtype.name for op in compilation.graph.ops() if (array := _constant(compilation, op)) is not None}
    assert expected in integers
    assert_close(compilation.model.load(1).run({"x": x})["y"], wanted, 1e-4)


def _constant(compilation: Any, op: Any) -> np.ndarray | None:
    return compilation.graph.constant(op.results[0]) if op.results else None


def test_halves() -> None:
    """Scales and factors of float16: computed in float32 here, so not rounded on the way."""
    proto = product(7, 64, 32, 4, zeros=True, bias=True, dtype=np.float16)
    x = RANDOM.standard_normal((3, 64)).astype(np.float16)
    compilation = compile_model(proto)
    assert [choice.kernel for choice in compilation.model.choices if choice.kernel == "cpu.weight_only"]
    found = compilation.model.load(1).run({"x": x})["y"]
    # 2^-10 of what is added up, which is some 20
    np.testing.assert_allclose(
        found.astype(np.float32), run(proto, {"x": x})[0].astype(np.float32), rtol=2e-3, atol=2e-2
    )


def test_what_is_written_is_read_by_onnxruntime() -> None:
    proto = product(9, 100, 32, 4, zeros=True, bias=True)
    x = RANDOM.standard_normal((3, 100), np.float32)
    exported = export_model(import_model(proto))
    assert not any(each.domain == "com.microsoft" for each in exported.graph.node)
    assert_close(run(exported, {"x": x}), run(proto, {"x": x}), 1e-4)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"block": 24}, "MatMulNBits ('packed'): blocks of 24 are not supported: powers of two from 16 on are"),
        ({"bits": 3}, "MatMulNBits ('packed'): weights of 3 bits are not supported: those of 2, 4 and 8 are"),
        ({"N": 0}, "MatMulNBits ('packed'): its N is 0, and must be positive"),
        (
            {"weights": {"g": np.zeros(64, np.int32)}},
            "MatMulNBits ('packed'): weights whose groups are in another order (g_idx) are not supported",
        ),
        ({"weights": {"z": np.zeros(8, np.float32)}}, "MatMulNBits ('packed'): zero points that are no bytes"),
    ],
)
def test_refusals(case: dict[str, Any], message: str) -> None:
    proto = product(**({"n": 4, "k": 64, "block": 32, "bits": 4} | case))
    with pytest.raises(UnsupportedModelError) as refused:
        import_model(proto)
    assert message in str(refused.value)


def table(data: np.ndarray, zeros: np.ndarray | None, groups: int, **attributes: int) -> onnx.ModelProto:
    """y = GatherBlockQuantized(q, i, s, z)"""
    weights = {"q": data, "s": RANDOM.uniform(0.1, 1, (len(data), groups)).astype(np.float32)}
    if zeros is not None:
        weights["z"] = zeros
    names = ["q", "i", "s", *(["z"] if zeros is not None else [])]
    op = node("GatherBlockQuantized", names, ["y"], domain="com.microsoft", name="rows", block_size=16, **attributes)
    made = model(
        [op], [value("i", ["b", "t"], np.int64)], [value("y", None)], weights, opset=21, domains=["com.microsoft"]
    )
    made.ir_version = 10
    return made


@pytest.mark.parametrize("kind", ["int4", "uint4", "bytes"])
def test_rows(kind: str) -> None:
    if kind == "bytes":
        data, zeros = (RANDOM.integers(0, 256, shape, np.uint8) for shape in ((11, 16), (11, 1)))
    else:
        dtype, low = np.dtype(getattr(ml_dtypes, kind)), -8 if kind == "int4" else 0
        data, zeros = (RANDOM.integers(low, low + 16, shape).astype(dtype) for shape in ((11, 32), (11, 2)))
    proto = table(data, zeros, 2, quantize_axis=1, **({"bits": 4} if kind == "bytes" else {}))
    feeds = {"i": RANDOM.integers(0, 11, (2, 3))}
    found = run(export_model(import_model(proto)), feeds)
    np.testing.assert_array_equal(found[0], run(proto, feeds)[0])


def test_tables_that_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="a table of bytes without zero points"):
        import_model(table(RANDOM.integers(0, 256, (11, 32), np.uint8), None, 2, bits=8))
