"""Infinities and NaNs survive the text form."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from dsc.ir import Graph, onnx


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_infinities_and_nan_go_through_text(dtype: str) -> None:
    array = np.array([1.5, -np.inf, np.inf, np.nan]).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    for value in (array, array[1:2]):
        graph = Graph.build([])
        constant = onnx.Constant.make(value=value)
        graph.body.add_op(constant)
        graph.set_outputs([("y", constant.out)])
        back = Graph.parse(graph.text())
        found = back.constant(back.outputs[0])
        assert found is not None
        np.testing.assert_array_equal(found.astype(np.float64), value.astype(np.float64))
        assert back.text() == graph.text()


def test_hexadecimal_integers_stay_integers() -> None:
    text = """builtin.module {
  func.func @main() -> (tensor<2xi64> {onnx.name = "y"}) {
    %0 = "onnx.Constant"() <{value = dense<[0x10, 7]> : tensor<2xi64>}> : () -> tensor<2xi64>
    func.return %0 : tensor<2xi64>
  }
}
"""
    graph = Graph.parse(text)
    np.testing.assert_array_equal(graph.constant(graph.outputs[0]), [16, 7])
