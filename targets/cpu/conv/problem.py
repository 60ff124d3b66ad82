"""A 2-D convolution as numbers: what all kernels here need to know of their workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import gcd, prod

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T
from xdsl.ir import SSAValue

from dsc.ir import dims_of, element_of, onnx
from dsc.ir.dialect import UnpackOp
from dsc.ir.onnx.base import OnnxOp
from dsc.lower.exprs import Dim, ceildiv
from dsc.lower.registry import stored_dtype
from dsc.lower.te import lowered
from dsc.lower.workload import Workload, once
from dsc.targets.cpu.conv.bytes import Bytes
from dsc.targets.cpu.conv.elements import BFLOAT16, FLOAT32, Elements, Floats, itemsize
from dsc.targets.cpu.conv.epilogue import Epilogue, Output
from dsc.targets.cpu.halves import kept
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import ArrayType, Packing, Refusal
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import function


@dataclass(frozen=True)
class Pads:
    """Zeros around the image."""

    top: int
    left: int
    bottom: int
    right: int

    def __bool__(self) -> bool:
        return any((self.top, self.left, self.bottom, self.right))


@dataclass(frozen=True)
class Convolution:
    """Sizes of one 2-D convolution. Only N, H and W may be symbolic."""

    n: Dim
    c: int
    h: Dim
    w: Dim
    oc: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: Pads
    groups: int
    block: int
    """Channels of the input that lie next to each other; 1 for plain NCHW."""
    copied: bool = False
    """Whether rows of the input are copied to scratch though nothing is padded."""
    run: int = 0
    """Where the pixels under a row of the filter are multiplied as one run of neighbours: its elements, with those that
    make it a multiple of the instruction's and belong to no tap. 0 where each pixel is multiplied by itself."""

    @property
    def oh(self) -> Dim:
        """Rows of the result."""
        return self._size(self.h, self.pads.top + self.pads.bottom, 0)

    @property
    def ow(self) -> Dim:
        """Columns of the result."""
        return self._size(self.w, self.pads.left + self.pads.right, 1)

    def _size(self, size: Dim, pads: int, axis: int) -> Dim:
        slack = pads - (self.kernel[axis] - 1) * self.dilations[axis] - 1
        stride = self.strides[axis]
        if isinstance(size, int):
            return (size + slack) // stride + 1
        return size + (slack + 1) if stride == 1 else tirx.floordiv(size + slack, stride) + 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """[OC, IC / groups, KH, KW]."""
        return self.oc, self.c // self.groups, *self.kernel

    @property
    def pointwise(self) -> bool:
        """Whether each pixel of the result comes from the same pixel of the input: the image is one long row."""
        return self.kernel == (1, 1) and self.strides == (1, 1) and not self.pads and not self.copied

    @property
    def depthwise(self) -> bool:
        """Whether each channel of the result comes from its own channel of the input."""
        return self.groups == self.c == self.oc

    @property
    def neighbours(self) -> int:
        """Elements of a group of the input that lie next to each other and are multiplied one after the other:
        channels, in every block of it, or those of a run."""
        return self.run or gcd(self.c // self.groups, self.block)

    @property
    def beyond(self) -> int:
        """Elements of a run that belong to no tap."""
        return self.run - self.c * self.kernel[1] if self.run else 0

    @property
    def walked(self) -> tuple[int, int, int]:
        """Blocks of neighbours, rows and columns of the filter that are walked to multiply all neighbours."""
        rows, columns = self.kernel
        return (1, rows, 1) if self.run else (self.c // self.groups // self.neighbours, rows, columns)

    @property
    def taps(self) -> int:
        """Multiplications for one element of the result."""
        return prod(self.walked) * self.neighbours


@dataclass(frozen=True)
class Region:
    """A convolution region: its sizes, and its tensors as TE placeholders."""

    workload: Workload
    conv: Convolution
    anchor: SSAValue
    x: SSAValue
    weight: SSAValue
    """In float32 or half precision; or of bytes."""
    element: str
    """Type of the input: float32 or bfloat16, or bytes, which are summed in int32."""
    zero: SSAValue | None = None
    """The zero point of bytes, one for all; None where it is 0."""
    weight_zero: SSAValue | None = None
    """That of the weights, one for all or one for each output channel; None where it is 0."""

    @property
    def integer(self) -> bool:
        """Whether bytes are multiplied."""
        return self.element in ("int8", "uint8")

    @property
    def factors(self) -> tuple[tuple[str, str, str], ...]:
        """Types in which the input and the weights may be multiplied and summed, the fastest first.

        bfloat16 only where factors may be rounded to it. Bytes rather as they are than with the other sign, and rather
        so than in 16 bits.
        """
        if not self.integer:
            rounded = (BFLOAT16,) if self.workload.multiplied_as == BFLOAT16 else ()
            return tuple((element, element, FLOAT32) for element in (*rounded, FLOAT32))
        signs = sorted(("int8", "uint8"), key=lambda sign: sign != self.element)
        return (*((sign, "int8", "int32") for sign in signs), ("int16", "int16", "int32"))

    def instructions(self, machine: Cpu) -> tuple[MultiplyAdd, ...]:
        """Those that multiply the input and the weights, widest first; none where the machine has none for channels
        of which so few lie side by side."""
        forms = (machine.multiply_adds(*types) for types in self.factors)
        return next((rows for rows in forms if rows and self.read_by(rows[0]).neighbours % rows[0].k == 0), ())

    def joins(self, instruction: MultiplyAdd) -> bool:
        """Whether an instruction multiplies less of no use where the pixels under a row of the filter are one run."""
        pixels, runs = self.read_by(instruction), self.read_by(instruction, joined=True)
        return pixels.c > self.conv.c and self.conv.dilations[1] == 1 and runs.taps < pixels.taps

    def read_by(self, instruction: MultiplyAdd, joined: bool = False) -> Convolution:
        """The convolution as its input is read: channels in blocks, of which an instruction takes `k` at once.

        An image of one pixel is such a block as it is; what is plain otherwise becomes one in scratch, with channels of
        zeros beyond its own. Or without them, if the pixels under a row of the filter are `joined`, where `joins` says
        that this is less. What is multiplied in another size than it has in memory is made so in scratch, once for all
        panels.
        """
        k = instruction.k
        conv = replace(self.conv, copied=itemsize(self.element) != itemsize(instruction.a))
        if joined:
            return replace(conv, block=conv.c, copied=True, run=k * ceildiv(conv.c * conv.kernel[1], k))
        if k == 1 or conv.block > 1 or conv.groups > 1:
            return conv
        if conv.h == conv.w == 1 and conv.c % k == 0:
            return replace(conv, block=conv.c)
        channels = k * ceildiv(conv.c, k)
        return replace(conv, c=channels, block=channels, copied=True)

    def elements(self, factor: str, frame: Frame) -> Elements:
        """How the input is multiplied by an instruction that takes `factor`; declared in the open function."""
        if self.integer:
            return Bytes.declared(self.element, factor, frame.zero, frame.sums)
        return Floats(self.element, factor)

    def position(self, value: SSAValue) -> int:
        """The index of an input."""
        return self.workload.inputs.index(value)

    def frame(self, packing: Packing | None = None) -> Frame:
        """The function's parameters, with the weights as they are packed."""
        body = lowered(self.workload)
        tensors = dict(zip(self.workload.inputs, body.inputs, strict=True))
        buffers = {value: [_buffer(tensor, f"in{i}")] for i, (value, tensor) in enumerate(tensors.items())}
        if packing is not None:
            arrays = packing.arrays(ArrayType(self.conv.weight_shape, str(tensors[self.weight].dtype)))
            buffers[self.weight] = [tirx.decl_buffer(a.shape, a.dtype, f"weight{i}") for i, a in enumerate(arrays)]
        outputs = tuple(Output(t, _buffer(t, f"out{i}")) for i, t in enumerate(body.outputs))
        inputs = {tensors[value]: first for value, (first, *_) in buffers.items()}
        packed = tuple(buffers[self.weight])
        return Frame(
            (*(each for declared in buffers.values() for each in declared), *self.workload.scalars),
            inputs[tensors[self.x]],
            packed,
            self.integer and len(packed) > 1,
            None if self.zero is None else inputs[tensors[self.zero]],
            None if self.weight_zero is None else inputs[tensors[self.weight_zero]],
            Epilogue(body.summed(self.anchor), outputs, inputs),
        )


def _buffer(tensor: te.Tensor, name: str) -> tirx.Buffer:
    return tirx.decl_buffer(tuple(tensor.shape), tensor.dtype, name)


@dataclass(frozen=True)
class Frame:
    """The parameters of the function that computes a region."""

    inputs: tuple[tirx.Var, ...]
    """Buffers, then scalars."""
    x: tirx.Buffer
    packed: tuple[tirx.Buffer, ...]
    """The weights, in the arrays that they are packed as."""
    summed: bool
    """Whether the last of them has the sums of each output channel's weights."""
    zero: tirx.Buffer | None
    """The zero point of the input."""
    weight_zero: tirx.Buffer | None
    """That of the weights."""
    epilogue: Epilogue

    @property
    def weight(self) -> tirx.Buffer:
        """The first of their arrays."""
        return self.packed[0]

    @property
    def sums(self) -> tirx.Buffer | None:
        """Of the weights of each output channel, where they are packed with them."""
        return self.packed[-1] if self.summed else None

    @contextmanager
    def function(self) -> Iterator[IRBuilder]:
        """The function, whose statements follow."""
        with function() as made:
            for parameter in (*self.inputs, *(output.buffer for output in self.epilogue.outputs)):
                T.arg(parameter.name, parameter)
            yield made


@once
def region_of(workload: Workload) -> Region | Refusal:
    """The convolution region that `workload` is, or why it is none."""
    convs = [op for op in workload.body if isinstance(op, (onnx.Conv, onnx.ConvInteger))]
    if len(convs) != 1:
        return Refusal(f"{len(convs)} convolutions")
    (op,) = convs
    x, block = _source(op.operands[0])
    x = kept(x)
    weight = kept(op.operands[1])
    element = _element(op, x, weight)
    if isinstance(element, Refusal):
        return element
    zeros = (op.x_zero_point, op.w_zero_point) if isinstance(op, onnx.ConvInteger) else (None, None)
    tensors = ((x, "input"), (weight, "weight"), *((zero, "zero point") for zero in zeros if zero is not None))
    for value, what in tensors:
        if value not in workload.inputs:
            return Refusal(f"the {what} is computed inside the region")
    if not workload.operands[workload.inputs.index(weight)].constant:
        return Refusal("the weight is not constant")
    if workload.reads(weight) > 1:
        return Refusal("the weight is read by more than the convolution, so that it cannot be packed")
    if any(pad < 0 for pad in op.attr("pads", ())):
        return Refusal("the image is cropped")
    shapes = {operand.value: operand.shape for operand in workload.operands}
    conv = _convolution(op, shapes, x, weight, block)
    if isinstance(conv, Refusal):
        return conv
    if 0 in (conv.n, conv.c, conv.oc, *conv.kernel) or any(isinstance(d, int) and d <= 0 for d in (conv.oh, conv.ow)):
        return Refusal("a convolution without elements")
    if zeros[1] is not None and not (conv.depthwise and conv.c > 1):
        return Refusal("only depthwise convolutions take zero points off weights")
    region = Region(workload, conv, op.results[0], x, weight, element, *zeros)
    problem = region.frame().epilogue.problems()
    return region if problem is None else Refusal(problem)


def _element(op: OnnxOp, x: SSAValue, weight: SSAValue) -> str | Refusal:
    """The type of the input's elements, where it is one of those that are convolved here."""
    element = element_of(x.type).dtype.name
    if isinstance(op, onnx.Conv):
        taken = element in (FLOAT32, BFLOAT16)
        return element if taken else Refusal(f"of floats, only float32 and bfloat16 are convolved here, not {element}")
    if stored_dtype(weight.type) != "int8":
        return Refusal("the weights are not signed bytes")
    if op.x_zero_point is not None and any(d != 1 for d in dims_of(op.x_zero_point.type) or ()):
        return Refusal("the input has more than one zero point")
    return element


def _source(value: SSAValue) -> tuple[SSAValue, int]:
    """Where the convolution's input comes from, and the block it is unpacked from."""
    owner = value.owner
    if isinstance(owner, UnpackOp) and owner.axis_index == 1:
        return owner.source, owner.block_size
    return value, 1


def _convolution(
    op: OnnxOp, shapes: Mapping[SSAValue, tuple[Dim, ...]], x: SSAValue, weight: SSAValue, block: int
) -> Convolution | Refusal:
    if len(shapes[weight]) != 4:
        return Refusal(f"{len(shapes[weight]) - 2}-D convolution")
    if op.attr("auto_pad") not in ("NOTSET", "VALID"):
        return Refusal("auto_pad")
    n, blocks, h, w = shapes[x][:4]
    oc, per_group, *kernel = shapes[weight]
    groups = int(op.attr("group"))
    if not all(isinstance(size, int) for size in (blocks, oc, per_group, *kernel)):
        return Refusal("symbolic channels")
    if blocks * block != per_group * groups:
        return Refusal("channels and weights disagree")
    return Convolution(
        n, blocks * block, h, w, oc, (kernel[0], kernel[1]),
        tuple(op.attr("strides", (1, 1))), tuple(op.attr("dilations", (1, 1))),
        Pads(*op.attr("pads", (0, 0, 0, 0))), groups, block,
    )  # fmt: skip
