"""Layouts: packed channels, and blocks of pixels as channels."""

from __future__ import annotations

from tvm import te
from tvm.ir import Expr

from dsc.ir import PackOp, UnpackOp, onnx
from dsc.lower.exprs import dims, floordiv, floormod, quotient, simplify
from dsc.lower.registry import Call, lowers


@lowers(PackOp, moves=True)
def pack(call: Call) -> te.Tensor:
    """NCHW to NC/b HW b: the elements of `axis` in blocks, which become the innermost dim."""
    x = call.inputs[0]
    axis, block = call.attr("axis"), call.attr("block")
    shape = [*x.shape[:axis], floordiv(simplify(x.shape[axis]), block), *x.shape[axis + 1 :], block]

    def element(*i: Expr) -> Expr:
        return x(*i[:axis], i[axis] * block + i[-1], *i[axis + 1 : -1])

    return te.compute(shape, element, name="pack")


@lowers(UnpackOp, moves=True)
def unpack(call: Call) -> te.Tensor:
    """NC/b HW b to NCHW."""
    x = call.inputs[0]
    axis, block = call.attr("axis"), call.attr("block")
    shape = [*x.shape[:axis], simplify(x.shape[axis] * block), *x.shape[axis + 1 : -1]]

    def element(*i: Expr) -> Expr:
        return x(*i[:axis], floordiv(i[axis], block), *i[axis + 1 :], floormod(i[axis], block))

    return te.compute(shape, element, name="unpack")


@lowers(onnx.DepthToSpace, moves=True)
def depth_to_space(call: Call) -> te.Tensor:
    """Channels become blocks of pixels: the block is the outer part of them in DCR order, else inner."""
    x = call.inputs[0]
    size = call.attr("blocksize")
    n, c, h, w = dims(x.shape)
    depth = quotient([c], [size * size])

    def element(b: Expr, d: Expr, y: Expr, z: Expr) -> Expr:
        inner = floormod(y, size) * size + floormod(z, size)
        channel = inner * depth + d if call.attr("mode") == "DCR" else d * (size * size) + inner
        return x(b, channel, floordiv(y, size), floordiv(z, size))

    return te.compute([n, depth, h * size, w * size], element, name="depth_to_space")


@lowers(onnx.SpaceToDepth, moves=True)
def space_to_depth(call: Call) -> te.Tensor:
    """Blocks of pixels become channels: the block is the outer part of them in DCR order, else inner."""
    x = call.inputs[0]
    size = call.attr("blocksize")
    n, c, h, w = dims(x.shape)

    def element(b: Expr, channel: Expr, y: Expr, z: Expr) -> Expr:
        if call.attr("mode") == "CRD":
            inner, depth = floormod(channel, size * size), floordiv(channel, size * size)
        else:
            inner, depth = floordiv(channel, c), floormod(channel, c)
        return x(b, depth, y * size + floordiv(inner, size), z * size + floormod(inner, size))

    return te.compute([n, c * (size * size), floordiv(h, size), floordiv(w, size)], element, name="space_to_depth")
