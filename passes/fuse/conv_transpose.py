"""conv_transpose(x, w, b) as a convolution: each pixel of x belongs to a block of pixels of the result.

Pixel r of block q is a sum over the taps of w that are r modulo the stride, at x[q], x[q - 1] and so on: a convolution
to the channels of the whole block, and a rearrangement. (Shi et al., Is the deconvolution layer the same as a
convolutional layer?, 2016.) Activations after it are done before the rearrangement, where they are the convolution's
epilogue.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import Fact, onnx, shape_of
from dsc.passes.pattern import const, maybe, ops, value
from dsc.passes.rule import Match, Rule

_FEW = 32
"""Output channels up to which a convolution fills no more vectors with zeros than without: two of 16
lanes."""


class BlockConvTranspose(Rule):
    """conv_transpose(x, w, b) => crop(depth_to_space(conv(x, w', b')))"""

    pattern = ops.ConvTranspose(value("x"), const("w", owned=True), maybe(const("b")), label="conv")

    def check(self, m: Match) -> str | None:
        shape = shape_of(m.w.type)
        if shape is None or len(shape) != 4:
            return "it is not 2-d"
        if len(set(m.conv.attr("strides", [1, 1]))) > 1:
            return "the strides differ"
        if m.conv.attr("group") != 1 or m.conv.attr("dilations", [1, 1]) != [1, 1]:
            return "it has groups or dilations"
        if m.conv.attr("output_shape") is not None or m.conv.attr("auto_pad") not in ("NOTSET", "VALID"):
            return "its output is cropped to a size"
        return "its output is padded" if min(_crops(m)) < 0 else None

    def rewrite(self, m: Match) -> SSAValue:
        size, (rows, columns) = m.conv.attr("strides", [1, 1])[0], _taps(m)
        weight = _block_weight(m.array("w"), size, rows, columns)
        bias = None if m.b is None else m.constant(np.tile(m.array("b"), size * size), "bias")
        pads = [rows - 1, columns - 1] * 2
        made: SSAValue = m.emit(
            onnx.Conv, m.x, m.constant(weight, "weight"), bias, kernel_shape=[rows, columns], pads=pads
        ).out
        if size > 1:
            made = m.emit(onnx.DepthToSpace, made, blocksize=size, mode="DCR").out
        return _cropped(m, made) if any(_crops(m)) else made


def _taps(m: Match) -> list[int]:
    """How many taps of each direction meet in one pixel of the result."""
    size = m.conv.attr("strides", [1, 1])[0]
    return [-(-kernel // size) for kernel in m.array("w").shape[2:]]


def _block_weight(w: np.ndarray, size: int, rows: int, columns: int) -> np.ndarray:
    """[inputs, outputs, kh, kw] to [size * size * outputs, inputs, rows, columns], taps in reverse."""
    inputs, outputs, height, width = w.shape
    whole = np.pad(w, [(0, 0), (0, 0), (0, rows * size - height), (0, columns * size - width)])
    taps = whole.reshape(inputs, outputs, rows, size, columns, size)[:, :, ::-1, :, ::-1]
    blocks = taps.transpose(3, 5, 1, 0, 2, 4)
    return np.ascontiguousarray(blocks).reshape(size * size * outputs, inputs, rows, columns)


def _crops(m: Match) -> list[int]:
    """What is cut off the blocks: at the top, left, bottom and right."""
    size, kernel = m.conv.attr("strides", [1, 1])[0], m.array("w").shape[2:]
    pads, more = m.conv.attr("pads", [0] * 4), m.conv.attr("output_padding", [0, 0])
    ends = [t * size - k + p - o for t, k, p, o in zip(_taps(m), kernel, pads[2:], more, strict=True)]
    return [*pads[:2], *ends]


def _cropped(m: Match, image: SSAValue) -> SSAValue:
    crops = np.array(_crops(m))
    ends = np.where(crops[2:] > 0, -crops[2:], np.iinfo(np.int64).max)
    bounds = [m.constant(v.astype(np.int64), n) for v, n in ((crops[:2], "starts"), (ends, "ends"))]
    made: SSAValue = m.emit(onnx.Slice, image, *bounds, m.constant(np.array([2, 3]), "axes")).out
    return made


class ActivateBlocks(Rule):
    """f(depth_to_space(x)) => depth_to_space(f(x)), f an activation"""

    pattern = ops.being(Fact.ACTIVATION)(ops.DepthToSpace(value("x"), label="move"), ..., label="f")

    def check(self, m: Match) -> str | None:
        others = [v for v in m.f.node_inputs()[1:] if v is not None]
        return None if all(shape_of(v.type) == () for v in others) else "an operand is not a scalar"

    def rewrite(self, m: Match) -> SSAValue:
        activated = m.like(m.f, m.x, *m.f.node_inputs()[1:])
        made: SSAValue = m.like(m.move, activated.out).out
        return made


class MixBlocks(Rule):
    """conv1x1(depth_to_space(x), w) => depth_to_space(conv1x1(x, diag(w, ..., w)))"""

    pattern = ops.Conv(
        ops.DepthToSpace(value("x"), label="move", mode="DCR"),
        const("w", owned=True),
        maybe(const("b")),
        label="conv",
    )

    def check(self, m: Match) -> str | None:
        size = m.move.attr("blocksize") ** 2
        if list(m.array("w").shape[2:]) != [1, 1]:
            return "it is not 1x1"
        if m.conv.attr("group") != 1 or m.conv.attr("strides", [1, 1]) != [1, 1] or any(m.conv.attr("pads", [0])):
            return "it has groups, strides or pads"
        return None if len(m.array("w")) * size <= _FEW else "it has many output channels: most of diag(w, ..., w) is 0"

    def rewrite(self, m: Match) -> SSAValue:
        size = m.move.attr("blocksize") ** 2
        weight = np.kron(np.eye(size, dtype=m.array("w").dtype), m.array("w")[:, :, 0, 0])[:, :, None, None]
        bias = None if m.b is None else m.constant(np.tile(m.array("b"), size), "bias")
        mixed = m.like(m.conv, m.x, m.constant(weight, "weight"), bias)
        made: SSAValue = m.like(m.move, mixed.out).out
        return made


RULES: tuple[Rule, ...] = (BlockConvTranspose(), ActivateBlocks(), MixBlocks())
