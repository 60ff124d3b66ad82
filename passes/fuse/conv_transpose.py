"""conv_transpose(x, w, b) of windows that do not overlap: each pixel becomes a block of pixels, by itself.

So it is a 1x1 convolution to the channels of the whole block, and a rearrangement. Activations after it are
done before the rearrangement, where they are the convolution's epilogue.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import onnx, shape_of
from dsc.passes.pattern import const, maybe, ops, value
from dsc.passes.rule import Match, Rule

UNARY = (
    "Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu", "Selu", "Sigmoid",
    "Softplus", "Swish", "Tanh",
)  # fmt: skip

_FEW = 32
"""Output channels up to which a convolution fills no more vectors with zeros than without: two of 16
lanes."""


class ApartConvTranspose(Rule):
    """conv_transpose(x, w, b), stride = kernel => depth_to_space(conv(x, w', b'))"""

    pattern = ops.ConvTranspose(value("x"), const("w", owned=True), maybe(const("b")), label="conv")

    def check(self, m: Match) -> str | None:
        shape, strides = shape_of(m.w.type), m.conv.attr("strides")
        if shape is None or len(shape) != 4:
            return "it is not 2-d"
        if strides is None or list(shape[2:]) != strides or strides[0] != strides[1]:
            return "the stride is not the kernel's size, the same in both directions"
        if m.conv.attr("group") != 1 or m.conv.attr("dilations", [1, 1]) != [1, 1]:
            return "it has groups or dilations"
        if any(m.conv.attr("pads", [0])) or any(m.conv.attr("output_padding", [0])):
            return "it is padded"
        if m.conv.attr("output_shape") is not None or m.conv.attr("auto_pad") not in ("NOTSET", "VALID"):
            return "its output is cropped"
        return None

    def rewrite(self, m: Match) -> SSAValue:
        w = m.array("w")
        inputs, outputs, size, _ = w.shape
        weight = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(size * size * outputs, inputs, 1, 1)
        bias = None if m.b is None else m.constant(np.tile(m.array("b"), size * size), "bias")
        blocks = m.emit(onnx.Conv, m.x, m.constant(weight, "weight"), bias, kernel_shape=[1, 1])
        made: SSAValue = m.emit(onnx.DepthToSpace, blocks.out, blocksize=size, mode="DCR").out
        return made


class ActivateBlocks(Rule):
    """f(depth_to_space(x)) => depth_to_space(f(x)), f an activation"""

    pattern = ops.any(*UNARY)(ops.DepthToSpace(value("x"), label="move"), ..., label="f")

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


RULES: tuple[Rule, ...] = (ApartConvTranspose(), ActivateBlocks(), MixBlocks())
