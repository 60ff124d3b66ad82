"""Exporting stages of the pipeline: fusions as functions, layouts as nodes, opsets, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from xdsl.ir import Block, Region

from dsc.elements import ELEMENT_TYPES
from dsc.errors import DscError, UsageError
from dsc.exchange import (
    EvaluationError,
    definition,
    evaluate,
    export_model,
    has_definition,
    import_model,
    save,
    save_model,
)
from dsc.ir import FusionOp, Graph, PackOp, UnpackOp, YieldOp, element_of_dtype, tensor
from dsc.ir import onnx as ops
from tests.exchange.models import assert_close, model, node, run, value

RNG = np.random.default_rng(0)


def _fusion(graph: Graph, x: object, kind: str = "relu_add") -> FusionOp:
    """y = relu(x) + x, as a fusion."""
    block = Block(arg_types=[x.type])  # type: ignore[attr-defined]
    relu = ops.Relu.make(block.args[0])
    add = ops.Add.make(relu.out, block.args[0])
    block.add_ops([relu, add, YieldOp(add.out)])
    fusion = FusionOp(kind, [x], [add.out.type], Region(block))  # type: ignore[list-item]
    graph.body.add_op(fusion)
    return fusion


def test_fusions_are_functions_and_equal_ones_share_one() -> None:
    graph = Graph.build([("x", tensor("float32", (2, 3)))])
    first = _fusion(graph, graph.inputs[0])
    second = _fusion(graph, first.outputs[0])
    graph.set_outputs([("y", second.outputs[0])])
    graph.verify()
    exported = export_model(graph)
    onnx.checker.check_model(exported)
    assert [(n.domain, n.op_type) for n in exported.graph.node] == [("dsc", "relu_add_0")] * 2
    assert [n.op_type for n in exported.functions[0].node] == ["Relu", "Add"]
    x = RNG.standard_normal((2, 3), np.float32)
    once = np.maximum(x, 0) + x
    assert_close(run(exported, {"x": x}), [np.maximum(once, 0) + once])


def test_fusions_come_back_inlined() -> None:
    graph = Graph.build([("x", tensor("float32", (2, 3)))])
    graph.set_outputs([("y", _fusion(graph, graph.inputs[0]).outputs[0])])
    back = import_model(export_model(graph))
    assert [op.name for op in back.ops()] == ["onnx.Relu", "onnx.Add"]


@pytest.mark.parametrize("dims", [(2, 8, 3, 5), ("n", 8, 3, 5), ("n", 8, "h", 5), ("n", 8, "h", "w"), (1, 16)])
def test_pack_and_unpack(dims: tuple[int | str, ...]) -> None:
    shape = [d if isinstance(d, int) else -1 for d in dims]
    type_ = tensor("float32", shape, [d if isinstance(d, str) else "" for d in dims])
    graph = Graph.build([("x", type_)])
    pack = PackOp(graph.inputs[0], 4)
    unpack = UnpackOp(pack.out, 4)
    graph.body.add_ops([pack, unpack])
    graph.set_outputs([("packed", pack.out), ("plain", unpack.out)])
    graph.verify()
    exported = export_model(graph)
    onnx.checker.check_model(exported)
    x = RNG.standard_normal([d if d > 0 else i + 2 for i, d in enumerate(shape)], np.float32)
    packed, plain = run(exported, {"x": x})
    expected = np.moveaxis(x.reshape(x.shape[0], -1, 4, *x.shape[2:]), 2, -1)
    np.testing.assert_array_equal(packed, expected)
    np.testing.assert_array_equal(plain, x)


def test_outputs_that_are_inputs_constants_or_given_twice() -> None:
    graph = Graph.build([("x", tensor("float32", (2,)))])
    constant = graph.make_constant(np.float32([1, 2]))
    relu = ops.Relu.make(graph.inputs[0])
    graph.body.add_ops([constant, relu])
    outputs = [("a", graph.inputs[0]), ("b", relu.out), ("c", relu.out), ("d", constant.results[0])]
    graph.set_outputs(outputs)
    exported = export_model(graph)
    onnx.checker.check_model(exported)
    x = np.float32([-1, 3])
    found = dict(zip(graph.output_names, run(exported, {"x": x}), strict=True))
    assert_close(list(found.values()), [x, np.maximum(x, 0), np.maximum(x, 0), np.float32([1, 2])])


def test_the_opset_is_the_oldest_that_means_the_same() -> None:
    def opset(make: object, dtype: str = "float32") -> int:
        graph = Graph.build([("x", tensor(dtype, (2, 3)))])
        op = make(graph.inputs[0])  # type: ignore[operator]
        graph.body.add_op(op)
        graph.set_outputs([("y", op.out)])
        version: int = export_model(graph).opset_import[0].version
        return version

    assert opset(lambda x: ops.Relu.make(x)) == 18
    assert opset(lambda x: ops.Gelu.make(x)) == 20
    assert opset(lambda x: ops.Identity.make(x), "float8_e4m3fn") == 19
    assert opset(lambda x: ops.Swish.make(x)) == 24
    assert opset(lambda x: ops.Cast.make(x, to=1)) == 18
    assert opset(lambda x: ops.Cast.make(x, to=1, round_mode="up")) == 24


def test_ops_without_an_onnx_form() -> None:
    from xdsl.dialects.test import TestOp

    graph = Graph.build([("x", tensor("float32", (2,)))])
    op = TestOp(operands=[graph.inputs[0]], result_types=[graph.inputs[0].type])
    graph.body.add_op(op)
    graph.set_outputs([("y", op.results[0])])
    with pytest.raises(DscError, match=r"no ONNX form of this operation\n  at .*test\.op"):
        export_model(graph)


def _weighty(count: int = 3) -> Graph:
    graph = Graph.build([("x", tensor("float32", (1, 20)))])
    value = graph.inputs[0]
    for i in range(count):
        weight = graph.make_constant(RNG.standard_normal((20, 20), np.float32), f"w{i}")
        product = ops.MatMul.make(value, weight.results[0])
        graph.body.add_ops([weight, product])
        value = product.out
    graph.set_outputs([("y", value)])
    return graph


def test_save(tmp_path: Path) -> None:
    graph, path = _weighty(), tmp_path / "model.onnx"
    save_model(graph, path)
    x = RNG.standard_normal((1, 20), np.float32)
    assert_close(run(str(path), {"x": x}), run(export_model(graph), {"x": x}))
    assert list(tmp_path.iterdir()) == [path]
    assert [t.name for t in onnx.load(path).graph.initializer] == ["w0", "w1", "w2"]


def test_big_weights_go_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "MAX_INSIDE", 1000)
    graph, path = _weighty(), tmp_path / "model.onnx"
    save_model(graph, path)
    assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert path.stat().st_size < 2000
    x = RNG.standard_normal((1, 20), np.float32)
    expected = run(export_model(graph), {"x": x})
    assert_close(run(str(path), {"x": x}), expected)
    again = import_model(path)
    save_model(again, path)  # over the file whose weights are mapped
    assert_close(run(str(path), {"x": x}), expected)


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what was there")
    graph = _weighty()
    graph.weights.put("broken", np.float32, (100,), lambda: np.ones(7, np.float32))
    op = graph.weight_op("broken")
    graph.body.insert_op_before(op, graph.body.first_op)  # type: ignore[arg-type]
    with pytest.raises(DscError, match="weight broken"):
        save_model(graph, path)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*no/model\.onnx: No such file or directory"):
        save_model(_weighty(), tmp_path / "no" / "model.onnx")
    with pytest.raises(UsageError, match=r"cannot write .*: it is a directory"):
        save_model(_weighty(), tmp_path)


def test_evaluate() -> None:
    graph = Graph.build([("x", tensor("float32", (2, 3))), ("w", tensor("float32", (3, 4)))])
    op = ops.MatMul.make(*graph.inputs)
    arrays = [RNG.standard_normal(s, np.float32) for s in ((2, 3), (3, 4))]
    (found,) = evaluate(op, dict(zip(graph.inputs, arrays, strict=True)))
    assert_close(found, arrays[0] @ arrays[1])
    with pytest.raises(EvaluationError, match=r"onnx\.MatMul cannot be evaluated"):
        evaluate(op, dict(zip(graph.inputs, [a.astype(np.int8) for a in arrays], strict=True)))


def test_definitions_of_functions() -> None:
    graph = Graph.build([("x", tensor("float32", (2, 3)))])
    celu = ops.Celu.make(graph.inputs[0], alpha=0.5)
    assert has_definition(ops.Celu)
    assert not has_definition(ops.Conv)
    inner = definition(celu, {})
    assert "onnx.Celu" not in {op.name for op in inner.ops()}
    x = RNG.standard_normal((2, 3), np.float32)
    assert_close(run(export_model(inner), {"x0": x}), [np.maximum(x, 0) + np.minimum(0, 0.5 * np.expm1(x / 0.5))])


def test_definition_of_a_function_with_an_absent_operand_in_the_middle() -> None:
    """Without a bias, but with the last samples of the call before; onnx's own inliner stops here."""
    shapes = {"x": (1, 2, 3), "w": (2, 1, 3), "past": (1, 2, 2)}
    graph = Graph.build([(n, tensor("float32", s)) for n, s in shapes.items()])
    x, w, past = graph.inputs
    inner = definition(ops.CausalConvWithState.make(x, w, None, past), {})
    arrays = [RNG.standard_normal(s, np.float32) for s in shapes.values()]
    padded = np.concatenate([arrays[2], arrays[0]], axis=2)
    expected = np.stack([(padded[..., i : i + 3] * arrays[1][:, 0]).sum(-1) for i in range(3)], axis=-1)
    found = run(export_model(inner), dict(zip(inner.input_names, arrays, strict=True)))
    assert_close(found, [expected, padded[..., -2:]])


@pytest.mark.parametrize("size", [7, 65])
@pytest.mark.parametrize("dtype", [e.dtype for e in ELEMENT_TYPES if e.encoding is not None and e.bits != 6], ids=str)
def test_weights_of_types_that_numpy_does_not_have(dtype: np.dtype, size: int) -> None:
    """Written packed where ONNX packs them, and read again: constants in the IR and weights in the store."""
    array = np.resize(np.array([1, 2, 0, 3]), size).astype(dtype)
    declared = [value("y", [size], dtype)]
    graph = import_model(model([node("Identity", ["w"], ["y"])], [], declared, {"w": array}, opset=25))
    proto = export_model(graph)
    tensors = [*proto.graph.initializer, *(a.t for n in proto.graph.node for a in n.attribute)]
    (tensor,) = [t for t in tensors if t.data_type == onnx.helper.np_dtype_to_tensor_dtype(dtype)]
    assert len(tensor.raw_data) == -(-size * element_of_dtype(dtype).bits // 8)
    again = import_model(proto)
    found = again.constant(again.outputs[0].owner.operands[0])
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.view(np.uint8), array.view(np.uint8))
