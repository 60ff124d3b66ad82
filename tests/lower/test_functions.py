"""Elementary functions in expressions: calls that say what is computed; how is the machine's business."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call
from xdsl.dialects.test import TestOp as AnyOp

from dsc.ir import onnx, tensor
from dsc.lower import UnsupportedOpError, Workload, functions, operators
from dsc.lower.floats import opaque_tensors
from dsc.lower.functions import MissingFunctionError, expanded
from dsc.lower.tensors import elementwise
from dsc.targets.cpu.lowering import tir_passes
from tests.lower.node_cases import Case, function, onnx_cases

OF_TVM = {
    *("prim.ceil", "prim.if_then_else", "tirx.fabs", "tirx.floor", "tirx.nearbyint", "tirx.sqrt"),
    "tirx.reinterpret",
}
"""What all machines compute exactly alike, and the choice between two values."""
UNARY = ("Exp", "Log", "Erf", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh", "Asin", "Acos", "Atan", "Asinh", "Acosh")


def calls(func: tirx.PrimFunc) -> list[str]:
    """Operators that are called, in order."""
    found: list[str] = []
    tvm_ffi.structural_walk(func.body, (Call, lambda node: found.append(str(getattr(node.op, "name", node.op)))))
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("op_type", UNARY)
def test_a_function_is_one_call(op_type: str, dtype: str) -> None:
    x = AnyOp(result_types=[tensor(np.dtype(dtype), (2, 3))]).results[0]
    assert calls(function(Workload.of(onnx.OPS[op_type].make(x)))) == [f"dsc.{op_type.lower()}"]


@pytest.mark.parametrize(
    ("op_type", "names"), [("Sigmoid", {"exp"}), ("Softplus", {"exp", "log1p"}), ("Gelu", {"erf"}), ("Mish", {"exp"})]
)
def test_what_is_composed_is_in_terms_of_functions(op_type: str, names: set[str]) -> None:
    x = AnyOp(result_types=[tensor(np.dtype(np.float32), (2, 3))]).results[0]
    found = calls(function(Workload.of(onnx.OPS[op_type].make(x))))
    assert {name.removeprefix("dsc.") for name in found} & set(functions.NAMES) == names
    assert "tirx.reinterpret" not in found, "bits of floats are a machine's way to compute a function"


def test_no_op_is_written_for_a_machine() -> None:
    """One of ONNX's cases of each operator calls functions, hidden arithmetic, and what all machines compute alike."""
    cases = {case.op.name: case for _, case in onnx_cases() if isinstance(case, Case)}
    found: set[str] = set()
    lowered = 0
    for case in cases.values():
        try:
            found.update(calls(function(case.workload)))
            lowered += 1
        except UnsupportedOpError:
            continue  # the same op in another type, or for `test_node_cases`
    assert lowered > 100
    assert {name for name in found if not name.startswith(operators.PREFIX)} <= OF_TVM


def of_exp() -> tirx.PrimFunc:
    x = te.placeholder((4,), "float32", name="x")
    return te.create_prim_func(
        [x, *opaque_tensors([elementwise(lambda v: functions.exp(functions.log(v)), x, name="y")])]
    )


def test_a_table_says_how() -> None:
    table = {"exp": lambda v: v * v, "log": tirx.abs}
    assert calls(expanded(of_exp(), table)) == ["tirx.fabs", "tirx.fabs"]


def test_variables_are_bound_once_in_each_place() -> None:
    x = te.placeholder((4,), "float32", name="x")

    def twice(v: tirx.Var) -> tirx.Add:
        call = functions.exp(v)
        return call + call

    func = te.create_prim_func([x, elementwise(twice, x, name="y")])
    bound: list[tirx.Var] = []
    made = expanded(func, {"exp": lambda v: tirx.Let(u := tirx.Var("u", "float32"), v, u * u)})
    tvm_ffi.structural_walk(made.body, (tirx.Let, lambda node: bound.append(node.var)))
    assert len(bound) == 2
    assert not bound[0].same_as(bound[1])


def test_a_function_without_code_is_named() -> None:
    with pytest.raises(MissingFunctionError, match=r"no code for the functions exp$"):
        expanded(of_exp(), {"log": tirx.abs})


def test_code_generation_takes_the_table() -> None:
    func = of_exp().with_attr("global_symbol", "main").with_attr("target", tvm.target.Target("llvm"))
    with pytest.raises(MissingFunctionError, match=r"no code for the functions exp, log$"):
        tir_passes({})(tvm.IRModule({"main": func}))
