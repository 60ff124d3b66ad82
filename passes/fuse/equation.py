"""The equation of a group, for reports: "relu(conv(x, w, b) + r)"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from dsc.ir import OnnxOp, is_constant
from dsc.passes.fuse.roles import is_elementwise

_INFIX = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "MatMul": "@", "Pow": "^"}
_LONGEST = 120


def equation(ops: Sequence[Operation], outputs: Sequence[SSAValue], anchor: Operation | None = None) -> str:
    """The outputs as expressions; a value used more than once is named y and said after. Long ones are
    counted."""
    text = _Writer(ops, anchor).write(outputs)
    if len(text) > _LONGEST:
        what = f"{anchor.onnx_name.lower()} and " if isinstance(anchor, OnnxOp) else ""
        return f"{what}{len(ops) - bool(anchor)} elementwise ops"
    return text


class _Writer:
    def __init__(self, ops: Sequence[Operation], anchor: Operation | None):
        self.anchor = anchor
        self.inside = set(ops)
        uses = Counter(v for op in ops for v in op.operands)
        self.shared = [r for op in ops for r in op.results if uses[r] > 1]
        self.inputs: dict[SSAValue, str] = {}

    def write(self, outputs: Sequence[SSAValue]) -> str:
        parts = [self._expression(v) for v in outputs]
        named = [f"{self._name(v)} = {self._expression(v)}" for v in self.shared if v not in outputs]
        return ", ".join([*parts, *named])

    def _name(self, value: SSAValue) -> str:
        return "y" if len(self.shared) == 1 else f"y{self.shared.index(value)}"  # type: ignore[arg-type]

    def _value(self, value: SSAValue, nested: bool = False) -> str:
        if value in self.shared:
            return self._name(value)
        if value.owner in self.inside:
            text = self._expression(value)
            return f"({text})" if nested and " " in text and not text.endswith(")") else text
        if value not in self.inputs:
            self.inputs[value] = "c" if is_constant(value) else ("xrstuv"[min(len(self.inputs), 5)])
        return self.inputs[value]

    def _expression(self, value: SSAValue) -> str:
        op = value.owner
        assert isinstance(op, OnnxOp)
        if op is self.anchor and op.onnx_name != "MatMul":
            return f"{op.onnx_name.lower()}({', '.join(self._anchor_operands(op))})"
        if op.onnx_name in _INFIX and len(op.operands) == 2:
            a, b = (self._value(v, nested=True) for v in op.operands)
            return f"{a} {_INFIX[op.onnx_name]} {b}"
        tensors = [v for v in op.operands if not is_constant(v)] if is_elementwise(op) else list(op.operands)[:1]
        return f"{op.onnx_name.lower()}({', '.join(self._value(v) for v in tensors)})"

    def _anchor_operands(self, op: OnnxOp) -> list[str]:
        """Weights by their schema names, other operands as values."""
        names = [p.name.lower() for p in op.onnx_schema.inputs]
        pairs = zip(op.node_inputs(), names, strict=False)
        return [n if is_constant(v) or len(n) > 1 else self._value(v) for v, n in pairs if v is not None]
