"""What operators say of the dims of their operands and results.

An operator without a rule here keeps all of its dims as they are, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import onnx

from dsc.ir.onnx.facts import Fact, facts_of
from dsc.prune.channels.coupling import Coupling
from dsc.prune.channels.dims import UnknownRankError, Use
from dsc.prune.channels.rules import joining, moving, products, reducing, views
from dsc.quantize.network import Network

Rule: TypeAlias = Callable[[onnx.NodeProto, Coupling], None]

RULES: Mapping[str, Rule] = {
    **joining.RULES,
    **moving.RULES,
    **products.RULES,
    **reducing.RULES,
    **views.RULES,
}
"""By operator; those that work on each element by itself are known by `Fact.ELEMENTWISE`."""


def coupled(network: Network) -> Coupling:
    """What the whole model says: inputs and outputs stay as they are."""
    found = Coupling(network)
    for name in network.inputs:
        found.pin_tensor(name, f"{name} is an input of the model")
    for name in network.outputs:
        found.pin_tensor(name, f"{name} is an output of the model")
    for node in network.nodes:
        _apply(node, found)
    _join_readings(found)
    found.settle()
    return found


def _join_readings(coupling: Coupling) -> None:
    """A weight that several products read stays one: copies would make the model larger."""
    first: dict[str, Use] = {}
    for use in dict.fromkeys(contraction.weight for contraction in coupling.contractions):
        other = first.setdefault(coupling.name_of(use), use)
        for some, dim in zip(coupling.dims_of(other), coupling.dims_of(use), strict=True):
            coupling.join(some, dim, f"{use.node} reads the weight of {other.node}")


def _apply(node: onnx.NodeProto, coupling: Coupling) -> None:
    domain = node.domain in ("", "ai.onnx")
    rule = RULES.get(node.op_type) if domain else None
    if rule is None and domain and Fact.ELEMENTWISE in facts_of(node.op_type):
        rule = joining.elementwise
    if rule is None:
        name = node.op_type if domain else f"{node.domain}.{node.op_type}"
        coupling.pin_all(node, f"{node.name}: what {name} does to dims is not known")
        return
    try:
        rule(node, coupling)
    except UnknownRankError as error:
        coupling.pin_all(node, f"{node.name}: nothing is known of the dims of {error}")
