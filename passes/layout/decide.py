"""Which ops work on packed tensors, and which tensors are packed.

A tensor is packed by the largest of 16, 8, 4 (up to the pass's block) that divides its channels, so its
layout follows from its type alone and neighbours always agree. Tensors whose spatial dims are all 1 stay
plain: both layouts are the same bytes. So do those without elements.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from xdsl.ir import Attribute, Operation

from dsc.ir import OPERATORS, Fact, FusionOp, OnnxOp, UnpackOp, dims_of, onnx, shape_of
from dsc.passes.fuse.roles import quantizes_evenly

BLOCKS = (16, 8, 4)
_CHANNELS = 1


def block_of(type_: Attribute, largest: int) -> int | None:
    """The block of a tensor of images [N, C, H, W]; None where it stays plain."""
    dims = dims_of(type_)
    if dims is None or len(dims) != 4 or not isinstance(dims[_CHANNELS], int) or dims[2:] == (1, 1) or 0 in dims:
        return None
    return next((b for b in BLOCKS if b <= largest and dims[_CHANNELS] % b == 0), None)


def body_of(op: Operation) -> list[OnnxOp] | None:
    """The ops that a lone op or a fusion computes, without constants; None when they are packed already."""
    if isinstance(op, FusionOp):
        body = [o for o in op.block.ops if isinstance(o, (OnnxOp, UnpackOp))]
    else:
        body = [op] if isinstance(op, OnnxOp) and not op.regions else []
    if not body or any(isinstance(o, UnpackOp) for o in body):
        return None
    return [o for o in body if not isinstance(o, onnx.Constant)]  # type: ignore[misc]


def wants_packed(op: Operation, largest: int) -> bool:
    """Whether an op is why tensors are packed: a 2-d convolution whose result can be."""
    body = body_of(op)
    if body is None or not all(_keeps_channels(o) for o in body):
        return False
    return isinstance(op, FusionOp) and any(
        isinstance(o, (onnx.Conv, onnx.ConvInteger)) and block_of(o.out.type, largest) is not None for o in body
    )


def takes_packed(op: Operation) -> bool:
    """Whether an op can work on packed tensors as well as on plain ones."""
    body = body_of(op)
    return body is not None and all(_keeps_channels(o) for o in body)


def _keeps_channels(op: OnnxOp) -> bool:
    """Whether an op leaves dim 1 the channels, and reads and writes it in runs."""
    for names, test in _TESTS:
        if op.onnx_name in names:
            return test(op)
    return False


def _images_only(op: OnnxOp) -> bool:
    """Whether an elementwise op makes [N, C, H, W] of operands that have all C channels, or one for all of
    them.

    Broadcasting over batch, height and width is the same in both layouts.
    """
    dims = dims_of(op.results[0].type)
    if dims is None or len(dims) != 4 or not isinstance(dims[_CHANNELS], int):
        return False
    return all(_channels(v.type) in (dims[_CHANNELS], 1) for v in op.operands)


def _quantizes_images(op: OnnxOp) -> bool:
    """Whether a tensor is quantized or dequantized by one scale."""
    return _is_2d(op) and quantizes_evenly(op)


def _channels(type_: Attribute) -> int | str | None:
    """The dim that broadcasting aligns with the channels; None where the rank is not known or too large."""
    dims = dims_of(type_)
    if dims is None or len(dims) > 4:
        return None
    return dims[-3] if len(dims) >= 3 else 1


def _is_2d(op: OnnxOp) -> bool:
    shape = shape_of(op.results[0].type)
    return shape is not None and len(shape) == 4 and len(op.results) == 1


def _along_channels(op: OnnxOp) -> bool:
    shape = shape_of(op.results[0].type)
    return shape is not None and len(shape) == 4 and op.attr("axis") in (_CHANNELS, _CHANNELS - 4)


def _moves_blocks(op: OnnxOp) -> bool:
    """Whether channels that are together in the result are together in the operand as well."""
    return bool(op.attr("mode") == "DCR")


def _over_images(op: OnnxOp) -> bool:
    """Whether a reduction is over height and width and keeps the dims."""
    axes = onnx.constant_value(op.axes) if len(op.operands) > 1 else None
    kept = op.attr("keepdims", 1) == 1
    return _is_2d(op) and kept and axes is not None and sorted(int(a) % 4 for a in axes) == [2, 3]


def _resizes_images(op: OnnxOp) -> bool:
    """Whether a Resize leaves batch and channels as they are: their scales are 1, or sizes of the channels
    the same."""
    source, result = dims_of(op.X.type), dims_of(op.results[0].type)
    if source is None or result is None or len(source) != 4 or source[_CHANNELS] != result[_CHANNELS]:
        return False
    scales = onnx.constant_value(op.scales)
    keeps_batch = source[0] == result[0] if scales is None else scales.size == 4 and scales[0] == 1 == scales[1]
    return keeps_batch and op.attr("axes") is None and op.attr("coordinate_transformation_mode") != "tf_crop_and_resize"


def _looks_up_pixels(op: OnnxOp) -> bool:
    """Whether each element is looked up in a vector."""
    return _is_2d(op) and len(dims_of(op.data.type) or ()) == 1


def _pads_images(op: OnnxOp) -> bool:
    pads = onnx.constant_value(op.pads)
    return _is_2d(op) and op.axes is None and pads is not None and not pads[[0, 1, 4, 5]].any()


_TESTS: tuple[tuple[Set[str], Callable[[OnnxOp], bool]], ...] = (
    (OPERATORS[Fact.ELEMENTWISE], _images_only),
    (OPERATORS[Fact.CONVOLUTION] | {"ConvInteger"}, _is_2d),
    (frozenset({"QuantizeLinear", "DequantizeLinear"}), _quantizes_images),
    (OPERATORS[Fact.POOL], _is_2d),
    (frozenset({"Concat", "Split"}), _along_channels),
    (frozenset({"DepthToSpace"}), _moves_blocks),
    (OPERATORS[Fact.REDUCTION], _over_images),
    (frozenset({"Resize"}), _resizes_images),
    (frozenset({"Pad"}), _pads_images),
    (frozenset({"Gather"}), _looks_up_pixels),
)
