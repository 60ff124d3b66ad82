"""Workloads as TVM tensor expressions: what is computed, not how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tvm_ffi
from tvm import sym, te, tirx
from tvm.ir import Expr
from xdsl.ir import Operation, SSAValue

from dsc.ir.onnx import OnnxOp
from dsc.lower import shape_values
from dsc.lower.exprs import Scalar, dims, simplify
from dsc.lower.floats import constant, opaque_tensors
from dsc.lower.ops import load_rules
from dsc.lower.reductions import without_trivial_reductions
from dsc.lower.registry import RULES, Call, UnsupportedOpError, operands_of, results_of, stored_dtype, tvm_dtype
from dsc.lower.requirements import INDICES, Indexed, Required, Requirement, located, reaching, required, undecided
from dsc.lower.requirements import load_rules as load_requirements
from dsc.lower.requirements.requirement import of_divisions, of_result
from dsc.lower.rounding import narrowed, widened
from dsc.lower.tensors import broadcast_to
from dsc.lower.workload import Workload, once

load_rules()
load_requirements()


@dataclass(frozen=True)
class Interface:
    """What a workload gives and what it takes for granted, in the caller's terms."""

    shapes: list[list[Scalar]]
    """The dims of each output."""
    requirements: list[Required]
    """What must hold of sizes at run time; what holds anyway is left out."""
    inputs: list[te.Tensor]
    """Placeholders for the inputs, which `indices` are computed from."""
    indices: list[Indexed]
    """Indices that are data, in terms of the workload's variables."""


def placeholders(workload: Workload) -> list[te.Tensor]:
    """One placeholder for each input; dims not constant are int64 variables of `workload.symbols`."""
    return [
        te.placeholder(_index_typed(operand.shape), stored_dtype(operand.value.type), name=f"in{index}")
        for index, operand in enumerate(workload.operands)
    ]


def lower_body(workload: Workload, bound: Mapping[SSAValue, te.Tensor]) -> list[te.Tensor]:
    """Tensor expressions of the outputs, computed from `bound` on: inputs, or inner values such as the
    anchor's result. All are as they are stored (bfloat16 and narrower types in their bits).

    Only what the outputs need beyond `bound` is lowered.
    Raises UnsupportedOpError, with the op's name, where an op has no lowering or cannot be lowered as it
    stands.
    """
    return _lowered(workload, bound)[1]


class Lowered:
    """The body of a workload as tensor expressions, from placeholders for its inputs on (see `lowered`)."""

    def __init__(self, workload: Workload) -> None:
        self.inputs = placeholders(workload)
        """Placeholders, in the order of the workload's inputs."""
        self._scope, self.outputs = _lowered(workload, dict(zip(workload.inputs, self.inputs, strict=True)))
        self.requirements, self.indices = self._scope.requirements, self._scope.indices

    def tensor(self, value: SSAValue) -> te.Tensor:
        """A value of the body that the outputs need, as it is stored."""
        return self._scope.tensor(value)

    def summed(self, value: SSAValue) -> te.Tensor:
        """The stage that sums products up, of the result of a matrix product or a convolution: its scale and its bias
        are stages that follow. A kernel that computes it has all that is left as an epilogue."""
        tensor = self.tensor(value)
        while not tensor.op.reduce_axis:
            tensor = tensor.op.input_tensors[0]
        return tensor


@once
def lowered(workload: Workload) -> Lowered:
    """The tensor expressions of a workload, made once and shared by all kernels that look at it.

    Raises UnsupportedOpError, with the op's name, where an op has no lowering or cannot be lowered as it stands.
    """
    return Lowered(workload)


def _lowered(workload: Workload, bound: Mapping[SSAValue, te.Tensor]) -> tuple[_Scope, list[te.Tensor]]:
    scope = _Scope(workload, dict(bound))
    needed = _needed(workload, bound)
    for op in workload.body:
        if op in needed:
            scope.lower(op)
    return scope, [scope.tensor(value) for value in workload.outputs]


def interface(workload: Workload) -> Interface:
    """The outputs' shapes and what the ops require, in the caller's terms: the sources of `workload.symbols` in place
    of its variables. Raises UnsupportedOpError where a requirement cannot hold."""
    made = lowered(workload)
    requirements: list[Required] = []
    for op, found in made.requirements:
        mapped = found.mapped(lambda value: in_callers_terms(workload, value))
        requirements += [(located(op), left) for left in undecided(op, [mapped])]
    shapes = [[in_callers_terms(workload, d) for d in output.shape] for output in made.outputs]
    for value, shape, output in zip(workload.outputs, shapes, made.outputs, strict=True):
        if isinstance(value.owner, Operation):
            # a variable may stand for a product
            found_here = undecided(value.owner, of_result(shape, tvm_ffi.dtype(str(output.dtype)).bits))
            requirements += [(located(value.owner), left) for left in found_here]
    return Interface(shapes, requirements, made.inputs, made.indices)


def output_shapes(workload: Workload) -> list[list[Scalar]]:
    """The dims of each output in the caller's terms."""
    return interface(workload).shapes


def in_callers_terms(workload: Workload, value: Scalar) -> Scalar:
    """An expression of the workload's variables, with the caller's expressions in their place.

    Dims known by name only become int64 variables of that name, one for each variable of the workload.
    """
    value = simplify(value)
    if not isinstance(value, Expr):
        return value
    pairs = list(zip(workload.symbols.variables, map(_expression, workload.symbols.sources), strict=True))
    for variable, source in pairs:
        if value.same_as(variable):
            return source
    analyzer = sym.Analyzer()
    for variable, source in pairs:
        analyzer.bind(variable, source)
    return simplify(analyzer.simplify(value))


def _expression(source: Expr | str) -> Expr:
    return tirx.Var(source or "nameless", "int64") if isinstance(source, str) else source


def prim_func(workload: Workload, inputs: Sequence[te.Tensor], outputs: Sequence[te.Tensor]) -> tirx.PrimFunc:
    """The unscheduled function of `inputs`, the workload's scalars and `outputs`, its arithmetic on floats opaque.

    Its indices are int64 where a dim is symbolic. An op may hand on what it is given (a Cast to the same type): the
    function copies it then.
    """
    parameters = [*inputs, *workload.scalars]
    for output in outputs:
        given = any(output.same_as(parameter) for parameter in parameters)
        parameters.append(broadcast_to(output, output.shape, "copy") if given else output)
    return unscheduled(inputs, workload.scalars, parameters[-len(outputs) :])


def unscheduled(
    inputs: Sequence[te.Tensor], scalars: Sequence[tirx.Var], outputs: Sequence[te.Tensor]
) -> tirx.PrimFunc:
    """The function of `inputs`, `scalars` and `outputs`, all of which differ, its arithmetic on floats opaque.

    Its indices are int64 where a dim is symbolic.
    """
    sizes = [size for tensor in inputs for size in tensor.shape]
    symbolic = bool(scalars) or not all(isinstance(size, int) for size in dims(sizes))
    parameters = [*inputs, *scalars, *opaque_tensors(outputs)]
    func = te.create_prim_func(parameters, index_dtype_override="int64" if symbolic else None)
    return without_trivial_reductions(func)


class _Scope:
    """The values of a body that are computed so far: tensors, and integers known at compile time."""

    def __init__(self, workload: Workload, tensors: dict[SSAValue, te.Tensor]) -> None:
        self.tensors = tensors
        self.known: dict[SSAValue, np.ndarray] = dict(workload.known)
        self.requirements: list[tuple[Operation, Requirement]] = []
        self.indices: list[Indexed] = []
        for op in workload.body:
            if op.name == "onnx.Constant":
                self.lower(op)

    def lower(self, op: Operation) -> None:
        known = tuple(None if v is None else self.known.get(v) for v in operands_of(op))
        shapes = tuple(None if v is None else self._shape(v) for v in operands_of(op))
        values = shape_values.evaluate(op, known, shapes)
        if values is not None:
            self.known[op.results[0]] = values
            return
        for result, tensor in zip(results_of(op), self._lower_tensors(op, known), strict=False):
            if result is not None and result not in self.tensors:
                self.tensors[result] = tensor if RULES[op.name].moves else narrowed(tensor, result.type)

    def _lower_tensors(self, op: Operation, known: tuple[np.ndarray | None, ...]) -> Sequence[te.Tensor]:
        rule = RULES.get(op.name)
        if rule is None:
            raise UnsupportedOpError("this operator has no lowering yet", op)
        operands = [
            None if value is None or index in rule.value_operands else self._operand(value, rule.moves)
            for index, value in enumerate(operands_of(op))
        ]
        padding = (None,) * (_arity(op) - len(operands))
        call = Call(op, (*operands, *padding), (*known, *padding))
        try:
            self._require(op, required(call))
            self._index(op, call)
            lowered = rule.lower(call)
        except UnsupportedOpError as error:
            raise type(error)(error.why, op) from error
        except (ArithmeticError, IndexError) as error:  # an axis that the tensor does not have
            raise UnsupportedOpError(f"its operands do not fit: {error}", op) from error
        results = [lowered] if isinstance(lowered, te.Tensor) else lowered
        for result in results:
            shape = dims(result.shape)
            self._require(op, [*of_divisions(shape), *of_result(shape, tvm_ffi.dtype(str(result.dtype)).bits)])
        return results

    def _operand(self, value: SSAValue, moves: bool) -> te.Tensor:
        tensor = self.tensor(value)
        return tensor if moves else widened(tensor, value.type)

    def _index(self, op: Operation, call: Call) -> None:
        """Indices that are known are a matter of sizes, others of data."""
        self._require(op, reaching(call))
        for indices in INDICES[op.name](call) if op.name in INDICES else ():
            known, tensor = call.known[indices.operand], call.inputs[indices.operand]
            if known is not None and all(isinstance(v, int) for v in known.reshape(-1)):
                self._require(op, indices.of(known))
            elif tensor is not None:
                self.indices.append(Indexed(op, tensor, indices))

    def _require(self, op: Operation, requirements: Iterable[Requirement]) -> None:
        self.requirements += [(op, requirement) for requirement in undecided(op, requirements)]

    def tensor(self, value: SSAValue) -> te.Tensor:
        """`value` as a tensor, as it is stored; what is known at compile time is written out."""
        if value not in self.tensors:
            self.tensors[value] = narrowed(literal(self.known[value], tvm_dtype(value.type)), value.type)
        return self.tensors[value]

    def _shape(self, value: SSAValue) -> Sequence[Scalar] | None:
        if value in self.tensors:
            return dims(self.tensors[value].shape)
        return self.known[value].shape if value in self.known else None


def literal(array: np.ndarray, dtype: str) -> te.Tensor:
    """A tensor of known elements (numbers or expressions): meant for a handful, selected by index."""
    elements = [e if isinstance(e, Expr) else constant(e, dtype) for e in array.reshape(-1)]

    def element(*indices: Expr) -> Expr:
        flat = sum((i * stride for i, stride in zip(indices, _strides(array.shape), strict=True)), 0)
        chosen = elements[-1].astype(dtype)
        for position in reversed(range(len(elements) - 1)):
            chosen = tirx.Select(flat == position, elements[position].astype(dtype), chosen)
        return chosen

    if not elements:
        return te.compute(array.shape, lambda *_: tirx.const(0, dtype), name="empty")
    return te.compute(array.shape, element, name="literal")


def _needed(workload: Workload, bound: Mapping[SSAValue, te.Tensor]) -> set[Operation]:
    """The ops between `bound` and the outputs."""
    wanted = {v for v in workload.outputs if v not in bound}
    needed: set[Operation] = set()
    for op in reversed(workload.body):
        if wanted.intersection(op.results):
            needed.add(op)
            wanted.update(v for v in op.operands if v not in bound)
    return needed


def _arity(op: Operation) -> int:
    return len(op.get_irdl_definition().operands) if isinstance(op, OnnxOp) else len(op.operands)


def _index_typed(shape: Sequence[int | tirx.Var]) -> list[Expr | int]:
    """Static sizes become int64 too where a dim is a variable, so that indices have one type."""
    if all(isinstance(d, int) for d in shape):
        return list(shape)
    return [tirx.IntImm("int64", d) if isinstance(d, int) else d for d in shape]


def _strides(shape: Sequence[int]) -> list[int]:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return strides[: len(shape)]
