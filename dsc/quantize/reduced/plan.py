"""Which nodes of a float model are to be in half precision, and for all others that could be, why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx

from dsc.check.interface import element_codes
from dsc.elements import ElementType
from dsc.exchange.upgrade import opset_of
from dsc.ir.onnx.facts import Fact, facts_of
from dsc.quantize.calibration import Range
from dsc.quantize.halves import half_form
from dsc.quantize.network import Network
from dsc.quantize.reduced.islands import grown, sums, unfit_constant, unfit_tensor, wide_nodes


class HalfPlan:
    """Decides for each node of a network whether it is in half precision.

    forms: what of a node would be, by its name, of those that can be. refusals: of these, why nodes stay in float32
    whatever is asked for.
    """

    def __init__(
        self,
        network: Network,
        element: ElementType,
        ranges: Mapping[str, Range] | None,
        *,
        required: Collection[str] = (),
        wanted: Collection[str] | None = None,
    ) -> None:
        """ranges: of tensors, as samples show them; None where there are none, and operators alone say what is certain.
        required: nodes that are in half precision if it holds their numbers, sums as well. wanted: others that may be;
        None for all."""
        self.network, self.element, self.required = network, element, required
        self._wanted, self._ranges = wanted, ranges
        codes, opset = element_codes(network.model), opset_of(network.model.opset_import)
        forms = {node.name: half_form(node, codes, opset, element) for node in network.nodes}
        self.forms = {name: form for name, form in forms.items() if form is not None}
        self._wide = wide_nodes(network.model, element) if ranges is None else frozenset()
        refusals = {node.name: self._refusal(node) for node in network.nodes if node.name in self.forms}
        self.refusals = {name: why for name, why in refusals.items() if why is not None}

    def half(self, kept: Collection[str] = ()) -> frozenset[str]:
        """The nodes in half precision where some that could be are kept in float32: those, and what joins them."""
        able = {name for name in self.forms if name not in self.refusals and name not in kept}
        if self._wanted is not None:
            able &= {*self._wanted, *self.required}
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
        if unfit is None and self._ranges is not None:
            unfit = unfit_tensor(self.network, node, form, self._ranges, self.element)
        if unfit is not None or node.name in self.required:
            return unfit
        if sums(node.op_type):
            return "norms, softmax and reductions are in float32"
        return "it may leave the range, and there are no samples to tell" if node.name in self._wide else None
