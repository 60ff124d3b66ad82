"""Rules: pattern / check / rewrite. The first line of a rule's docstring is its equation and its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation, SSAValue

from dsc.ir import Graph, OnnxOp
from dsc.passes.matcher import Binding
from dsc.passes.pattern import Pattern


@dataclass
class Match:
    """A match of a rule's pattern. What the pattern captured are its attributes: `m.x` (a value), `m.conv`
    (an op)."""

    graph: Graph
    root: OnnxOp
    binding: Binding

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __getattr__(self, name: str) -> SSAValue | Operation | None:
            try:
                return self.binding.names[name]
            except KeyError:
                raise AttributeError(f"the pattern captures no {name!r}, but {sorted(self.binding.names)}") from None

    def array(self, name: str) -> np.ndarray:
        """The array of a captured constant; read-only."""
        value = self.binding.names[name]
        found = self.graph.constant(value) if isinstance(value, SSAValue) else None
        assert found is not None, f"{name} is not constant"
        return found

    def emit(self, cls: type[OnnxOp], *operands: SSAValue | None, **attributes: Any) -> Any:
        """Make an op before the root, e.g. `m.emit(onnx.Conv, m.x, w, strides=[1, 1])`; its first result is
        `.out`.

        It keeps the root's node name, so that messages name a node of the user's model.
        """
        op = cls.make(*operands, **({"node": self.root.node or None} | attributes))
        self.insert(op)
        return op

    def like(self, op: OnnxOp, *operands: SSAValue | None, **attributes: Any) -> Any:
        """Make an op of the same kind and attributes as `op`, with other operands (and other attributes)."""
        return self.emit(type(op), *operands, **(op.attrs() | attributes))

    def constant(self, array: np.ndarray, name: str = "weight") -> SSAValue:
        """A constant before the root; its data goes to the weight store when it is large."""
        op = self.graph.make_constant(array, name)
        self.insert(op)
        return op.results[0]

    def insert(self, op: Operation) -> None:
        """Insert an op before the root."""
        block = self.root.parent
        assert block is not None
        if self.root.node and "node" not in op.attributes and isinstance(op, OnnxOp):
            op.attributes["node"] = StringAttr(self.root.node)
        block.insert_op_before(op, self.root)


class Rule(ABC):
    """A local rewrite. Subclass it with a docstring (the equation), a `pattern`, `rewrite`, and maybe a
    `check`."""

    pattern: ClassVar[Pattern]
    inner_values_may_be_used: ClassVar[bool] = False
    """Whether the rule fires when a value inside the pattern is also used elsewhere (then the op that makes
    it stays). By default it does not, so that no work is done twice."""

    @property
    def name(self) -> str:
        """The equation: the first line of the docstring."""
        text = (type(self).__doc__ or type(self).__name__).strip()
        return text.splitlines()[0].rstrip(".")

    def check(self, m: Match) -> str | None:
        """Why the rule must not fire at this match, in a few words ("scale is not per channel"); None if it
        may."""
        return None

    @abstractmethod
    def rewrite(self, m: Match) -> SSAValue | Sequence[SSAValue]:
        """Make the new ops; return what replaces the root's results. The matched ops vanish when nothing uses
        them."""


def guard(rule: Rule, m: Match) -> str | None:
    """Why a match must not be rewritten whatever the rule does: values or weights that others use too."""
    matched = set(m.binding.matched)
    if not rule.inner_values_may_be_used:
        for op in m.binding.matched:
            if op is m.root:
                continue
            for result in op.results:
                if (other := _other_use(result, matched)) is not None:
                    return f"the {op.onnx_name} is used elsewhere: {other}"
    for name in m.binding.owned:
        value = m.binding.names[name]
        if isinstance(value, SSAValue) and (other := _other_use(value, matched)) is not None:
            return f"{name} is shared: {other}"
    return None


def _other_use(value: SSAValue, matched: set[OnnxOp]) -> str | None:
    """Who uses a value outside of the matched ops."""
    for use in value.uses:
        if use.operation not in matched:
            kind = use.operation.name
            return "it is an output of the model" if kind == "func.return" else f"by a {kind.removeprefix('onnx.')}"
    return None
