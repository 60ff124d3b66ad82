"""The operand of a Reshape or an Expand that tells dims: a constant, or a Concat of which some parts are."""

from __future__ import annotations

import onnx

from dsc.quantize.network import Network


def stated(node: onnx.NodeProto, network: Network, rank: int) -> list[bool]:
    """Of each dim of the result, whether a constant tells it, that can be another."""
    if network.is_constant(node.input[1]):
        return [True] * rank
    parts = parts_of(node, network)
    return [network.is_constant(name) for name in parts] if len(parts) == rank else [False] * rank


def parts_of(node: onnx.NodeProto, network: Network) -> list[str]:
    """What a Concat puts together to the operand, where each is one number as far as it is constant."""
    concat = network.producers.get(node.input[1])
    if concat is None or concat.op_type != "Concat":
        return []
    arrays = [network.constant(name) for name in concat.input]
    return list(concat.input) if all(array is None or array.size == 1 for array in arrays) else []
