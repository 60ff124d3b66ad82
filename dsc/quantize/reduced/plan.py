"""Which nodes of a float model are to be in half precision, and for all others that could be, why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import onnx

from dsc.check.interface import element_codes
from dsc.elements import ElementType
from dsc.exchange.upgrade import opset_of
from dsc.ir.onnx.facts import Fact, facts_of
from dsc.quantize.calibration import Range
from dsc.quantize.halves import HalfForm, half_form
from dsc.quantize.network import Network
from dsc.quantize.reduced.islands import grown, sums, unfit_constant, unfit_tensor, wide_nodes


@dataclass
class HalfPlan:
    """Decides for each node of a network; what rules say of it comes first.

    required: nodes that are in half precision if they can be, sums as well. wanted: those that may be; None for all.
    ranges: of tensors as samples show them; None where there are none, and operators alone say what is certain.
    refusals: why nodes stay in float32, by name, for those that have a form and an operand of float32.
    """

    network: Network
    element: ElementType
    required: Collection[str]
    wanted: Collection[str] | None
    ranges: Mapping[str, Range] | None
    forms: dict[str, HalfForm] = field(init=False)
    refusals: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        model = self.network.model
        codes, opset = element_codes(model), opset_of(model.opset_import)
        found = {node.name: half_form(node, codes, opset, self.element) for node in self.network.nodes}
        self.forms = {name: form for name, form in found.items() if form is not None}
        self._wide = wide_nodes(model, self.element) if self.ranges is None else frozenset()
        refusals = {node.name: self._refusal(node) for node in self.network.nodes if node.name in self.forms}
        self.refusals = {name: why for name, why in refusals.items() if why is not None}

    def half(self, kept: Collection[str] = ()) -> frozenset[str]:
        """The nodes in half precision where some that could be are kept in float32: those, and what joins them."""
        able = {name for name in self.forms if name not in self.refusals and name not in kept}
        if self.wanted is not None:
            able &= {*self.wanted, *self.required}
        return grown(self.network, able, self.forms, self.required)

    def rounds(self, node: onnx.NodeProto) -> bool:
        """Whether a node in half precision rounds: it does more than hand on elements of what it reads, or they are
        constants."""
        form = self.forms.get(node.name)
        is_table = form is not None and all(self.network.is_constant(node.input[i]) for i in form.operands)
        return is_table or Fact.EXACT not in facts_of(node.op_type)

    def _refusal(self, node: onnx.NodeProto) -> str | None:
        form = self.forms[node.name]
        unfit = unfit_constant(self.network, node, form, self.element)
        if unfit is None and self.ranges is not None:
            unfit = unfit_tensor(self.network, node, form, self.ranges, self.element)
        if unfit is not None or node.name in self.required:
            return unfit
        if sums(node.op_type):
            return "norms, softmax and reductions are in float32"
        return "it may leave the range, and there are no samples to tell" if node.name in self._wide else None
