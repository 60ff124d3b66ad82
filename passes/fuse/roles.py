"""What an op is to fusion: elementwise, an index op, or an anchor; and how shapes must agree."""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerType, TensorType
from xdsl.ir import Attribute, Operation, SSAValue

from dsc.ir import OnnxOp, WeightOp, dims_of, onnx

ELEMENTWISE = frozenset(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil
    Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity
    IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu
    Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu
    Where Xor
    """.split()
)
"""Ops whose results are computed element by element, with ONNX broadcasting."""

CHEAP = frozenset(
    """
    Abs Add And Cast Ceil Clip Equal Floor Greater GreaterOrEqual Identity IsInf IsNaN LeakyRelu Less
    LessOrEqual Max Min Mul Neg Not Or PRelu Relu Sign Sub Where Xor
    """.split()
)
"""Elementwise ops of an instruction or two: computing one again costs no more than reading its result."""

RELABELLING = frozenset({"Expand", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
"""Ops that only move elements, by an affine map of the indices: free where they are read inside a kernel."""

REDUCTIONS = frozenset(
    """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare ArgMax ArgMin
    """.split()
)
POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"})
NORMS = frozenset(
    {
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "LpNormalization",
        "RMSNormalization",
    }
)
SOFTMAXES = frozenset({"Hardmax", "LogSoftmax", "Softmax"})
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
MATMULS = frozenset({"Gemm", "MatMul"})


def is_named(op: Operation, names: frozenset[str]) -> bool:
    """Whether an op is an onnx op of one of these names."""
    return isinstance(op, OnnxOp) and op.onnx_name in names


def is_elementwise(op: Operation) -> bool:
    """Whether an op is elementwise on tensors; small integers (sizes and axes being computed) do not
    count."""
    return is_named(op, ELEMENTWISE) and not computes_sizes(op)


def computes_sizes(op: Operation) -> bool:
    """Whether an op makes integer scalars or vectors: they are mostly shapes, known when the model is
    compiled."""
    type_ = op.results[0].type
    if not isinstance(type_, TensorType):
        return True
    element = type_.element_type
    return type_.get_num_dims() <= 1 and isinstance(element, IntegerType) and element.width.data > 1


def is_constant(value: SSAValue) -> bool:
    """Whether a value is a small constant or a weight."""
    return isinstance(value.owner, (WeightOp, onnx.Constant))


def same_dims(a: Attribute, b: Attribute) -> bool:
    """Whether two types certainly have the same dims: equal sizes, or the same names."""
    first, second = dims_of(a), dims_of(b)
    return first is not None and first == second and "" not in first


def broadcasts_into(operand: Attribute, target: Attribute) -> bool:
    """Whether broadcasting a tensor of type `operand` with one of type `target` certainly gives the dims of
    `target`."""
    small, large = dims_of(operand), dims_of(target)
    if small is None or large is None or len(small) > len(large):
        return False
    return all(s == 1 or (s == d and s != "") for s, d in zip(small[::-1], large[::-1], strict=False))
