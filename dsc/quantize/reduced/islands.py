"""Which nodes stay in float32 so that the others may be in half precision, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx

from dsc.elements import ElementType
from dsc.exchange import import_model
from dsc.ir import OnnxOp, is_constant
from dsc.ir.onnx.facts import Fact, facts_of
from dsc.passes.precision.constants import Fit, fit, is_float32
from dsc.passes.precision.ranges import Range as Certainty
from dsc.passes.precision.ranges import Ranges
from dsc.quantize.calibration import Range
from dsc.quantize.halves import HalfForm, largest
from dsc.quantize.network import Network

_HEADROOM = 2
"""Other inputs may go so many times as far as those seen."""
_SUMS = frozenset(
    """
    AveragePool BatchNormalization CumSum GlobalAveragePool GlobalLpPool LRN LpPool MeanVarianceNormalization
    """.split()
)
"""What sums many numbers, or divides by the root of a sum, and is no product; beside norms, softmax and reductions."""
_FACTORS = 2
"""Operands of a product that are multiplied; a bias may be as small as it likes."""


def sums(op: str) -> bool:
    """Whether an operator is of those that float32 is for: norms, softmax, reductions."""
    facts = facts_of(op)
    return (
        op in _SUMS
        or bool({Fact.NORMALIZATION, Fact.SOFTMAX} & facts)
        or (Fact.REDUCTION in facts and Fact.EXACT not in facts)
    )


def unfit_constant(network: Network, node: onnx.NodeProto, form: HalfForm, element: ElementType) -> str | None:
    """Why a constant of a node cannot be in half precision, in words; None where all can."""
    is_product = bool({Fact.PRODUCT, Fact.CONVOLUTION} & facts_of(node.op_type))
    for index in form.operands:
        array = network.constant(node.input[index])
        if array is None:
            continue
        found = fit(array, element.dtype)
        magnitude = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
        constant = f"its constant {node.input[index]}"
        if found is Fit.BEYOND:
            return f"{constant} reaches {magnitude:.3g}: {_end(element)}"
        if found is Fit.TINY and (index < _FACTORS or not is_product):
            return f"{constant} is {magnitude:.3g} at most: {element.dtype.name} has few digits for that, or none"
    return None


def unfit_tensor(
    network: Network, node: onnx.NodeProto, form: HalfForm, ranges: Mapping[str, Range], element: ElementType
) -> str | None:
    """Why what a node reads or gives cannot be in half precision, as samples show it; None where it can."""
    names = [*(node.input[index] for index in form.operands), *(node.output[index] for index in form.results)]
    for name in names:
        if name not in ranges or network.is_constant(name):
            continue
        magnitude = max(-ranges[name].low, ranges[name].high)
        if magnitude * _HEADROOM > largest(element):
            return f"{name} reaches {magnitude:.3g} in the samples: {_end(element)}"
    return None


def wide_nodes(model: onnx.ModelProto, element: ElementType) -> frozenset[str]:
    """The nodes that read or make what may leave the range, as far as operators alone tell: for want of samples."""
    graph = import_model(model)
    ranges, found = Ranges(graph, element.dtype), set()
    for op in graph.ops():
        values = [value for value in (*op.operands, *op.results) if is_float32(value) and not is_constant(value)]
        if isinstance(op, OnnxOp) and any(ranges.of(value) is Certainty.WIDE for value in values):
            found.add(op.node)
    return frozenset(found)


def _end(element: ElementType) -> str:
    return f"{element.dtype.name} ends at {largest(element):.4g}"


def grown(
    network: Network, half: Collection[str], forms: Mapping[str, HalfForm], fixed: Collection[str]
) -> frozenset[str]:
    """The nodes that are left in half precision when what lies within or beside an island has joined it.

    An elementwise node, or one that moves elements, is float32 where all that it computes on is, where all that read it
    are, or where it lies between two of an island, as the difference from the mean does in a norm: it would round for
    nothing. Looking something up in a constant table does not. fixed: nodes that join none.
    """
    left = set(half)
    while True:
        joining = {
            node.name
            for node in network.nodes
            if node.name in left and node.name not in fixed and _joins(network, node, forms, left)
        }
        if not joining:
            return frozenset(left)
        left -= joining


def _joins(network: Network, node: onnx.NodeProto, forms: Mapping[str, HalfForm], half: Collection[str]) -> bool:
    if not {Fact.ELEMENTWISE, Fact.EXACT} & facts_of(node.op_type):
        return False
    form = forms[node.name]
    computed = [node.input[i] for i in form.operands if not network.is_constant(node.input[i])]
    if not computed:
        return False  # a table, which is half as large
    makers = [maker.name if (maker := network.producers.get(name)) else "" for name in computed]
    results = [node.output[i] for i in form.results]
    readers = [reader.name for name in results for reader in network.consumers[name]]
    is_output = any(name in network.outputs for name in results)
    starts = not any(name in half for name in makers)
    ends = bool(readers) and not is_output and not any(name in half for name in readers)
    is_between = all(any(name in forms and name not in half for name in names) for names in (makers, readers))
    return starts or ends or is_between
