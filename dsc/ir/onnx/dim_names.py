"""Names for the dims that ONNX's inference leaves nameless: those of windows sliding over an image of unknown
size.

Two dims of the same name have the same size. So a residual can be seen to have the shape of the convolution
it is added to, though height and width are known at run time only. A window of stride s with o = padding -
dilation * (kernel - 1) - 1 makes (h + o) // s + 1 of h: that is h itself for "same" padding and stride 1,
else it is named after h, o and s. Rounded up, it is (h + o + s - 1) // s + 1: unless the last window would
begin behind the image, which it does not where windows are no shorter than their stride and there is no padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.ir import Attribute, SSAValue

from dsc.ir.onnx.attributes import to_python
from dsc.ir.onnx.facts import OPERATORS, Fact
from dsc.ir.types import dims_of, element_of, shape_of, tensor_of_dims


def name_dims(
    onnx_name: str,
    operands: Sequence[Sequence[SSAValue]],
    properties: Mapping[str, Attribute],
    type_: Attribute,
) -> Attribute:
    """The type of the first result of an op, with names for its nameless dims where they follow from the
    operands'."""
    dims = dims_of(type_)
    if onnx_name not in OPERATORS[Fact.SLIDING] or dims is None or "" not in dims:
        return type_
    source, kernel = dims_of(operands[0][0].type), _kernel(onnx_name, operands, properties)
    if source is None or kernel is None or len(source) != len(dims) or _leaves_out_windows(properties, kernel):
        return type_
    named = [*dims[:2], *(_slid(properties, i, h, kernel) for i, h in enumerate(source[2:]))]
    found = [d if d != "" else n for d, n in zip(dims, named, strict=True)]
    return tensor_of_dims(element_of(type_).mlir, found)


def _leaves_out_windows(properties: Mapping[str, Attribute], kernel: Sequence[int]) -> bool:
    """Whether a number of windows that is rounded up may be one less."""
    if not _rounds_up(properties):
        return False
    plain = not {"pads", "auto_pad", "dilations"} & set(properties)
    return not plain or any(_int(properties, "strides", i, 1) > size for i, size in enumerate(kernel))


def _rounds_up(properties: Mapping[str, Attribute]) -> bool:
    return "ceil_mode" in properties and to_python(properties["ceil_mode"]) == 1


def _kernel(
    onnx_name: str, operands: Sequence[Sequence[SSAValue]], properties: Mapping[str, Attribute]
) -> Sequence[int] | None:
    if "kernel_shape" in properties:
        return to_python(properties["kernel_shape"])  # type: ignore[return-value]
    shape = shape_of(operands[1][0].type) if onnx_name == "Conv" else None
    return shape[2:] if shape is not None and min(shape) > 0 else None


def _slid(properties: Mapping[str, Attribute], i: int, size: int | str, kernel: Sequence[int]) -> int | str:
    """The name of the i-th spatial dim of the result."""
    if not isinstance(size, str) or not size:
        return ""
    rank = len(kernel)
    stride, dilation = _int(properties, "strides", i, 1), _int(properties, "dilations", i, 1)
    padding = _int(properties, "pads", i, 0) + _int(properties, "pads", i + rank, 0)
    offset = padding - dilation * (kernel[i] - 1) - 1
    if "auto_pad" in properties and str(to_python(properties["auto_pad"])).startswith("SAME"):
        offset = -1
    if _rounds_up(properties):
        offset += stride - 1
    if stride == 1 and offset == -1:
        return size
    return f"{size}_{'m' if offset < 0 else 'p'}{abs(offset)}s{stride}"


def _int(properties: Mapping[str, Attribute], name: str, i: int, default: int) -> int:
    return int(to_python(properties[name])[i]) if name in properties else default  # type: ignore[index]
