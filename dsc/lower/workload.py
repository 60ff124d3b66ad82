"""The unit for which a kernel is chosen: one fusion region or one lone op."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, TypeAlias, TypeVar

import numpy as np
import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from xdsl.ir import Attribute, Operation, SSAValue

from dsc.ir import dialect
from dsc.ir.dialect import FusionOp
from dsc.ir.onnx import encoding_parameters
from dsc.ir.types import ElementType, dims_of, element_of, encoding_of
from dsc.lower.exprs import Scalar, is_natural, same, simplify
from dsc.lower.registry import RULES, UnsupportedOpError, operands_of

R = TypeVar("R")
Known: TypeAlias = "Mapping[SSAValue, np.ndarray]"
"""Integer tensors whose elements are known: object arrays of numbers and integer expressions of dims."""


@dataclass(frozen=True)
class Symbols:
    """Fresh variables for the non-constant dims of a workload; one for each distinct one of the caller."""

    sources: list[Expr | str] = field(default_factory=list)
    """What each variable stands for: the caller's expression, or the dim's name in the IR ("" for none)."""
    variables: list[tirx.Var] = field(default_factory=list)

    def variable(self, source: Expr | str) -> tirx.Var:
        """The variable that stands for `source`; nameless dims get one each."""
        for known, variable in zip(self.sources, self.variables, strict=True):
            if _same_source(source, known):
                return variable
        self.sources.append(source)
        self.variables.append(tirx.Var(f"d{len(self.variables)}", "int64"))
        return self.variables[-1]

    def size(self, source: Scalar | str) -> Scalar:
        """A dim of a tensor: a number, or a variable."""
        source = simplify(source) if isinstance(source, Expr) else source
        return self.variable(source) if isinstance(source, Expr | str) else source

    def number(self, source: Scalar) -> Scalar:
        """An element of a value known at compile time: a number, or a variable for what is certainly no less than 0.

        Other integers, floats and conditions are expressions of the variables of the dims they are made of.
        """
        source = simplify(source)
        if not isinstance(source, Expr):
            return source
        if str(source.expr_ty()) == "int64" and (is_natural(source) or self._stands_for(source)):
            return self.variable(source)
        return tvm_ffi.structural_map(source, (tirx.Var, self.variable))

    def _stands_for(self, source: Expr) -> bool:
        """Whether a variable stands for `source`, as a dim of a tensor."""
        return any(_same_source(source, known) for known in self.sources)


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor that a kernel is given."""

    value: SSAValue
    """As the body sees it."""
    source: SSAValue
    """Where the caller finds it: an operand of the op, or a constant inside the body."""
    shape: tuple[int | tirx.Var, ...]
    element: ElementType
    encoding: Attribute | None
    """What the type says about the contents beyond these: see `encoding_of`."""
    constant: bool
    """Whether it is a weight: a kernel may ask for it rearranged."""

    def text(self) -> str:
        """All that decides the code: element type, dims, encoding, constness."""
        encoding = "" if self.encoding is None else f" {self.encoding}"
        return f"{self.element.dtype}[{_text(self.shape)}]{encoding}{' const' if self.constant else ''}"


@dataclass(frozen=True, eq=False)
class Workload:
    """One dsc.fusion or one lone op, with everything that decides its code."""

    op: Operation
    body: tuple[Operation, ...]
    """Topological order, without the yield; the small constants a lone op reads are part of it."""
    operands: tuple[Operand, ...]
    """The tensors a kernel is given: block arguments, the lone op's operands, and last the constants of the body that
    are no scalars, or that are scales and zero points."""
    outputs: tuple[SSAValue, ...]
    """As the body defines them."""
    kind: str
    """The fusion's kind, or the op's name ("onnx.Softmax")."""
    known: Known
    """Inputs of the body that are no tensors for the kernel: integers, known or given by variables."""
    symbols: Symbols
    multiplied_as: str | None = None
    """Element type to which a kernel may round the factors of the products before it multiplies them: "float16",
    "bfloat16", "tfloat32"; None: to none but their own. (The pass `precision` states it, as an attribute of the op.)
    "int8" and "int16" are for the left factors of products by weights of few bits: each row by itself, in
    steps of the largest magnitude of some neighbours over the largest integer. (The pass `quantize-rows` states that.)

    The body says nothing of it: products there are of float32 and summed in float32. Most factors are
    ``cast(half, float32)`` of a tensor in memory, which no rounding changes; others (an input of the model, the
    probabilities of an attention) a kernel rounds itself, if it multiplies in that type.
    """
    expected_zeros: float = 0.0
    """The share of the elements of its product's left factor that is expected to be 0 at run time, where the right one
    is a weight without infinities and NaN: then nothing is added where they are. (The pass `sparse-inputs` states it.)
    """
    attention_window: int | None = None
    """How many positions from a query the keys of an attention may lie: scores of all others are -inf before the
    softmax, and their weights 0 after it, so that a kernel may leave them out. There are as many queries as keys. (The
    pass `sparsify-attention` states it of the body that it makes.)
    """
    attention_keep: dialect.KeptKeys | None = None
    """What share of the keys of an attention is kept. The body chooses -inf for the scores of other blocks of keys, for
    each block of queries, by the last of its operands, ``[batch..., blocks of queries, blocks of keys]``, which is 0
    for those. (That pass states it, too.)
    """

    @cached_property
    def inputs(self) -> tuple[SSAValue, ...]:
        """The operands as the body sees them."""
        return tuple(operand.value for operand in self.operands)

    @cached_property
    def scalars(self) -> tuple[tirx.Var, ...]:
        """The variables that the shapes of the inputs do not give: parameters of a kernel's function, after the inputs.

        The end of a slice, the shape of an Expand, a size that is computed with.
        """
        given = [d for operand in self.operands for d in operand.shape if isinstance(d, tirx.Var)]
        return tuple(v for v in self.symbols.variables if not any(v.same_as(d) for d in given))

    @staticmethod
    def of(
        op: Operation,
        shapes: Mapping[SSAValue, Sequence[Scalar]] | None = None,
        known: Known | None = None,
    ) -> Workload:
        """The workload of a dsc.fusion or a lone onnx op.

        `shapes` gives dims of operands (as the caller sees them) where more is known than their types say,
        and `known` the operands that are shapes, axes and the like, with their elements.
        Raises UnsupportedOpError where an operand's rank is not known.
        """
        return _Builder(op, shapes or {}, known or {}).build()

    def reads(self, value: SSAValue) -> int:
        """How often the body reads a value: as operands, and as outputs."""
        operands = [operand for op in self.body for operand in op.operands]
        return sum(each is value for each in (*operands, *self.outputs))

    @cached_property
    def memo(self) -> dict[object, Any]:
        """What functions of workloads that compute `once` have found."""
        return {}

    def key(self) -> str:
        """Structural text: body, operands, known integers. Workloads of equal key have the same kernel."""
        return self._key

    @cached_property
    def _key(self) -> str:
        names: dict[SSAValue, str] = {}
        lines = [self.kind if self.multiplied_as is None else f"{self.kind} multiplied as {self.multiplied_as}"]
        if self.expected_zeros:
            lines[0] += f" of inputs with {self.expected_zeros:.0%} zeros"
        if self.attention_window is not None:
            lines[0] += f" of keys within {self.attention_window}"
        if self.attention_keep is not None:
            lines[0] += f" of {self.attention_keep.share:g} of the keys in blocks of {self.attention_keep.block}"
        integers = _read_at_compile_time(self.body)
        for index, operand in enumerate(self.operands):
            names[operand.value] = f"%{index}"
            lines.append(f"%{index}: {operand.text()}{integers.get(operand.value, '')}")
        for value, array in self.known.items():
            names[value] = f"[{_text(array.reshape(-1))}]:{array.shape}"
        lines += [_op_text(op, names) for op in self.body if not set(op.results) & set(self.inputs)]
        return "\n".join([*lines, "yield " + ", ".join(names[v] for v in self.outputs)])


def once(compute: Callable[[Workload], R]) -> Callable[[Workload], R]:
    """A function of workloads that is computed once for each: several kernels want to know the same."""

    @wraps(compute)
    def remembered(workload: Workload) -> R:
        if compute not in workload.memo:
            workload.memo[compute] = compute(workload)
        found: R = workload.memo[compute]
        return found

    return remembered


def _same_source(a: Expr | str, b: Expr | str) -> bool:
    """Whether two dims are the same one; a name of the IR is the caller's variable of that name."""
    if isinstance(a, Expr) and isinstance(b, Expr):
        return same(a, b)
    names = [v.name if isinstance(v, tirx.Var) else v for v in (a, b)]
    return names[0] == names[1] != "" if all(isinstance(n, str) for n in names) else False


class _Builder:
    """Collects the parts of a workload."""

    def __init__(self, op: Operation, shapes: Mapping[SSAValue, Sequence[Scalar]], known: Known) -> None:
        self.op, self.shapes, self.known = op, shapes, known
        self.symbols = Symbols()
        if isinstance(op, FusionOp):
            *body, end = op.block.ops
            self.body, self.outputs = tuple(body), tuple(end.operands)
            self.arguments: tuple[SSAValue, ...] = tuple(op.block.args)
            self.kind = op.kind.data
            self.given = tuple(op.operands)
        else:
            owners = (v.owner for v in op.operands if is_constant(v))
            constants = dict.fromkeys(owner for owner in owners if isinstance(owner, Operation))
            self.body, self.outputs, self.kind = (*constants, op), tuple(op.results), op.name
            self.given = tuple(dict.fromkeys(v for v in op.operands if not is_constant(v)))
            self.arguments = self.given

    def build(self) -> Workload:
        read = {*(v for v, op, index in _reads(self.body) if not _by_value(op, index)), *self.outputs}
        pairs = [
            (source, argument)
            for source, argument in zip(self.given, self.arguments, strict=True)
            if argument in read and source not in self.known
        ]
        constants = [op.results[0] for op in self.body if is_constant(op.results[0])]
        parameters = _encoding_parameters(self.body) - set(self.outputs)
        pairs += [(v, v) for v in constants if v in read and (v in parameters or not is_scalar(v))]
        return Workload(
            op=self.op,
            body=self.body,
            operands=tuple(self._operand(source, argument) for source, argument in pairs),
            outputs=self.outputs,
            kind=self.kind,
            known=self._known(),
            symbols=self.symbols,
            multiplied_as=dialect.multiplied_as(self.op),
            expected_zeros=dialect.expected_zeros(self.op),
            attention_window=dialect.attention_window(self.op),
            attention_keep=dialect.attention_keep(self.op),
        )

    def _operand(self, source: SSAValue, value: SSAValue) -> Operand:
        shape, type_ = self._shape(source, value), value.type
        return Operand(value, source, shape, element_of(type_), encoding_of(type_), dialect.is_constant(source))

    def _known(self) -> dict[SSAValue, np.ndarray]:
        pairs = zip(self.given, self.arguments, strict=True)
        return {argument: self._symbolic(self.known[source]) for source, argument in pairs if source in self.known}

    def _shape(self, source: SSAValue, value: SSAValue) -> tuple[int | tirx.Var, ...]:
        dims = self.shapes.get(source, dims_of(value.type))
        if dims is None:
            raise UnsupportedOpError(f"the rank of an input of type {value.type} is not known")
        return tuple(self.symbols.size(d) for d in dims)

    def _symbolic(self, array: np.ndarray) -> np.ndarray:
        result = np.empty(array.shape, object)
        for index in np.ndindex(array.shape):
            result[index] = self.symbols.number(array[index])
        return result


def is_constant(value: SSAValue) -> bool:
    """Whether `value` is a constant in the IR itself (weights are not: their data is elsewhere)."""
    return isinstance(value.owner, Operation) and value.owner.name == "onnx.Constant"


def is_scalar(value: SSAValue) -> bool:
    """Whether the static type of `value` has one element."""
    dims = dims_of(value.type)
    return dims is not None and all(d == 1 for d in dims)


def _reads(body: Sequence[Operation]) -> Iterator[tuple[SSAValue, Operation, int]]:
    """What the ops read: each value with its reader, and which operand of that it is."""
    for op in body:
        for index, operand in enumerate(operands_of(op)):
            if operand is not None:
                yield operand, op, index


def _by_value(op: Operation, index: int) -> bool:
    """Whether a lowering reads an operand as compile-time integers, not as a tensor."""
    return op.name in RULES and index in RULES[op.name].value_operands


def _read_at_compile_time(body: Sequence[Operation]) -> dict[SSAValue, str]:
    """The constants of a body that lowerings read as integers, with text of those."""
    return {
        value: f" = {_attributes(value.owner)}"
        for value, op, index in _reads(body)
        if _by_value(op, index) and isinstance(value.owner, Operation) and is_constant(value)
    }


def _encoding_parameters(body: Sequence[Operation]) -> set[SSAValue]:
    """What the ops read as scales and zero points, and as nothing else."""
    reads = [(value, index in encoding_parameters(op)) for value, op, index in _reads(body)]
    return {value for value, _ in reads} - {value for value, is_parameter in reads if not is_parameter}


def _text(elements: Sequence[Scalar] | np.ndarray) -> str:
    return ",".join(e.name if isinstance(e, tirx.Var) else str(e) for e in elements)


def _op_text(op: Operation, names: dict[SSAValue, str]) -> str:
    for result in op.results:
        names[result] = f"%{len(names)}"
    operands = ",".join("_" if v is None else names[v] for v in operands_of(op))
    types = ",".join(str(r.type.element_type) for r in op.results if hasattr(r.type, "element_type"))
    return f"{names[op.results[0]]} = {op.name}({operands}) {{{_attributes(op)}}}: {types}"


def _attributes(op: Operation) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(op.properties.items()) if k != "node")
