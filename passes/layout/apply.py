"""Packing an op: its body becomes unpack -> what it was -> pack, so that only packed tensors flow outside."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import BlockArgument, Operation, SSAValue

from dsc.ir import Fact, FusionOp, Graph, OnnxOp, PackOp, UnpackOp, has, is_constant, packed_type
from dsc.passes.driver import insert_after
from dsc.passes.fuse.outline import single_op_fusion
from dsc.passes.layout.decide import block_of


@dataclass
class Packer:
    """Packs ops of a graph one by one, and knows which values have a packed twin."""

    graph: Graph
    largest: int
    packed: dict[SSAValue, SSAValue] = field(default_factory=dict)
    """By plain value (the result of an unpack, or what a pack reads): the packed one."""

    def has_packed_input(self, op: Operation) -> bool:
        """Whether a tensor that the op reads is at hand packed."""
        return any(value in self.packed for value in op.operands)

    def pack(self, op: Operation) -> FusionOp:
        """Make a fusion that reads and writes packed tensors of an op; plain users get an unpack."""
        fusion = op if isinstance(op, FusionOp) else single_op_fusion(self.graph, op, _kind(op), _name(op))
        for index, value in enumerate(fusion.operands):
            if not is_constant(value) and block_of(value.type, self.largest) is not None:
                fusion.operands[index] = self._packed(value)
                self._unpack_inside(fusion, fusion.block.args[index])
        return self._pack_results(fusion)

    def _packed(self, value: SSAValue) -> SSAValue:
        """The packed twin of a value, made where it is first wanted."""
        if value not in self.packed:
            block = block_of(value.type, self.largest)
            assert block is not None
            pack = PackOp(value, block)
            insert_after(value, pack)
            self.packed[value] = pack.out
        return self.packed[value]

    def _unpack_inside(self, fusion: FusionOp, argument: BlockArgument) -> None:
        plain, block = argument.type, block_of(argument.type, self.largest)
        assert block is not None
        argument._type = packed_type(plain, 1, block)
        unpack = UnpackOp(argument, block)
        argument.replace_uses_with_if(unpack.out, lambda use: use.operation is not unpack)
        first = fusion.block.first_op
        assert first is not None
        fusion.block.insert_op_before(unpack, first)

    def _pack_results(self, fusion: FusionOp) -> FusionOp:
        end = fusion.yield_op
        blocks = [block_of(v.type, self.largest) for v in end.values]
        for index, block in enumerate(blocks):
            if block is not None:
                inner = PackOp(end.operands[index], block)
                fusion.block.insert_op_before(inner, end)
                end.operands[index] = inner.out
                self._unpack_outside(fusion.results[index], inner, block)
        return fusion

    def _unpack_outside(self, result: SSAValue, inner: PackOp, block: int) -> None:
        """Give users of a plain result an unpack of the packed one, until they are packed themselves."""
        result._type = inner.out.type
        unpack = UnpackOp(result, block)
        unpack.out.name_hint = result.name_hint
        result.replace_uses_with_if(unpack.out, lambda use: use.operation is not unpack)
        fusion = result.owner
        assert isinstance(fusion, Operation)
        assert fusion.parent is not None
        fusion.parent.insert_op_after(unpack, fusion)
        self.packed[unpack.out] = result


def _kind(op: Operation) -> str:
    if has(op, Fact.POOL):
        return "pool"
    return "reduction" if has(op, Fact.REDUCTION) else "elementwise"


def _name(op: Operation) -> str:
    return f"{op.onnx_name.lower()}(x)" if isinstance(op, OnnxOp) else op.name
