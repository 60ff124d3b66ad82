"""Data movement: results that have as many elements as their operands, or those of parts of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsc.ir import PackOp, UnpackOp, onnx
from dsc.lower.exprs import Dim, product, quotient
from dsc.lower.ops.scatter import counted_shape
from dsc.lower.registry import Call
from dsc.lower.requirements.requirement import (
    Requirement,
    at_least,
    at_most,
    broadcast,
    equal,
    multiple,
    requires,
    same_shape,
    shape_of,
)
from dsc.lower.tensors import normalize_axis


@requires(onnx.Reshape)
def reshape(call: Call) -> Iterator[Requirement]:
    """As many elements as before; where one dim is to be computed, the others divide them."""
    shape, target = shape_of(call.inputs[0]), list(call.sizes(1))
    if not call.attr("allowzero"):
        for axis, size in enumerate(target):
            if _is(size, 0):
                yield at_most(axis + 1, len(shape), "the dims that the target keeps")
                target[axis] = shape[axis] if axis < len(shape) else 1
    holes = [axis for axis, size in enumerate(target) if _is(size, -1)]
    yield at_most(len(holes), 1, "the dims to be computed")
    if not holes:
        yield equal(product(shape), product(target), "the elements of data and of the target shape")
        return
    given = target[: holes[0]] + target[holes[0] + 1 :]
    for size in given:
        yield at_least(size, 0, "a dim of the target shape")
    # common factors cancel, as they may be 0
    rest = quotient(shape, given)
    yield equal(product(shape), product([rest, *given]), "the elements of data and those that fit the target shape")


def _is(size: Dim, number: int) -> bool:
    return isinstance(size, int) and size == number


@requires(onnx.Squeeze)
def squeeze(call: Call) -> Iterator[Requirement]:
    """What is dropped is 1."""
    shape = shape_of(call.inputs[0])
    for axis in call.integers(1):
        yield equal(shape[axis], 1, f"dim {axis}, which is dropped, and 1")


@requires(onnx.Expand)
def expand(call: Call) -> Iterator[Requirement]:
    """The target broadcasts both ways."""
    yield from broadcast(shape_of(call.inputs[0]), call.sizes(1))


@requires(onnx.Tile)
def tile(call: Call) -> Iterator[Requirement]:
    """Some number of copies along each dim."""
    repeats = call.sizes(1)
    yield equal(len(repeats), len(call.inputs[0].shape), "the number of repeats and the rank")
    for times in repeats:
        yield at_least(times, 0, "a number of repeats")


@requires(onnx.Concat)
def concat(call: Call) -> Iterator[Requirement]:
    """All dims but that of the axis agree."""
    first, *others = (shape_of(x) for x in call.inputs if x is not None)
    axis = normalize_axis(call.attr("axis"), len(first))
    for position, other in enumerate(others, 1):
        yield equal(len(first), len(other), "the ranks of its operands")
        for a, (left, right) in enumerate(zip(first, other, strict=False)):
            if a != axis:
                yield equal(left, right, f"dim {a} of operands 0 and {position}")


@requires(onnx.Split)
def split(call: Call) -> Iterator[Requirement]:
    """The parts make up the whole."""
    sizes = call.sizes(1)
    for size in sizes:
        yield at_least(size, 0, "the size of a part")
    if sizes:
        whole = shape_of(call.inputs[0])[call.attr("axis")]
        yield equal(sum(sizes[1:], sizes[0]), whole, "the sum of the parts and the dim that is split")


@requires(onnx.Pad)
def pad(call: Call) -> Iterator[Requirement]:
    """There is something to repeat or to mirror."""
    shape = shape_of(call.inputs[0])
    pads, axes = call.sizes(1), call.integers(3) or list(range(len(shape)))
    yield equal(len(pads), 2 * len(axes), "the number of pads and twice that of axes")
    if call.attr("mode", "constant") != "constant":
        for k, axis in enumerate(axes):
            if not all(_is(p, 0) for p in (pads[k], pads[k + len(axes)])):
                yield at_least(shape[axis], 1, f"dim {axis}, which is continued,")


@requires(onnx.DepthToSpace)
def depth_to_space(call: Call) -> Iterator[Requirement]:
    """Channels divide into blocks."""
    yield multiple(shape_of(call.inputs[0])[1], call.attr("blocksize") ** 2, "the channels")


@requires(onnx.SpaceToDepth)
def space_to_depth(call: Call) -> Iterator[Requirement]:
    """Height and width divide into blocks."""
    _, _, height, width = shape_of(call.inputs[0])
    for size, what in ((height, "the height"), (width, "the width")):
        yield multiple(size, call.attr("blocksize"), what)


@requires(PackOp)
def pack(call: Call) -> Iterator[Requirement]:
    """The axis divides into blocks."""
    yield multiple(shape_of(call.inputs[0])[call.attr("axis")], call.attr("block"), "the channels")


@requires(UnpackOp)
def unpack(call: Call) -> Iterator[Requirement]:
    """The innermost dim is one block."""
    yield equal(shape_of(call.inputs[0])[-1], call.attr("block"), "the innermost dim and the block")


@requires(onnx.GatherElements)
def gather_elements(call: Call) -> Iterator[Requirement]:
    """An index for each element of a part of data."""
    data, indices = (shape_of(x) for x in call.inputs)
    yield from _inside(indices, data, call.attr("axis"), "the indices")


def _inside(part: Sequence[Dim], whole: Sequence[Dim], axis: int, what: str) -> Iterator[Requirement]:
    """Dims of a part are at most those of the whole, but for one axis."""
    yield equal(len(part), len(whole), f"the ranks of {what} and of data")
    skipped = normalize_axis(axis, len(whole))
    for a, (size, limit) in enumerate(zip(part, whole, strict=False)):
        if a != skipped:
            yield at_most(size, limit, f"dim {a} of {what}")


@requires(onnx.GatherND)
def gather_nd(call: Call) -> Iterator[Requirement]:
    """Batches agree, and index vectors are no longer than data has dims."""
    data, indices = (shape_of(x) for x in call.inputs)
    batch = call.attr("batch_dims")
    yield from same_shape(indices[:batch], data[:batch], "indices and data, in the batch,")
    yield at_most(indices[-1], len(data) - batch, "the length of index vectors")


@requires(onnx.ScatterElements)
def scatter_elements(call: Call) -> Iterator[Requirement]:
    """An update for each index, and those for elements of a part of data."""
    data, indices, updates = (shape_of(x) for x in call.inputs)
    yield from same_shape(updates, indices, "updates and indices")
    yield from _inside(indices, data, call.attr("axis"), "the indices")


@requires(onnx.ScatterND)
def scatter_nd(call: Call) -> Iterator[Requirement]:
    """An update for each index vector, of the shape of what that selects."""
    data, indices, updates = (shape_of(x) for x in call.inputs)
    yield at_most(indices[-1], len(data), "the length of index vectors")
    if isinstance(indices[-1], int):
        yield from same_shape(updates, [*indices[:-1], *data[indices[-1] :]], "updates and what they replace")


@requires(onnx.TensorScatter)
def tensor_scatter(call: Call) -> Iterator[Requirement]:
    """Updates are like the cache, but shorter along the axis; there is a position for each batch."""
    past, update, position = call.inputs
    cache, new = shape_of(past), shape_of(update)
    axis = normalize_axis(call.attr("axis"), len(cache))
    for a, (size, limit) in enumerate(zip(new, cache, strict=True)):
        yield (
            at_most(size, limit, "the update's length")
            if a == axis
            else equal(size, limit, f"dim {a} of the update and of the cache")
        )
    if position is not None:
        yield equal(shape_of(position)[0], cache[0], "the positions and the batch")


@requires(onnx.ReverseSequence)
def reverse_sequence(call: Call) -> Iterator[Requirement]:
    """A length for each of the batch."""
    x, lengths = (shape_of(t) for t in call.inputs)
    yield equal(lengths[0], x[call.attr("batch_axis")], "the lengths and the batch")


@requires(onnx.OneHot)
def one_hot(call: Call) -> Iterator[Requirement]:
    """Values are those for off and on."""
    yield equal(shape_of(call.inputs[2])[0], 2, "the number of values and 2")


@requires(onnx.MaxUnpool)
def max_unpool(call: Call) -> Iterator[Requirement]:
    """A place for each value."""
    x, places, _ = call.inputs
    yield from same_shape(shape_of(places), shape_of(x), "indices and X")
    for axis, (size, limit) in enumerate(zip(counted_shape(call), call.sizes(2), strict=False)):
        yield at_most(size, limit, f"dim {axis} of what was pooled")
