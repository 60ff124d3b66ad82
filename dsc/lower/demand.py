"""What computing a workload takes at least, whatever kernel does it: the numbers of a roofline."""

from __future__ import annotations

from dataclasses import dataclass

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Expr

from dsc.lower.nominal import volume
from dsc.lower.stages import element_bytes, stages
from dsc.lower.te import lowered
from dsc.lower.workload import Workload


@dataclass(frozen=True)
class Demand:
    """Of one run."""

    multiply_adds: int
    """In sums of products: of matrices, of convolutions, both of attention (of what is kept, and within its window).
    Other arithmetic is not counted."""
    element: str
    """Type of their factors as they may be multiplied; that of the most of them. ``float32`` where there are none."""
    weight_bytes: int
    """Of constants, each element that is read once."""
    activation_bytes: int
    """Of what is computed at run time, read or written, each element once."""


def demand(workload: Workload) -> Demand | None:
    """The demand of a workload; None where it has sizes that only a run tells."""
    if workload.symbols.variables:
        return None
    body = lowered(workload)
    computed = list(stages(body.outputs))
    products = [found for stage in computed if (found := _products(stage)) is not None]
    _, stored = max(products, default=(0, "float32"))
    element = workload.multiplied_as or stored if products else stored
    weights = activations = 0
    for operand, tensor in zip(workload.operands, body.inputs, strict=True):
        size = min(volume(tensor.shape), sum(_reads(stage, tensor) for stage in computed)) * element_bytes(tensor)
        weights, activations = (weights + size, activations) if operand.constant else (weights, activations + size)
    activations += sum(volume(tensor.shape) * element_bytes(tensor) for tensor in body.outputs)
    multiply_adds = sum(count for count, _ in products)
    return Demand(round(multiply_adds * _seen(workload)), element, weights, activations)


def _seen(workload: Workload) -> float:
    """The share of the pairs of a query and a key that an attention keeps, and that is within its window; 1 where there
    is none."""
    window, kept = workload.attention_window, workload.attention_keep
    share = 1.0 if kept is None else kept.share
    if window is None:
        return share
    (softmax,) = (op for op in workload.body if op.name == "onnx.Softmax")
    length = volume(lowered(workload).tensor(softmax.results[0]).shape[-1:])
    near = min(window, length - 1)
    return share * (length * (2 * near + 1) - near * (near + 1)) / length**2


def _products(stage: te.Tensor) -> tuple[int, str] | None:
    """How many products a stage sums, and the type of the factors; None where it is no sum of products."""
    if not isinstance(stage.op, te.ComputeOp) or not stage.op.reduce_axis:
        return None
    (reduction, *_) = stage.op.body
    source = reduction.source[0]
    if not isinstance(reduction.combiner.result[0], tirx.Add) or not isinstance(source, tirx.Mul):
        return None
    return _steps(stage.op), min(_factor(source.a), _factor(source.b), key=lambda name: tvm_ffi.dtype(name).bits)


def _steps(stage: te.ComputeOp) -> int:
    """Elements of a stage, or terms of all its sums."""
    shape = [axis.dom.extent for axis in (*stage.axis, *stage.reduce_axis)]
    return volume(shape)


def _factor(expr: Expr) -> str:
    """The type of a factor as memory has it: casts to the type of the sums are the kernel's business."""
    tensor = _moved(expr)
    return str(expr.expr_ty()) if tensor is None else _stored(tensor)


def _stored(tensor: te.Tensor) -> str:
    """The type of a tensor, or of what a stage is that moves and casts it, and does nothing else: padding, say."""
    stage = tensor.op
    moves = isinstance(stage, te.ComputeOp) and not stage.reduce_axis
    source = _moved(stage.body[0]) if moves else None
    return str(tensor.dtype) if source is None else _stored(source)


def _moved(expr: Expr) -> te.Tensor | None:
    """The tensor that an expression is an element of, cast, or guarded by a condition; None where it is computed."""
    if isinstance(expr, tirx.Cast):
        return _moved(expr.value)
    if isinstance(expr, tirx.Select):
        return _moved(expr.true_value)
    name = str(getattr(expr.op, "name", "")) if isinstance(expr, Call) else ""
    if name.endswith("if_then_else"):
        return _moved(expr.args[1])
    return expr.args[0] if name == "te.tensor_load" else None


def _reads(stage: te.Tensor, tensor: te.Tensor) -> int:
    """How often a stage reads elements of a tensor, at most."""
    if not any(tensor.same_as(read) for read in stage.op.input_tensors):
        return 0
    if not isinstance(stage.op, te.ComputeOp):
        return volume(tensor.shape)
    reads = [read for value in stage.op.body for read in _loads(value) if tensor.same_as(read)]
    return len(reads) * _steps(stage.op)


def _loads(expr: Expr) -> list[te.Tensor]:
    """The tensors that an expression reads, each time it does."""
    found: list[te.Tensor] = []

    def note(call: Call) -> None:
        if str(getattr(call.op, "name", "")) == "te.tensor_load":
            found.append(call.args[0])

    tvm_ffi.structural_walk(expr, (Call, note))
    return found
