"""Sums of products: what is multiplied is of one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tvm import te

from dsc.ir import onnx
from dsc.lower.exprs import Dim, product
from dsc.lower.ops.einsum import parse
from dsc.lower.registry import Call
from dsc.lower.requirements.requirement import (
    Relation,
    Requirement,
    at_most,
    broadcast,
    equal,
    multiple,
    one_way,
    requires,
    same_shape,
    shape_of,
)


@requires(onnx.MatMul, onnx.MatMulInteger)
def matmul(call: Call) -> Iterator[Requirement]:
    """The inner dims agree, those before the matrices broadcast; zero points are of rows of A and columns of B."""
    a, b = (shape_of(x) for x in call.inputs[:2])
    yield from _product(a, b)
    if call.name == "MatMulInteger":
        a_zero, b_zero = call.inputs[2:]
        yield from _of_matrix(a_zero, a, -2, "A's zero point")
        yield from _of_matrix(b_zero, b, -1, "B's zero point")


def _product(a: Sequence[Dim], b: Sequence[Dim]) -> Iterator[Requirement]:
    yield equal(a[-1], b[-2] if len(b) > 1 else b[-1], "the inner dims of A and B")
    yield from broadcast(a[:-2], b[:-2])


def _of_matrix(parameter: te.Tensor | None, matrix: Sequence[Dim], axis: int, what: str) -> Iterator[Requirement]:
    """One number, one for each row or column, or a tensor in which the other axis is 1."""
    if parameter is None:
        return
    shape = shape_of(parameter)
    if all(isinstance(d, int) and d == 1 for d in shape):
        return
    if len(shape) == 1:
        yield equal(shape[0], matrix[axis] if len(matrix) > 1 else 1, f"the lengths of {what} and of its axis")
    else:
        wanted = [1 if a == (-3 - axis) % len(matrix) else d for a, d in enumerate(matrix)]
        yield from same_shape(shape, wanted, what)


@requires(onnx.QLinearMatMul)
def qlinear_matmul(call: Call) -> Iterator[Requirement]:
    """As MatMulInteger; scales are like zero points, those of the result single numbers."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = call.inputs
    left, right = shape_of(a), shape_of(b)
    yield from _product(left, right)
    for parameter, what in ((a_scale, "A's scale"), (a_zero, "A's zero point")):
        yield from _of_matrix(parameter, left, -2, what)
    for parameter, what in ((b_scale, "B's scale"), (b_zero, "B's zero point")):
        yield from _of_matrix(parameter, right, -1, what)
    for parameter, what in ((y_scale, "the result's scale"), (y_zero, "the result's zero point")):
        yield equal(product(shape_of(parameter)), 1, f"the elements of {what} and 1")


@requires(onnx.Gemm)
def gemm(call: Call) -> Iterator[Requirement]:
    """The inner dims agree; C is repeated to the shape of the product."""
    a, b, c = call.inputs
    left, right = shape_of(a), shape_of(b)
    left = left[::-1] if call.attr("transA") else left
    right = right[::-1] if call.attr("transB") else right
    yield equal(left[1], right[0], "the inner dims of A and B")
    if c is not None:
        yield from one_way(shape_of(c), [left[0], right[1]], "C")


@requires(onnx.Conv, onnx.ConvInteger, onnx.QLinearConv)
def conv(call: Call) -> Iterator[Requirement]:
    """Channels of X are those of a filter for each group; filters divide into groups; the bias has one for each."""
    x, w, *rest = call.inputs
    if call.name == "QLinearConv":
        x, _, _, w, w_scale, w_zero, y_scale, y_zero, bias = call.inputs
        yield from _of_filters(w_scale, shape_of(w), "the filters' scale")
        yield from _of_filters(w_zero, shape_of(w), "the filters' zero point")
        for single, what in ((y_scale, "the result's scale"), (y_zero, "the result's zero point")):
            yield equal(product(shape_of(single)), 1, f"the elements of {what} and 1")
    elif call.name == "ConvInteger":
        bias = None
        yield from _of_filters(rest[1], shape_of(w), "the filters' zero point")
    else:
        (bias,) = rest
    image, filters, group = shape_of(x), shape_of(w), call.attr("group")
    yield equal(len(image), len(filters), "the ranks of X and W")
    yield equal(image[1], filters[1] * group, f"the channels of X and {group} times those of a filter of W")
    yield multiple(filters[0], group, "the filters of W, in groups,")
    if bias is not None:
        yield equal(shape_of(bias)[0], filters[0], "the length of the bias and the filters of W")


def _of_filters(parameter: te.Tensor | None, filters: Sequence[Dim], what: str) -> Iterator[Requirement]:
    shape = [1] if parameter is None else shape_of(parameter)
    if len(shape) == 1 and not (isinstance(shape[0], int) and shape[0] == 1):
        yield equal(shape[0], filters[0], f"the length of {what} and the filters of W")


@requires(onnx.ConvTranspose)
def conv_transpose(call: Call) -> Iterator[Requirement]:
    """Channels of X are the filters of W, which divide into groups; the bias has one for each channel of the result."""
    x, w, bias = call.inputs
    image, filters, group = shape_of(x), shape_of(w), call.attr("group")
    yield equal(len(image), len(filters), "the ranks of X and W")
    yield equal(image[1], filters[0], "the channels of X and the filters of W")
    yield multiple(filters[0], group, "the filters of W, in groups,")
    if bias is not None:
        yield equal(shape_of(bias)[0], filters[1] * group, "the length of the bias and the channels of the result")


@requires(onnx.Col2Im)
def col2im(call: Call) -> Iterator[Requirement]:
    """A column for each place of the block in the image, of the elements of blocks of all channels."""
    image, block = call.sizes(1), call.integers(2)
    rank = len(block)
    strides, dilations = (call.attr(name) or [1] * rank for name in ("strides", "dilations"))
    pads = call.attr("pads") or [0] * (2 * rank)
    counts = [
        (size + pads[a] + pads[a + rank] - (block[a] - 1) * dilations[a] - 1) // strides[a] + 1
        for a, size in enumerate(image)
    ]
    _, depth, columns = shape_of(call.inputs[0])
    yield multiple(depth, product(block), "the rows of the columns")
    yield equal(columns, product(counts), "the columns and the places of the block")


@requires(onnx.Einsum)
def einsum(call: Call) -> Iterator[Requirement]:
    """Dims of one label agree, or are 1."""
    terms, _ = parse(call.attr("equation"), [len(x.shape) for x in call.inputs])
    seen: dict[str, list[Dim]] = {}
    for x, term in zip(call.inputs, terms, strict=True):
        for label, size in zip(term, shape_of(x), strict=True):
            for other in seen.setdefault(label, []):
                if not any(isinstance(d, int) and d == 1 for d in (size, other)):
                    yield Requirement(other, Relation.BROADCAST, size, f"the dims of label '{label}'")
            seen[label].append(size)


@requires(onnx.Det)
def det(call: Call) -> Iterator[Requirement]:
    """Matrices are square."""
    *_, rows, columns = shape_of(call.inputs[0])
    yield equal(rows, columns, "the rows and columns of a matrix")


@requires(onnx.TopK)
def top_k(call: Call) -> Iterator[Requirement]:
    """There are k elements to choose."""
    shape = shape_of(call.inputs[0])
    yield at_most(call.sizes(1)[0], shape[call.attr("axis")], "k")
