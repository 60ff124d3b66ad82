"""Which ops have a lowering, and what a lowering is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from tvm import te
from xdsl.dialects.builtin import TensorType, UnrankedTensorType
from xdsl.ir import Attribute, Operation, SSAValue

from dsc.errors import UnsupportedModelError
from dsc.ir.onnx import OnnxOp
from dsc.ir.onnx.attributes import to_python
from dsc.ir.types import ElementType, dims_of, element_of
from dsc.lower.exprs import Dim, Scalar, dims

Lowering: TypeAlias = "Callable[[Call], te.Tensor | Sequence[te.Tensor]]"
"""Tensor expressions of the results of one op; a single tensor stands for a list of one."""

F = TypeVar("F", bound=Callable[..., Any])


class UnsupportedOpError(UnsupportedModelError):
    """One op cannot be lowered. `why` says what stands in the way, `op` where, as soon as that is known."""

    def __init__(self, why: str, op: Operation | None = None) -> None:
        node = getattr(op.attributes.get("node"), "data", "") if op is not None else ""
        place = f"{op.name}{f' (node {node!r})' if node else ''}: " if op is not None else ""
        super().__init__(place + why)
        self.why, self.op = why, op


class MisfitError(UnsupportedOpError):
    """The sizes of an op's operands do not fit one another, whatever the free dims are."""


@dataclass(frozen=True)
class Rule:
    """How one kind of op is lowered."""

    lower: Lowering
    value_operands: frozenset[int]
    """Operands read at compile time as numbers or expressions of dims, never as tensors: the shape of a
    Reshape."""
    moves: bool
    """Whether elements are moved and never computed with: operands and results are as they are stored then."""


RULES: dict[str, Rule] = {}


def lowers(*op_types: type[Operation], values: Sequence[int] = (), moves: bool = False) -> Callable[[F], F]:
    """Registers a function as the lowering of `op_types`; `values` are the operands it reads at compile
    time. moves: it takes and gives elements as they are stored."""

    def register(function: F) -> F:
        for op_type in op_types:
            RULES[op_type.name] = Rule(function, frozenset(values), moves)
        return function

    return register


def operands_of(op: Operation) -> tuple[SSAValue | None, ...]:
    """The operands by position of the ONNX node: None where an optional one is absent, variadic ones
    spread."""
    return op.node_inputs() if isinstance(op, OnnxOp) else tuple(op.operands)


def results_of(op: Operation) -> tuple[SSAValue | None, ...]:
    """The results by position of the ONNX node, as `operands_of`."""
    return op.node_outputs() if isinstance(op, OnnxOp) else tuple(op.results)


@dataclass(frozen=True)
class Call:
    """An op together with what is known of its operands."""

    op: Operation
    inputs: tuple[te.Tensor, ...]
    """By position; None where absent or known by value only. Trailing absent ones are padded with None."""
    known: tuple[np.ndarray | None, ...]
    """The operands whose elements are known: object arrays of numbers and integer expressions."""

    @property
    def name(self) -> str:
        """The ONNX name of the op: "Conv"."""
        return self.op.name.removeprefix("onnx.")

    def attr(self, name: str, default: Any = None) -> Any:
        """The Python value of an attribute: what is set, else the schema's default, else `default`."""
        if isinstance(self.op, OnnxOp):
            return self.op.attr(name, default)
        found = self.op.properties.get(name)
        return default if found is None else to_python(found)

    def has(self, index: int) -> bool:
        """Whether an optional operand is there."""
        operands = operands_of(self.op)
        return index < len(operands) and operands[index] is not None

    def values(self, index: int) -> list[Scalar]:
        """The elements of an operand read at compile time; none where it is absent.

        Raises UnsupportedOpError where they depend on data.
        """
        if not self.has(index):
            return []
        known = self.known[index]
        if known is None:
            raise UnsupportedOpError(f"operand {index} depends on data; it must be constant or computed from shapes")
        return list(known.reshape(-1))

    def sizes(self, index: int) -> list[Dim]:
        """Like `values`, for integers: sizes, positions and the like."""
        values = self.values(index)
        if any(isinstance(v, float) for v in values):
            raise UnsupportedOpError(f"operand {index} must have integers, not {values}")
        return values

    def integers(self, index: int) -> list[int]:
        """Like `values`, where every element must be a plain integer (axes, for instance)."""
        values = self.values(index)
        if not all(isinstance(v, int) for v in values):
            raise UnsupportedOpError(f"operand {index} must be constant integers, not {values}")
        return [int(v) for v in values]

    def static(self, index: int, axis: int) -> int:
        """A dim of an operand whose loops are written out.

        Raises UnsupportedOpError where it is free.
        """
        size = dims(self.inputs[index].shape)[axis]
        if not isinstance(size, int):
            raise UnsupportedOpError(f"dim {axis} of operand {index} is free; it must be known (pin it with --shape)")
        return size

    def dtype(self, result: int = 0) -> str:
        """The TVM element type of a result, by its position."""
        return (stored_dtype if RULES[self.op.name].moves else tvm_dtype)(self._result(result).type)

    def element(self, result: int = 0) -> ElementType:
        """The element type of a result, by its position."""
        return element_of(self._result(result).type)

    def dims(self, result: int = 0) -> tuple[int | str, ...] | None:
        """The dims that the IR gives a result: sizes, or names where dynamic; None when the rank is
        unknown."""
        return dims_of(self._result(result).type)

    def wanted(self, result: int) -> bool:
        """Whether an optional result is there."""
        results = results_of(self.op)
        return result < len(results) and results[result] is not None

    def _result(self, position: int) -> SSAValue:
        value = results_of(self.op)[position]
        assert value is not None, "only results that are wanted have types"
        return value


def tvm_dtype(type_: Attribute) -> str:
    """The TVM element type in which elements of a tensor type are computed.

    Raises UnsupportedOpError for types that kernels do not have (strings, complex numbers, sequences, optionals).
    """
    computed = held(type_).computed
    assert computed is not None, "an element type that is stored is computed"
    return computed


def stored_dtype(type_: Attribute) -> str:
    """The TVM element type of a tensor type in memory. Raises as `tvm_dtype` does."""
    stored = held(type_).stored
    assert stored is not None, "checked by held"
    return stored


def held(type_: Attribute) -> ElementType:
    """The element type of a tensor type. Raises as `tvm_dtype` does."""
    if not isinstance(type_, TensorType | UnrankedTensorType):
        raise UnsupportedOpError(f"values of type {type_} are not tensors")
    element = element_of(type_)
    if element.stored is None:
        raise UnsupportedOpError(f"tensors of element type {element.dtype} are not supported")
    return element
