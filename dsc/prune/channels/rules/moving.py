"""Operators that move elements, and leave indices of dims together."""

from __future__ import annotations

import numpy as np
import onnx

from dsc.prune.channels.coupling import Coupling
from dsc.prune.channels.rules.joining import align, along
from dsc.prune.channels.slices import ends_of
from dsc.quantize.network import attribute


def transpose(node: onnx.NodeProto, coupling: Coupling) -> None:
    """The dims in another order."""
    data, result = coupling.operand(node, 0), coupling.result(node)
    order = next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(len(data)))[::-1])
    for dim, source in zip(result, order, strict=True):
        coupling.join(dim, data[source], node.name)


def split(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Along its axis the results' indices one after the other."""
    data = coupling.operand(node, 0)
    axis = attribute(node, "axis", 0) % len(data)
    results = [coupling.result(node, index) for index in range(len(node.output))]
    for result in results:
        for at, dim in enumerate(result):
            if at != axis:
                coupling.join(dim, data[at], node.name)
    along(coupling, data[axis], [result[axis] for result in results], node.name)


def slice_(node: onnx.NodeProto, coupling: Coupling) -> None:
    """What is left of a dim has its indices there; ends must be constants, and steps 1, for a dim that is cut."""
    data, result = coupling.operand(node, 0), coupling.result(node)
    coupling.pin_operands(node, 1, f"{node.name}: what it cuts is told by it")
    ends = ends_of(node, coupling.network, [dim.size for dim in data])
    if ends is None:
        coupling.pin([*data, *result], f"{node.name}: what it cuts is not known before it runs")
        return
    for axis, (dim, cut) in enumerate(zip(data, result, strict=True)):
        if axis not in ends:
            coupling.join(dim, cut, node.name)
        elif not (dim.known and cut.known) or ends[axis].step != 1:
            coupling.pin([dim, cut], f"{node.name} cuts it in steps, or where it is not known")
        else:
            coupling.join_atoms(dim.atoms[ends[axis]], cut.atoms)


def gather(node: onnx.NodeProto, coupling: Coupling) -> None:
    """The dim that is looked up stays, as do those of what looks it up."""
    data, wanted = coupling.operand(node, 0), coupling.operand(node, 1)
    axis = attribute(node, "axis", 0) % len(data)
    result = coupling.result(node)
    coupling.pin([data[axis], *wanted, *result[axis : axis + len(wanted)]], f"{node.name} looks it up by numbers")
    kept = (*result[:axis], *result[axis + len(wanted) :])
    for dim, other in zip((*data[:axis], *data[axis + 1 :]), kept, strict=True):
        coupling.join(dim, other, node.name)


def pad(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Dims that grow stay as they are."""
    data, result = coupling.operand(node, 0), coupling.result(node)
    coupling.pin_operands(node, 1, f"{node.name}: what it pads is told by it")
    pads = next((np.array(a.ints) for a in node.attribute if a.name == "pads"), None)
    if pads is None and len(node.input) < 4 and len(node.input) > 1:
        pads = coupling.network.constant(node.input[1])
    if pads is None or pads.size != 2 * len(data):
        coupling.pin([*data, *result], f"{node.name}: what it pads is not known before it runs")
        return
    for dim, grown, *ends in zip(data, result, pads[: len(data)], pads[len(data) :], strict=True):
        if any(ends):
            coupling.pin([dim, grown], f"{node.name} pads it")
        else:
            coupling.join(dim, grown, node.name)


def resize(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Batches and channels stay as they are where sizes are told as factors; places stay."""
    data, result = coupling.operand(node, 0), coupling.result(node)
    coupling.pin_operands(node, 1, f"{node.name}: what it resizes is told by it")
    coupling.pin([*data[2:], *result[2:]], f"{node.name} resizes it")
    if len(node.input) > 3 and node.input[3]:
        coupling.pin([*data, *result], f"{node.name} has sizes, and no factors")
    align(coupling, data[:2], result[:2], f"{node.name} resizes it")


def shape(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Sizes that something reads stay as they are."""
    coupling.pin(coupling.result(node), f"{node.name}: sizes")
    data = coupling.operand(node, 0)
    coupling.pin([data[axis] for axis in _read(node, coupling, len(data))], f"{node.name} reads its size")


def _read(node: onnx.NodeProto, coupling: Coupling, rank: int) -> set[int]:
    """The dims whose sizes are read: those that Gathers pick, or all."""
    found: set[int] = set()
    for reader in coupling.network.consumers[node.output[0]]:
        picked = coupling.network.constant(reader.input[1]) if reader.op_type == "Gather" else None
        if picked is None or any(a.name in ("start", "end") for a in node.attribute):
            return set(range(rank))
        found |= {int(index) % rank for index in picked.reshape(-1)}
    return found | (set(range(rank)) if node.output[0] in coupling.network.outputs else set())


RULES = {
    "Gather": gather,
    "Pad": pad,
    "Resize": resize,
    "Shape": shape,
    "Slice": slice_,
    "Split": split,
    "Transpose": transpose,
    "Upsample": resize,
}
