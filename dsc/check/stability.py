"""How sensitive a model is to rounding: the reference with small errors put into its intermediate results.

Two correct implementations of a model differ because they sum in another order and round at other places. How far that
carries depends on the model: not at all through a small one, by a whole step through a QuantizeLinear whose operand
lies at a tie. So the model itself is asked: each result of a float computation is multiplied by `1 + e`, with a random
`e` of some units in the last place, and what becomes of the outputs is the measure of what rounding explains. (This is
Monte Carlo arithmetic, D. S. Parker, 1997.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from xdsl.dialects.builtin import IntegerType, TensorType, f32
from xdsl.ir import Attribute, Operation, SSAValue

from dsc.check.difference import float_format, is_float
from dsc.check.movement import Movement
from dsc.check.reference import Reference
from dsc.elements import computed
from dsc.errors import UsageError
from dsc.exchange import definition, export_model
from dsc.ir import Fact, FusionOp, Graph, OnnxOp, element_of, has, onnx, tensor

Tell: TypeAlias = Callable[[str, int, int], None]
"""Takes a phase, the steps done and how many there are."""

_ULPS = {1: 1.0, 2: 1.0, 4: 4.0, 8: 4.0}
"""By bytes of the type: float32 and float64 are summed in their own precision, what is narrower is rounded once."""
_SWITCH = "dsc.rounding"
"""The input that turns the errors on (1) and off (0)."""


class Stability:
    """A model that can be run with rounding errors."""

    def __init__(self, graph: Graph, threads: int | None = None, unit: float = 0.0) -> None:
        """graph: as imported, or at any stage. unit: the least size of errors, relative to what they are of; those of
        the types are some units in their last place. Raises DscError where ONNX Runtime does not take it."""
        self._reference = Reference(export_model(_perturbed(graph, unit)), threads)

    def movements(self, inputs: Mapping[str, np.ndarray], count: int, progress: Tell) -> dict[str, Movement]:
        """How far each output moves in `count` runs; nothing of outputs whose shapes do. Raises DscError."""
        still, runs = self._run(inputs, 0.0), []
        for run in range(count):
            progress("measure rounding", run, count)
            runs.append(self._run(inputs, 1.0))
        return {
            name: Movement(np.asarray(array), tuple(np.asarray(run[name]) for run in runs))
            for name, array in still.items()
            if array.dtype.kind not in "OUSc" and all(run[name].shape == array.shape for run in runs)
        }

    def _run(self, inputs: Mapping[str, np.ndarray], errors: float) -> dict[str, np.ndarray]:
        return self._reference.run({**inputs, _SWITCH: np.array(errors, np.float32)})


def _perturbed(graph: Graph, unit: float) -> Graph:
    """A copy without fusions, with the switch as a last input and errors behind all that rounds."""
    named = [(name, value.type) for name, value in zip(graph.input_names, graph.inputs, strict=True)]
    copy = Graph.build([*named, (_SWITCH, tensor(np.float32, ()))], graph.weights, graph.name)
    errors = _Errors(copy, unit)
    mapped: dict[SSAValue, SSAValue] = dict(zip(graph.inputs, copy.inputs[:-1], strict=True))
    for op in graph.ops():
        if isinstance(op, FusionOp):
            inside: dict[SSAValue, SSAValue] = dict(zip(op.block.args, (mapped[v] for v in op.inputs), strict=True))
            for part in op.block.ops:
                if part is not op.yield_op:
                    errors.copy(part, inside)
            mapped.update(zip(op.outputs, (inside[v] for v in op.yield_op.values), strict=True))
        else:
            errors.copy(op, mapped)
    copy.set_outputs([(name, mapped[value]) for name, value in zip(graph.output_names, graph.outputs, strict=True)])
    return copy


class _Errors:
    """Copies ops into a graph and multiplies by `1 + e` what they round."""

    def __init__(self, graph: Graph, unit: float) -> None:
        self._body, self._switch, self._unit = graph.body, graph.inputs[-1], unit
        self._varying: set[SSAValue] = set(graph.inputs)
        """What depends on the inputs' values, and not on their sizes only: shapes must not move."""
        self._whole: set[SSAValue] = set()
        """Whole numbers in floats, such as a mask that was cast."""
        self._graph, self._seed = graph, 0

    def copy(self, op: Operation, mapped: dict[SSAValue, SSAValue]) -> None:
        """Append a copy of `op`; `mapped` gives its operands, and learns its results."""
        if isinstance(op, OnnxOp) and has(op, Fact.CANCELS) and self._take_apart(op, mapped):
            return
        name = op.onnx_name if isinstance(op, OnnxOp) else ""
        varies = name not in ("Shape", "Size") and any(mapped[v] in self._varying for v in op.operands)
        before = {v: self._moved(mapped[v]) for v in op.operands} if varies and has(op, Fact.SENSITIVE) else {}
        new = op.clone(value_mapper={**mapped, **before})
        self._body.add_op(new)
        whole = self._is_whole(new)
        for old, result in zip(op.results, new.results, strict=True):
            mapped[old] = result
            if whole:
                self._whole.add(result)
            if varies:
                self._varying.add(result)
                if name and not has(op, Fact.EXACT):
                    mapped[old] = self._moved(result)

    def _take_apart(self, op: OnnxOp, mapped: dict[SSAValue, SSAValue]) -> bool:
        """Copy the ops of its definition instead; False where it has none for its attributes and types."""
        try:
            inner = definition(op, {})
        except UsageError:
            return False
        inside: dict[SSAValue, SSAValue] = {
            argument: mapped[v] for argument, v in zip(inner.inputs, dict.fromkeys(op.operands), strict=True)
        }
        for part in inner.ops():
            self.copy(part, inside)
        mapped.update(zip(op.results, (inside[v] for v in inner.outputs), strict=True))
        return True

    def _is_whole(self, op: Operation) -> bool:
        if isinstance(op, OnnxOp) and op.onnx_name == "Cast":
            return not is_float(element_of(op.operands[0].type).dtype) or op.operands[0] in self._whole
        constant = self._graph.constant(op.results[0]) if isinstance(op, onnx.Constant) else None
        if constant is not None:
            numbers = computed(constant)
            return numbers.dtype.kind in "fiub" and bool(np.all(numbers == np.rint(numbers)))
        return has(op, Fact.WHOLE) and bool(op.operands) and all(self._counts(v) for v in op.operands)

    def _counts(self, value: SSAValue) -> bool:
        return value in self._whole or not is_float(element_of(value.type).dtype)

    def _moved(self, value: SSAValue) -> SSAValue:
        """The value with errors; itself where it is no float, or exact."""
        format_ = float_format(element_of(value.type).dtype) if isinstance(value.type, TensorType) else None
        if value not in self._varying or value in self._whole or format_ is None:
            return value
        is_narrow = format_.bits < 32
        wide = self._cast(value, f32) if is_narrow else value
        assert isinstance(wide.type, TensorType)
        dtype = element_of(wide.type)
        error = self._add(
            onnx.RandomUniformLike, wide, result_types=[wide.type], dtype=dtype.code, low=-1.0, high=1.0,
            seed=float(self._next_seed()),
        )  # fmt: skip
        size = self._constant(max(_ULPS[format_.bits // 8] * format_.eps, self._unit), dtype.dtype)
        amplitude = self._add(onnx.Mul, self._cast(self._switch, dtype.mlir), size)
        step = self._add(onnx.Mul, self._add(onnx.Mul, error, amplitude, result_types=[wide.type]), wide,
                         result_types=[wide.type])  # fmt: skip
        moved = self._add(onnx.Add, wide, step, result_types=[wide.type])
        # Infinities stay, and so does the largest finite number, which stands for one in masks.
        limit = self._constant(format_.largest / 2, dtype.dtype)
        flags = TensorType(IntegerType(1), wide.type.get_shape(), wide.type.encoding)
        absolute = self._add(onnx.Abs, wide, result_types=[wide.type])
        is_usual = self._add(onnx.Less, absolute, limit, result_types=[flags])
        chosen = self._add(onnx.Where, is_usual, moved, wide, result_types=[wide.type])
        result = self._cast(chosen, element_of(value.type).mlir) if is_narrow else chosen
        self._varying.add(result)
        return result

    def _next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def _constant(self, number: float, dtype: np.dtype[np.generic]) -> SSAValue:
        return self._add(onnx.Constant, value=np.array(number, dtype))

    def _cast(self, value: SSAValue, to: Attribute) -> SSAValue:
        element = element_of(to)
        if element_of(value.type) == element:
            return value
        assert isinstance(value.type, TensorType)
        type_ = TensorType(element.mlir, value.type.get_shape(), value.type.encoding)
        return self._add(onnx.Cast, value, result_types=[type_], to=element.code)

    def _add(self, kind: type[OnnxOp], *operands: SSAValue, **how: Any) -> SSAValue:
        op = kind.make(*operands, **how)
        self._body.add_op(op)
        return op.out
