"""Models written as ONNX text, compiled as a user would, and what they ought to give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.parser
import onnxruntime

from dsc.pipeline import Compilation, compile_model

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class TextModel:
    """A graph in ONNX' text form, e.g. ``(float[2,n] x) => (float[2,n] y) { y = Mul(x, w) }``, and its weights."""

    text: str
    weights: Arrays = field(default_factory=dict)
    opset: int = 21

    def proto(self) -> onnx.ModelProto:
        """The model, with the weights as initializers."""
        graph = onnx.parser.parse_graph(f"m {self.text}")
        for name, array in self.weights.items():
            graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)], ir_version=10)

    def reference(self, feeds: Arrays) -> list[np.ndarray]:
        """What ONNX Runtime gives without optimizing."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            self.proto().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return [np.asarray(array) for array in session.run(None, dict(feeds))]

    def compile(self, opt_level: int = 2) -> Compilation:
        """The model, compiled for this machine."""
        compilation = compile_model(self.proto(), opt_level=opt_level)
        assert not any(choice.failures for choice in compilation.model.choices), self.text
        return compilation


def run(compilation: Compilation, feeds: Arrays) -> list[np.ndarray]:
    """The outputs, in order."""
    return list(compilation.model.load(threads=1).run(dict(feeds)).values())


def check(
    model: TextModel,
    *feeds: Arrays,
    opt_level: int = 2,
    expected: Sequence[Sequence[np.ndarray]] | None = None,
    tolerance: float = 1e-5,
) -> Compilation:
    """Compile once, and compare the outputs for each of `feeds` with `expected` (ONNX Runtime's if not given).

    `tolerance` is relative to the greatest finite number of each output; NaN equals NaN, and infinities themselves.
    """
    compilation = model.compile(opt_level)
    wanted = [model.reference(each) for each in feeds] if expected is None else expected
    for given, arrays in zip(feeds, wanted, strict=True):
        for found, array in zip(run(compilation, given), arrays, strict=True):
            assert (found.dtype, found.shape) == (array.dtype, array.shape), model.text
            scale = np.abs(array[np.isfinite(array)]).max(initial=1e-30) if array.dtype.kind == "f" else 0
            np.testing.assert_allclose(
                found, array, rtol=tolerance, atol=tolerance * scale, equal_nan=True, err_msg=model.text
            )
    return compilation


def kernels(compilation: Compilation) -> list[str]:
    """Names of the kernels, in the order of the code."""
    return [choice.kernel for choice in compilation.model.choices]
