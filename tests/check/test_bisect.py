"""Faults put in on purpose, one of each kind: each is found in the artifact itself, and named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
import tvm
from onnx import TensorProto
from tvm import relax
from xdsl.ir import SSAValue

from dsc.check import Culprit, Reference, find_culprit, random_inputs, verify
from dsc.codegen import CompiledModel, build
from dsc.exchange import import_model
from dsc.ir import onnx as onnx_dialect
from dsc.lower.registry import RULES
from dsc.passes import Pipeline
from dsc.passes.pattern import ops, value
from dsc.passes.rule import Match, Rule
from dsc.pipeline import preset
from dsc.runtime import Module
from dsc.targets import target
from dsc.targets.cpu.gemm.panels import Panels

TARGET = target("x86:haswell")


def network() -> onnx.ModelProto:
    """Three matrix products; the result of the first is needed again at the end."""
    random = np.random.default_rng(0)
    shapes = {"w1": (8, 32), "w2": (32, 32), "w3": (32, 32)}
    weights = [
        onnx.numpy_helper.from_array((random.standard_normal(shape) / 4).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    make = onnx.helper.make_node
    nodes = [
        make("MatMul", ["x", "w1"], ["a"], name="/first"),
        make("Tanh", ["a"], ["b"], name="/tanh"),
        make("MatMul", ["b", "w2"], ["c"], name="/second"),
        make("Softmax", ["c"], ["d"], name="/softmax"),
        make("MatMul", ["d", "w3"], ["e"], name="/third"),
        make("Add", ["e", "b"], ["y"], name="/residual"),
    ]
    x = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])
    y = onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])
    graph = onnx.helper.make_graph(nodes, "network", [x], [y], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def compiled(choose: Callable[..., Any] | None = None) -> CompiledModel:
    """The network for a fixed machine, with the provenance that `compile_model` records."""
    pipeline = preset(2, TARGET)
    graph = import_model(network(), shapes={"x": [4, 8]})
    pipeline.run(graph)
    return build(graph, TARGET, choose, provenance={"passes": str(pipeline)})


def culprit(module: Module) -> Culprit | None:
    """What is found to be to blame; None where the module is right."""
    model, graph = network(), import_model(network(), shapes={"x": [4, 8]})
    inputs = random_inputs(graph, seed=5)
    if verify(model, module, [inputs], graph=graph).passed:
        return None
    return find_culprit(graph, module, inputs, Reference(model).run(inputs), lambda *_: None)


def sabotage(monkeypatch: pytest.MonkeyPatch, operator: str) -> None:
    """Let the lowering of an operator compute another one."""
    wrong = RULES["onnx.Relu"]
    monkeypatch.setitem(RULES, operator, replace(RULES[operator], lower=wrong.lower))


def test_nothing_is_wrong() -> None:
    assert culprit(compiled().load(1)) is None


def test_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch, "onnx.Tanh")
    model = compiled()
    monkeypatch.undo()
    found = culprit(model.load(1))
    assert found is not None
    assert (found.fault, found.nodes) == ("kernel", ("/first", "/tanh"))
    assert found.kernel == model.choices[0].function
    assert found.what.startswith(f"wrong kernel: {model.choices[0].kernel} {model.choices[0].point}")
    assert "4 x 32" in str(found) or "float32[4, 32]" in str(found)


def test_wrong_kernel_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """-O3 takes other points of the design space than the estimate would: those of the artifact are judged."""
    sabotage(monkeypatch, "onnx.Tanh")
    model = compiled(lambda workload, candidates: candidates[-1])
    monkeypatch.undo()
    usual = compiled()
    assert [(c.kernel, c.point) for c in model.choices] != [(c.kernel, c.point) for c in usual.choices]
    found = culprit(model.load(1))
    assert found is not None
    assert found.fault == "kernel"
    assert f"{model.choices[0].kernel} {model.choices[0].point}" in found.what


def test_wrong_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of one product are packed wrongly when the artifact is written."""
    model, apply = compiled(), Panels.apply

    def reversed_(self: Panels, array: np.ndarray) -> tuple[np.ndarray]:
        (packed,) = apply(self, array)
        return (np.ascontiguousarray(packed[::-1]) if array[0, 0] == second[0, 0] else packed,)

    second = onnx.numpy_helper.to_array(network().graph.initializer[1])
    monkeypatch.setattr(Panels, "apply", reversed_)
    module = model.load(1)
    monkeypatch.undo()
    found = culprit(module)
    assert found is not None
    assert (found.fault, found.nodes) == ("packing", ("/second",))
    assert "wrong packing: the weights in the artifact" in found.what


def test_wrong_buffer_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The softmax writes to the memory in which the first product waits for the last."""
    plan = relax.transform.StaticPlanBlockMemory

    def shared() -> tvm.transform.Pass:
        @tvm.transform.module_pass(opt_level=0, name="shared")
        def apply(module: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
            module = plan()(module)
            main = module["main"]
            storages = [b.var for b in main.body.blocks[0].bindings if b.var.name.startswith("storage")]
            module.update_func(module.get_global_var("main"), Shared(storages[2], storages[0]).visit_expr(main))
            return module

        return apply

    monkeypatch.setattr(relax.transform, "StaticPlanBlockMemory", shared)
    model = compiled()
    monkeypatch.undo()
    found = culprit(model.load(1))
    assert found is not None
    assert (found.fault, found.nodes) == ("buffer", ("/first", "/tanh"))
    functions = [choice.function for choice in model.choices]
    assert f"the value made by {functions[0]} (/first, /tanh) was overwritten" in found.what
    assert f"before it was read by {functions[3]} (/third, /residual)" in found.what
    assert f"the result of {functions[2]} (/softmax) lies in the same memory" in found.what


@relax.expr_functor.mutator
class Shared(relax.PyExprMutator):  # type: ignore[misc]
    """Lets tensors of one storage lie in another."""

    def __init__(self, old: relax.Var, new: relax.Var) -> None:
        super().__init__()
        self.old, self.new = old, new

    def visit_var_(self, op: relax.Var) -> relax.Expr:
        return self.new if op.same_as(self.old) else op


class TanhIsSigmoid(Rule):
    """tanh(x) => sigmoid(x)"""

    pattern = ops.Tanh(value("x"))

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx_dialect.Sigmoid, m.x).out
        return made


def test_wrong_rewrite(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rule among those of a pass: the pass, the rule and the node are named."""
    module = sys.modules["dsc.passes.canonicalize.canonicalize"]
    monkeypatch.setattr(module, "RULES", (*module.RULES, TanhIsSigmoid()))  # type: ignore[attr-defined]
    found = culprit(compiled().load(1))
    assert found is not None
    assert found.fault == "rewrite"
    assert (
        "canonicalize{keep-weights=true}, changed the model's results: rule 'tanh(x) => sigmoid(x)', rewrite"
        in found.what
    )
    assert "at ONNX nodes /tanh" in found.what
    assert '- %b = "onnx.Tanh"' in found.what
    assert '+ %b = "onnx.Sigmoid"' in found.what


def test_another_graph_is_said_to_be_one() -> None:
    """An artifact whose kernels are not those that the passes give now."""
    model = compiled()
    manifest = replace(model.manifest, provenance={"passes": str(Pipeline.parse("canonicalize"))})
    wrong = replace(model, manifest=manifest)
    graph = import_model(network(), shapes={"x": [4, 8]})
    inputs = random_inputs(graph, seed=5)
    found = find_culprit(graph, wrong.load(1), inputs, Reference(network()).run(inputs), lambda *_: None)
    assert found.fault == "unknown"
    assert "the artifact is not what they give now" in found.what
