"""What an upgrade rule may do to a node: change it in place, and put nodes before or after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.errors import UnsupportedModelError


@dataclass
class Edit:
    """One node on its way to the canonical opset.

    ranks: of the values whose rank is known. fresh: makes names that the model does not have. given: element types
    (`TensorProto.DataType`) of the model's inputs and initializers.
    """

    node: onnx.NodeProto
    ranks: Mapping[str, int]
    fresh: Callable[[str], str]
    given: Mapping[str, int] = field(default_factory=dict)
    before: list[onnx.NodeProto] = field(default_factory=list)
    after: list[onnx.NodeProto] = field(default_factory=list)

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute (bytes as str)."""
        for a in self.node.attribute:
            if a.name == name:
                value = onnx.helper.get_attribute_value(a)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def pop(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, which is then removed."""
        value = self.attribute(name, default)
        kept = [a for a in self.node.attribute if a.name != name]
        del self.node.attribute[:]
        self.node.attribute.extend(kept)
        return value

    def put(self, name: str, value: Any) -> None:
        """Set an attribute."""
        self.pop(name)
        self.node.attribute.append(onnx.helper.make_attribute(name, value))

    def set_input(self, index: int, name: str) -> None:
        """Set an input by position; those skipped are absent."""
        while len(self.node.input) <= index:
            self.node.input.append("")
        self.node.input[index] = name

    def constant(self, array: np.ndarray | np.generic) -> str:
        """The name of a new constant."""
        return self.emit("Constant", [], value=onnx.numpy_helper.from_array(np.asarray(array)))

    def int64s(self, values: Any) -> str:
        """The name of a new int64 constant."""
        return self.constant(np.asarray(values, np.int64))

    def emit(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        """Put a node of one output before this one; the name of its output."""
        name = self.fresh(f"{self.node.output[0]}_{op_type.lower()}")
        self.before.append(onnx.helper.make_node(op_type, inputs, [name], name=self.node.name, **attributes))
        return name

    def emit_all(self, op_type: str, inputs: list[str], outputs: list[str]) -> None:
        """Put a node of these outputs before this one."""
        self.before.append(onnx.helper.make_node(op_type, inputs, outputs, name=self.node.name))

    def become(self, op_type: str, *inputs: str) -> None:
        """Turn the node into one of ONNX's domain, without attributes, with its first output."""
        self.node.domain, self.node.op_type = "", op_type
        del self.node.attribute[:]
        del self.node.output[1:]
        del self.node.input[:]
        self.node.input.extend(inputs)

    def rename_output(self) -> tuple[str, str]:
        """Give the first output a fresh name, so that a node after this one can define the old one: (new,
        old).
        """
        old = self.node.output[0]
        self.node.output[0] = self.fresh(old)
        return self.node.output[0], old

    def refuse(self, why: str) -> UnsupportedModelError:
        """The error for a node that cannot be brought to the canonical opset."""
        label = f" ({self.node.name!r})" if self.node.name else f" (that makes {self.node.output[0]!r})"
        return UnsupportedModelError(f"{self.node.op_type}{label}: {why}")


Rule = Callable[[Edit], None]
RULES: dict[str, list[tuple[int, Rule]]] = {}
"""For each operator its rules by ascending opset."""


def upgrade(*op_types: str, to: int) -> Callable[[Rule], Rule]:
    """Declare a rule that rewrites a node of an opset before `to` as one of opset `to`."""

    def declare(rule: Rule) -> Rule:
        for op_type in op_types:
            RULES.setdefault(op_type, []).append((to, rule))
            RULES[op_type].sort(key=lambda entry: entry[0])
        return rule

    return declare
