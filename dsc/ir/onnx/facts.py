"""What is true of an operator whatever its operands are: one table, which passes, lowering and checks ask.

>>> has(op, Fact.VIEW)
>>> ops.any(*OPERATORS[Fact.ACTIVATION])

What a rule accepts for reasons of its own (the ops that split heads, say) stays with the rule. Operators of plugins are
added to the table when they are registered: who keeps a part of it keeps the set itself, not a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from enum import Enum, auto

from xdsl.ir import Operation


class Fact(Enum):
    """Something an operator is, or does."""

    ELEMENTWISE = auto()
    """Each element of the result is computed of those in its place, with ONNX broadcasting."""
    CHEAP = auto()
    """Elementwise, an instruction or two: computing it again costs no more than reading its result."""
    ACTIVATION = auto()
    """Elementwise, of one tensor; other operands are single numbers."""
    BROADCASTS = auto()
    """All operands are tensors, and broadcast to one shape, that of the result."""
    COMMUTATIVE = auto()
    """Its two operands may be swapped."""

    VIEW = auto()
    """The result is the first operand with other dims: the same bytes."""
    AFFINE = auto()
    """An element of the only result is that of the first operand at an affine map of its indices."""
    MOVES = auto()
    """The elements of the results are elements of the first operand."""
    SELECTS = auto()
    """The elements of the results are elements of operands, or numbers that the op itself states (padding, limits)."""

    CONVOLUTION = auto()
    """Sums of products over windows, in the operands' own type of floats."""
    PRODUCT = auto()
    """Products of matrices, in the operands' own type."""
    REDUCTION = auto()
    """One element for all of the first operand along some axes."""
    POOL = auto()
    """One element for each window, or for the whole image, of each channel."""
    SLIDING = auto()
    """A result of (h + pads - dilation * (kernel - 1) - 1) / stride + 1 for each spatial dim h of the first operand."""
    NORMALIZATION = auto()
    """Divides by statistics of the data itself."""
    SOFTMAX = auto()
    """Of all elements along an axis, their part of the whole."""

    EXACT = auto()
    """The results are operands, or rounded in one way only: two right implementations give equal bits."""
    WHOLE = auto()
    """Makes whole numbers of whole numbers, without rounding."""
    SENSITIVE = auto()
    """Rounds inside, where terms may cancel or before a step: small errors of its operands may grow."""
    CANCELS = auto()
    """Its definition has terms that cancel, such as `1 + erf(x)`."""
    RANDOM = auto()
    """Gives other results each time."""


def has(op: Operation, fact: Fact) -> bool:
    """Whether `op` is an onnx op of which `fact` is true."""
    return op.name.removeprefix("onnx.") in OPERATORS[fact]


def facts_of(name: str) -> frozenset[Fact]:
    """All that is true of an operator, by its name."""
    return frozenset(fact for fact, names in OPERATORS.items() if name in names)


def encoding_parameters(op: Operation) -> frozenset[int]:
    """The operands of `op`, by position, that say how another operand or the result encodes numbers: scales and zero
    points. They are data: ops that differ in them alone do the same."""
    return ENCODING_PARAMETERS.get(op.name.removeprefix("onnx."), frozenset())


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VIEW = _names("Flatten Identity Reshape Squeeze Unsqueeze")
_AFFINE = _names("Expand Slice Squeeze Transpose Unsqueeze")
_MOVES = (
    _VIEW
    | _AFFINE
    | _names("Compress DepthToSpace Gather GatherElements GatherND ReverseSequence SpaceToDepth Split Tile")
)
_SELECTS = _MOVES | _names(
    """
    CenterCropPad Clip Concat GlobalMaxPool Max MaxRoiPool Min OneHot Pad ReduceMax ReduceMin Relu TensorScatter Trilu
    Where
    """
)
_EXACT = _SELECTS | _names(
    """
    Abs BitCast Cast CastLike Ceil ConstantOfShape DequantizeLinear Dropout EyeLike Floor Hardmax MaxPool MaxUnpool Neg
    QuantizeLinear Range Round ScatterElements ScatterND Sign TopK Unique
    """
)
_CHEAP = _names(
    """
    Abs Add And BitCast Cast Ceil Clip Equal Floor Greater GreaterOrEqual Identity IsInf IsNaN LeakyRelu Less
    LessOrEqual Max Min Mul Neg Not Or PRelu Relu Sign Sub Where Xor
    """
)
_ACTIVATION = _names(
    """
    Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu Mish Relu Selu Shrink Sigmoid Softplus Softsign Swish Tanh
    ThresholdedRelu
    """
)
_BROADCASTS = _names(
    """
    Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod
    Mul Or Pow Sub Sum Where Xor
    """
)
_SUMMING_REDUCTIONS = _names("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceSum ReduceSumSquare")
_NORMALIZATION = _names(
    "GroupNormalization InstanceNormalization LayerNormalization LpNormalization RMSNormalization"
)  # fmt: skip

_OF_ONNX: Mapping[Fact, frozenset[str]] = {
    Fact.ELEMENTWISE: _CHEAP
    | _ACTIVATION
    | _BROADCASTS
    | _names(
        """
        Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cos Cosh Erf Exp Log Reciprocal Round Sin Sinh Sqrt SwiGLU Tan
        """
    ),
    Fact.CHEAP: _CHEAP,
    Fact.ACTIVATION: _ACTIVATION,
    Fact.BROADCASTS: _BROADCASTS,
    Fact.COMMUTATIVE: _names("Add And BitwiseAnd BitwiseOr BitwiseXor Equal Max Mean Min Mul Or Sum Xor"),
    Fact.VIEW: _VIEW,
    Fact.AFFINE: _AFFINE,
    Fact.MOVES: _MOVES,
    Fact.SELECTS: _SELECTS,
    Fact.CONVOLUTION: _names("Conv ConvTranspose"),
    Fact.PRODUCT: _names("Gemm MatMul"),
    Fact.REDUCTION: _SUMMING_REDUCTIONS | _names("ArgMax ArgMin ReduceMax ReduceMin ReduceProd"),
    Fact.POOL: _names("AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool"),
    Fact.SLIDING: _names("AveragePool Conv ConvInteger DeformConv LpPool MaxPool QLinearConv"),
    Fact.NORMALIZATION: _NORMALIZATION,
    Fact.SOFTMAX: _names("Hardmax LogSoftmax Softmax"),
    Fact.EXACT: _EXACT,
    Fact.WHOLE: _EXACT - _names("BitCast ConstantOfShape")
    | _names("Add CumProd CumSum Mul ReduceProd ReduceSum Sub Sum"),
    Fact.SENSITIVE: _SUMMING_REDUCTIONS
    | _NORMALIZATION
    | _names(
        """
        Attention AveragePool CausalConvWithState Col2Im Conv ConvTranspose CumSum DFT DeformConv Det
        DynamicQuantizeLinear Einsum GRU Gemm GlobalAveragePool GlobalLpPool LRN LSTM LinearAttention LogSoftmax LpPool
        MatMul MeanVarianceNormalization NegativeLogLikelihoodLoss QuantizeLinear RNN STFT Softmax
        SoftmaxCrossEntropyLoss
        """
    ),
    Fact.CANCELS: _names("Celu Elu Gelu Mish Selu Softplus"),
    Fact.RANDOM: _names("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"),
}  # fmt: skip
_named = {fact: set(names) for fact, names in _OF_ONNX.items()}

OPERATORS: Mapping[Fact, Set[str]] = _named
"""The operators of each fact, by name: "Conv", "com.mine.Swoosh"."""

IMPLIED: Mapping[Fact, tuple[Fact, ...]] = {
    Fact.CHEAP: (Fact.ELEMENTWISE,),
    Fact.ACTIVATION: (Fact.ELEMENTWISE,),
    Fact.BROADCASTS: (Fact.ELEMENTWISE,),
    Fact.COMMUTATIVE: (Fact.BROADCASTS, Fact.ELEMENTWISE),
    Fact.VIEW: (Fact.MOVES, Fact.SELECTS, Fact.EXACT, Fact.WHOLE),
    Fact.AFFINE: (Fact.MOVES, Fact.SELECTS, Fact.EXACT, Fact.WHOLE),
    Fact.MOVES: (Fact.SELECTS, Fact.EXACT, Fact.WHOLE),
    Fact.SELECTS: (Fact.EXACT, Fact.WHOLE),
}
"""What else is true of an operator of which a fact is."""


def with_implied(facts: Iterable[Fact]) -> frozenset[Fact]:
    """Facts, and all that they imply."""
    return frozenset(each for fact in facts for each in (fact, *IMPLIED.get(fact, ())))


def state_facts(name: str, facts: Iterable[Fact]) -> None:
    """Add an operator to the table, with what its facts imply."""
    for fact in with_implied(facts):
        _named[fact].add(name)


def forget_facts(name: str) -> None:
    """Take an operator out of the table."""
    for names in _named.values():
        names.discard(name)


ENCODING_PARAMETERS: Mapping[str, frozenset[int]] = {
    "ConvInteger": frozenset({2, 3}),
    "DequantizeLinear": frozenset({1, 2}),
    "MatMulInteger": frozenset({2, 3}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QuantizeLinear": frozenset({1, 2}),
}
"""By operator: see `encoding_parameters`."""
