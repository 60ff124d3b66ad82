"""The dsc dialect, small on purpose: weights, fusions (regions of onnx ops), and changes of layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, StringAttr, SymbolRefAttr, TensorType, f64, i64
from xdsl.ir import Attribute, Block, Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from dsc.errors import UsageError
from dsc.ir.types import DimsAttr, SparseAttr, dims_of, tensor_of_dims

_MULTIPLIED_AS = "multiplied_as"
_EXPECTED_ZEROS = "expected_zeros"
_ATTENTION_WINDOW = "attention_window"
_ATTENTION_KEEP = "attention_keep"
_ATTENTION_BLOCK = "attention_block"


@dataclass(frozen=True)
class KeptKeys:
    """Of an attention whose blocks of queries each attend to some blocks of keys only: what share of them is kept, and
    how many queries, or keys, a block has. Which ones are kept is the last operand of the region."""

    share: float
    block: int


@irdl_op_definition
class WeightOp(IRDLOperation):
    """`dsc.weight @name : tensor<...>`: a constant tensor whose data is in the WeightStore under that
    name."""

    name = "dsc.weight"
    ref = prop_def(SymbolRefAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, weight: str, type_: TensorType[Attribute]):
        super().__init__(properties={"ref": SymbolRefAttr(weight)}, result_types=[type_])

    @property
    def weight(self) -> str:
        """The name in the WeightStore."""
        return self.ref.root_reference.data


def is_constant(value: SSAValue) -> bool:
    """Whether a value is a small constant (`onnx.Constant`) or a weight (`dsc.weight`)."""
    return isinstance(value.owner, Operation) and value.owner.name in ("onnx.Constant", WeightOp.name)


def multiplied_as(op: Operation) -> str | None:
    """The element type to which factors of the products in a fusion or a lone op may be rounded; see
    `dsc.lower.workload.Workload.multiplied_as`."""
    stated = op.attributes.get(_MULTIPLIED_AS)
    return stated.data if isinstance(stated, StringAttr) else None


def set_multiplied_as(op: Operation, element: str) -> None:
    """State it."""
    op.attributes[_MULTIPLIED_AS] = StringAttr(element)


def expected_zeros(op: Operation) -> float:
    """The share of elements that are expected to be 0 of what the product in a fusion or a lone op multiplies by a
    weight; see `dsc.lower.workload.Workload.expected_zeros`."""
    stated = op.attributes.get(_EXPECTED_ZEROS)
    return stated.value.data / 256 if isinstance(stated, IntegerAttr) else 0.0


def set_expected_zeros(op: Operation, share: float) -> None:
    """State it, in 256ths."""
    op.attributes[_EXPECTED_ZEROS] = IntegerAttr(round(share * 256), i64)


def attention_window(op: Operation) -> int | None:
    """How far from a query the keys of an attention may lie, if its body has masked those that lie further; see
    `dsc.lower.workload.Workload.attention_window`."""
    stated = op.attributes.get(_ATTENTION_WINDOW)
    return stated.value.data if isinstance(stated, IntegerAttr) else None


def set_attention_window(op: Operation, window: int) -> None:
    """State it."""
    op.attributes[_ATTENTION_WINDOW] = IntegerAttr(window, i64)


def attention_keep(op: Operation) -> KeptKeys | None:
    """What is kept of the keys of an attention, if its body has masked the others; see
    `dsc.lower.workload.Workload.attention_keep`."""
    share, block = (op.attributes.get(name) for name in (_ATTENTION_KEEP, _ATTENTION_BLOCK))
    if not isinstance(share, FloatAttr) or not isinstance(block, IntegerAttr):
        return None
    return KeptKeys(share.value.data, block.value.data)


def set_attention_keep(op: Operation, kept: KeptKeys) -> None:
    """State it."""
    op.attributes[_ATTENTION_KEEP] = FloatAttr(kept.share, f64)
    op.attributes[_ATTENTION_BLOCK] = IntegerAttr(kept.block, i64)


@irdl_op_definition
class YieldOp(IRDLOperation):
    """`dsc.yield`: ends a fusion or a body of control flow with its results."""

    name = "dsc.yield"
    values = var_operand_def()
    traits = traits_def(IsTerminator(), Pure())

    def __init__(self, *values: SSAValue):
        super().__init__(operands=[list(values)])


@irdl_op_definition
class FusionOp(IRDLOperation):
    """`dsc.fusion`: one kernel's work. The body is its definition; operands are its inputs, weights included.

    `kind` names the family ("conv", "attention", ...), `rule` the equation of the rule that formed it.
    """

    name = "dsc.fusion"
    inputs = var_operand_def()
    outputs = var_result_def()
    kind = prop_def(StringAttr)
    rule = opt_prop_def(StringAttr)
    body = region_def()
    traits = traits_def(IsolatedFromAbove(), RecursiveMemoryEffect())

    def __init__(
        self,
        kind: str,
        inputs: Sequence[SSAValue],
        result_types: Sequence[Attribute],
        body: Region,
        rule: str | None = None,
    ):
        super().__init__(
            operands=[list(inputs)],
            result_types=[list(result_types)],
            properties={"kind": StringAttr(kind), "rule": StringAttr(rule) if rule else None},
            regions=[body],
        )

    @property
    def block(self) -> Block:
        """The only block of the body: its arguments are the inputs, its last op is the `dsc.yield`."""
        return self.body.block

    @property
    def yield_op(self) -> YieldOp:
        """The terminator of the body."""
        last = self.block.last_op
        assert isinstance(last, YieldOp)
        return last

    def verify_(self) -> None:
        if len(self.body.blocks) != 1:
            raise VerifyException("the body of a fusion is one block")
        if not isinstance(self.block.last_op, YieldOp):
            raise VerifyException("the body of a fusion ends with dsc.yield")
        _same_types("inputs", [v.type for v in self.inputs], [a.type for a in self.block.args])
        _same_types("results", [v.type for v in self.outputs], [v.type for v in self.yield_op.values])


def _same_types(what: str, outside: Sequence[Attribute], inside: Sequence[Attribute]) -> None:
    if len(outside) != len(inside):
        raise VerifyException(f"{len(outside)} {what} outside, {len(inside)} inside the body")
    for i, (a, b) in enumerate(zip(outside, inside, strict=True)):
        if a != b:
            raise VerifyException(f"{what} {i} is {a} outside, {b} inside the body")


class _LayoutOp(IRDLOperation):
    """What pack and unpack share: `axis` (the channels, 1) and `block`, which divides them."""

    def verify_(self) -> None:
        plain, packed = self.operands[0].type, self.results[0].type
        if isinstance(self, UnpackOp):
            plain, packed = packed, plain
        expected = packed_type(plain, self.axis_index, self.block_size)
        if packed != expected:
            raise VerifyException(f"{plain} packed is {expected}, not {packed}")

    @property
    def axis_index(self) -> int:
        """The dim that is split."""
        return int(self.properties["axis"].value.data)  # type: ignore[attr-defined]

    @property
    def block_size(self) -> int:
        """How many of its elements lie innermost."""
        return int(self.properties["block"].value.data)  # type: ignore[attr-defined]


@irdl_op_definition
class PackOp(_LayoutOp):
    """`dsc.pack {axis = 1, block = b}`: NCHW to NC/b HW b, for any rank >= 2."""

    name = "dsc.pack"
    source = operand_def(TensorType)
    out = result_def(TensorType)
    axis = prop_def(IntegerAttr)
    block = prop_def(IntegerAttr)
    traits = traits_def(Pure())

    def __init__(self, source: SSAValue, block: int, axis: int = 1):
        super().__init__(
            operands=[source],
            result_types=[packed_type(source.type, axis, block)],
            properties={"axis": IntegerAttr(axis, i64), "block": IntegerAttr(block, i64)},
        )


@irdl_op_definition
class UnpackOp(_LayoutOp):
    """`dsc.unpack {axis = 1, block = b}`: the inverse of dsc.pack."""

    name = "dsc.unpack"
    source = operand_def(TensorType)
    out = result_def(TensorType)
    axis = prop_def(IntegerAttr)
    block = prop_def(IntegerAttr)
    traits = traits_def(Pure())

    def __init__(self, source: SSAValue, block: int, axis: int = 1):
        super().__init__(
            operands=[source],
            result_types=[unpacked_type(source.type, axis, block)],
            properties={"axis": IntegerAttr(axis, i64), "block": IntegerAttr(block, i64)},
        )


def packed_type(type_: Attribute, axis: int, block: int) -> TensorType[Attribute]:
    """The type after `dsc.pack`. Raises UsageError where `block` does not divide the dim, or it is
    dynamic."""
    dims = dims_of(type_)
    size = dims[axis] if dims is not None and 0 <= axis < len(dims) else ""
    if dims is None or not isinstance(size, int) or size % block:
        raise UsageError(f"{type_} cannot be packed by {block} along dim {axis}: its size is not a known multiple")
    assert isinstance(type_, TensorType)
    packed = [*dims[:axis], size // block, *dims[axis + 1 :], block]
    return tensor_of_dims(type_.element_type, packed)


def unpacked_type(type_: Attribute, axis: int, block: int) -> TensorType[Attribute]:
    """The type after `dsc.unpack`. Raises UsageError where the innermost dim is not `block`."""
    dims = dims_of(type_)
    if dims is None or not 0 <= axis < len(dims) - 1 or isinstance(dims[axis], str) or dims[-1] != block:
        raise UsageError(f"{type_} cannot be unpacked by {block} along dim {axis}: its innermost dim is not {block}")
    assert isinstance(type_, TensorType)
    plain = [*dims[:axis], dims[axis] * block, *dims[axis + 1 : -1]]
    return tensor_of_dims(type_.element_type, plain)


DIALECT = Dialect("dsc", [WeightOp, YieldOp, FusionOp, PackOp, UnpackOp], [DimsAttr, SparseAttr])
