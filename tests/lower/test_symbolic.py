"""One kernel for all sizes: ops with dynamic dims, built once and run at several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from xdsl.dialects.test import TestOp as AnyOp
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, onnx, tensor
from dsc.lower import Workload
from tests.kernels import compiled
from tests.lower import reference
from tests.lower.node_cases import BACKEND, function

RNG = np.random.default_rng(11)
Dims = tuple[int | str, ...]

NODES: dict[str, tuple[list[Dims | np.ndarray | None], dict[str, Any]]] = {
    "Add": ([("n", 1, "m"), ("k", "m")], {}),
    "Add same": ([("n", "m"), ("n", "m")], {}),
    "MatMul": ([("n", "m", 5), ("n", 5, "k")], {}),
    "Softmax": ([("n", "m")], {"axis": 1}),
    "LayerNormalization": ([("n", "m", 7), (7,), (7,)], {}),
    "ReduceMean": ([("n", "m", 7), np.array([1])], {}),
    "Reshape": ([("n", "m", 12), np.array([0, 0, 3, 4])], {}),
    "Reshape flat": ([("n", "m", 12), np.array([-1, 6])], {}),
    "Flatten": ([("n", "m", 3)], {"axis": 2}),
    "Transpose": ([("n", 3, "m")], {"perm": [2, 0, 1]}),
    "Concat": ([("n", 3), ("m", 3)], {"axis": 0}),
    "Slice": ([("n", "m"), np.array([1, -3]), np.array([2**62, -1]), np.array([0, 1])], {}),
    "Slice back": ([("n", 3), np.array([-1]), np.array([-(2**62)]), np.array([0]), np.array([-2])], {}),
    "Split": ([("n", 6)], {"axis": 1, "num_outputs": 2}),
    "Pad": ([("n", "m"), np.array([1, 0, 2, 3])], {}),
    "Pad reflect": ([("n", "m"), np.array([1, 0, 2, 3])], {"mode": "reflect"}),
    "Conv": ([("n", 4, "h", "w"), (6, 4, 3, 3)], {"strides": [2, 1], "pads": [1, 1, 1, 1]}),
    "Conv same": ([("n", 4, "h", "w"), (6, 4, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "ConvTranspose": ([("n", 4, "h", "w"), (4, 6, 2, 2)], {"strides": [2, 2]}),
    "MaxPool": ([("n", 4, "h", "w")], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "AveragePool": ([("n", 4, "h", "w")], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "GlobalAveragePool": ([("n", 4, "h", "w")], {}),
    "Resize": ([("n", 4, "h", "w"), None, np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    "Resize linear": ([("n", 4, "h", "w"), None, np.array([1, 1, 2, 0.5], np.float32)], {"mode": "linear"}),
    "Tile": ([("n", "m"), np.array([2, 3])], {}),
    "CumSum": ([("n", "m"), np.array(1)], {}),
    "TopK": ([("n", "m"), np.array([3])], {"axis": 0}),
    "ArgMin": ([("n", "m")], {"axis": 1}),
    "Gather": ([("n", "m"), np.array([[0, -1], [1, -3]])], {"axis": 1}),
    "GatherElements": ([("n", "m"), np.array([[0, -1, 1], [1, -3, 2]])], {"axis": 1}),
    "GatherND": ([("n", "m", 2), np.array([[0, -1], [1, 3]])], {}),
    "ScatterND": ([("n", "m"), np.array([[0], [2]]), (2, "m")], {"reduction": "add"}),
    "Expand": ([("n", 1, "m"), np.array([1, 4, 1])], {}),
    "Trilu": ([("n", "m")], {"upper": 0}),
    "InstanceNormalization": ([("n", 3, "h", "w"), (3,), (3,)], {}),
    "GroupNormalization": ([("n", 4, "h", "w"), (4,), (4,)], {"num_groups": 2}),
    "DepthToSpace": ([("n", 8, "h", "w")], {"blocksize": 2}),
    "Einsum": ([("n", "m", 3), ("n", "k", 3)], {"equation": "bic,bjc->bij"}),
    "ReduceLogSumExp": ([("n", "m"), np.array([1])], {"keepdims": 0}),
}

SIZES: tuple[dict[str, int], ...] = (
    {"n": 5, "m": 9, "k": 5, "h": 11, "w": 14},
    {"n": 3, "m": 5, "k": 1, "h": 8, "w": 6},
    {"n": 7, "m": 4, "k": 7, "h": 5, "w": 8},
)


def build(op_type: str, operands: list[Dims | np.ndarray | None], attributes: dict[str, Any]) -> OnnxOp:
    values: list[SSAValue | None] = []
    for operand in operands:
        if isinstance(operand, tuple):
            shape = [-1 if isinstance(d, str) else d for d in operand]
            type_ = tensor("float32", shape, [d if isinstance(d, str) else "" for d in operand])
            values.append(AnyOp(result_types=[type_]).results[0])
        else:
            values.append(None if operand is None else onnx.Constant.make(value=operand).out)
    return onnx.OPS[op_type].make(*values, **attributes)


def operands_of_sizes(operands: list[Dims | np.ndarray | None], sizes: dict[str, int]) -> list[np.ndarray | None]:
    def data(operand: Dims | np.ndarray | None) -> np.ndarray | None:
        if not isinstance(operand, tuple):
            return operand
        return RNG.standard_normal([sizes[d] if isinstance(d, str) else d for d in operand]).astype(np.float32)

    return [data(operand) for operand in operands]


@pytest.mark.parametrize("name", NODES)
def test_one_kernel_for_all_sizes(name: str) -> None:
    op_type = name.split()[0]
    operands, attributes = NODES[name]
    op = build(op_type, operands, attributes)
    workload = Workload.of(op)
    entry: Callable[..., None] = compiled(function(workload), BACKEND)
    for sizes in SIZES:
        arrays = operands_of_sizes(operands, sizes)
        expected = reference.run(op_type, arrays, attributes, len(op.results))
        results = [tvm.runtime.tensor(np.zeros_like(e)) for e in expected]
        by_value = dict(zip(op.node_inputs(), arrays, strict=True))
        given = [by_value[operand.source] for operand in workload.operands]
        entry(*map(tvm.runtime.tensor, given), *results)
        for result, array in zip(results, expected, strict=True):
            # float32 sums in another order than ONNX Runtime's
            np.testing.assert_allclose(result.numpy(), array, rtol=1e-4, atol=1e-5)
