"""ONNX's own operator cases, built through the lowerings without any schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx as onnx_package
import tvm
from onnx import helper, numpy_helper
from tvm import tirx
from xdsl.dialects.test import TestOp
from xdsl.ir import Operation, SSAValue

from dsc.ir import onnx
from dsc.ir.types import tensor
from dsc.lower.registry import RULES
from dsc.lower.te import lower_body, placeholders, prim_func
from dsc.lower.workload import Workload

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 1})


@dataclass
class Case:
    """One node with its inputs and expected outputs."""

    name: str
    op: Operation
    workload: Workload
    inputs: list[np.ndarray]
    expected: list[np.ndarray]
    rtol: float
    atol: float


def attribute_values(node: onnx_package.NodeProto) -> dict[str, object]:
    """Python values of a node's attributes."""
    values = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        values[attribute.name] = numpy_helper.to_array(value) if attribute.type == attribute.TENSOR else value
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def make_op(
    node: onnx_package.NodeProto, inputs: dict[str, np.ndarray], outputs: Sequence[np.ndarray]
) -> Operation:
    """The op of a node; what its lowering reads at compile time is constant, the rest comes from a test op."""
    op_type = onnx.OPS[node.op_type]
    constant = RULES[op_type.name].value_operands if op_type.name in RULES else frozenset()
    operands: list[SSAValue | None] = []
    for index, name in enumerate(node.input):
        if not name:
            operands.append(None)
        elif index in constant:
            operands.append(onnx.Constant.make(value=inputs[name]).out)
        else:
            array = inputs[name]
            operands.append(TestOp(result_types=[tensor(array.dtype, array.shape)]).results[0])
    produced = iter(outputs)
    types = [tensor((o := next(produced)).dtype, o.shape) if name else None for name in node.output]
    return op_type.make(*operands, result_types=types, **attribute_values(node))


def make_case(
    name: str,
    node: onnx_package.NodeProto,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    rtol: float = 1e-3,
    atol: float = 1e-7,
) -> Case:
    """The case of one node; inputs by the order of its distinct names."""
    named = dict(zip(dict.fromkeys(n for n in node.input if n), inputs, strict=True))
    op = make_op(node, named, outputs)
    workload = Workload.of(op)
    by_value = {}
    operands = op.node_inputs()
    for value, node_input in zip(operands, node.input, strict=False):
        if value is not None:
            by_value[value] = named[node_input]
    return Case(name, op, workload, [by_value[v] for v in workload.sources], list(outputs), rtol, atol)


def function(case: Case) -> tirx.PrimFunc:
    """The unscheduled code of a case."""
    inputs = placeholders(case.workload)
    return prim_func(
        case.workload, inputs, lower_body(case.workload, dict(zip(case.workload.inputs, inputs, strict=True)))
    )


def run(cases: Sequence[Case]) -> Iterator[tuple[Case, list[np.ndarray] | Exception]]:
    """Builds all cases as one module and runs each."""
    functions: dict[str, tirx.PrimFunc] = {}
    failed: dict[str, Exception] = {}
    for index, case in enumerate(cases):
        try:
            functions[f"case{index}"] = function(case).with_attr("global_symbol", f"case{index}")
        except Exception as error:  # every case is judged by itself
            failed[f"case{index}"] = error
    library = tvm.compile(tvm.IRModule(functions), target=TARGET)
    for index, case in enumerate(cases):
        name = f"case{index}"
        yield case, failed[name] if name in failed else call(library.mod[name], case)


def call(entry: tvm.runtime.Function, case: Case) -> list[np.ndarray]:
    """Runs one case."""
    arguments = [tvm.runtime.tensor(np.asarray(a, order="C")) for a in case.inputs]
    results = [tvm.runtime.tensor(np.full(e.shape, 77).astype(e.dtype)) for e in case.expected]
    entry(*arguments, *results)
    return [r.numpy() for r in results]
