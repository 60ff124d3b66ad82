"""A graph under construction: every value is known for every sample, exactly and with noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.random_graphs.arrays import is_float, random_array
from tests.random_graphs.evaluate import FORMULAS, IR_VERSION, OPSET, Arrays, Rejected, references

SAMPLES = 2
"""Inputs that each graph is run on: free dims have other sizes in each."""
NOISY = 5
"""Evaluations in which every rounding falls otherwise."""
MAX_ELEMENTS, MAX_RANK, MAX_INPUTS = 20_000, 6, 5
_SUM_LIMIT = 1e15
"""Sums of larger terms overflow in one order and not in another."""


class Noise(Enum):
    """Where a node may round otherwise than the reference, in units of the last place."""

    NONE = (0, 0, 0)
    """Moves data, compares, or is rounded correctly by all."""
    RESULT = (0, 2, 0)
    """A product that may be contracted with a sum, a division by a reciprocal."""
    FUNCTION = (0, 8, 0)
    """An elementary function."""
    DIFFERENCE = (0, 8, 4)
    """A function that is defined by a difference, e^x - 1: relative to its terms."""
    SUM = (4, 4, 0)
    """A sum in another order: relative to its terms, not to its result."""
    CONVOLUTION = (12, 4, 0)
    """As SUM; Winograd's transforms add what they take away again."""
    SUM_LESS_SUM = (4, 4, 4)
    """Sums of which the result is a difference: a logarithm of a sum, what is centred by a mean."""

    @property
    def operand(self) -> int:
        return self.value[0]

    @property
    def result(self) -> int:
        return self.value[1]

    @property
    def offset(self) -> int:
        return self.value[2]


@dataclass(frozen=True)
class Value:
    """A tensor: `exact` for each sample, and `noisy` for each sample and evaluation."""

    name: str
    exact: tuple[np.ndarray, ...]
    noisy: tuple[tuple[np.ndarray, ...], ...]
    constant: bool

    @property
    def dtype(self) -> np.dtype:
        return self.exact[0].dtype

    @property
    def rank(self) -> int:
        return self.exact[0].ndim

    @property
    def dims(self) -> tuple[int | None, ...]:
        """The sizes; None where samples differ."""
        return tuple(d if all(a.shape[i] == d for a in self.exact) else None for i, d in enumerate(self.exact[0].shape))

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """The shape in each sample."""
        return tuple(a.shape for a in self.exact)

    @property
    def static(self) -> bool:
        return None not in self.dims

    @property
    def finite(self) -> bool:
        """Whether a float tensor has neither infinities nor NaN in any sample."""
        return all(bool(np.isfinite(a).all()) for a in self.exact)


class RandomGraph:
    """Collects nodes. What an op needs it picks among the values there are, or makes anew."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._roundings = np.random.default_rng([seed, 1])
        """Of the noise: another amount of it does not make another graph."""
        rng = self.rng
        self.special = float(rng.choice([0.0, 0.0, 0.05, 0.3]))
        """Share of special values in inputs and constants."""
        self.symbolic = bool(rng.random() < 0.5)
        self._symbols = {name: tuple(map(int, rng.choice(9, SAMPLES, replace=False) + 1)) for name in ("n", "m")}
        self.values: list[Value] = []
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[tuple[Value, list[int | str]]] = []
        self._constants: list[onnx.TensorProto] = []
        self._made: list[Value] = []
        self._used: set[str] = set()

    # --- values

    def input(self, dtype: np.dtype, dims: Sequence[int | str]) -> Value:
        """A new input; names among `dims` are free."""
        shapes = [tuple(d if isinstance(d, int) else self._symbols[d][s] for d in dims) for s in range(SAMPLES)]
        arrays = tuple(random_array(self.rng, dtype, shape, self.special) for shape in shapes)
        value = self._value(f"in{len(self._inputs)}", arrays, tuple((a,) * NOISY for a in arrays), False)
        self._inputs.append((value, list(dims)))
        return value

    def constant(self, array: np.ndarray, node: bool = False) -> Value:
        """An initializer (or the output of a Constant)."""
        name = f"c{len(self._constants)}_{len(self._nodes)}"
        if node:
            self._nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        else:
            self._constants.append(numpy_helper.from_array(array, name))
        return self._value(name, (array,) * SAMPLES, ((array,) * NOISY,) * SAMPLES, True)

    def random(self, dtype: np.dtype, shape: Sequence[int]) -> Value:
        """A new constant or input of a static shape."""
        if self.rng.random() < 0.6:
            return self.constant(random_array(self.rng, dtype, shape, self.special / 2))
        return self.input(dtype, list(shape))

    def dim(self) -> int | str:
        """A size for a new input."""
        if self.symbolic and self.rng.random() < 0.4:
            return str(self.rng.choice(["n", "m"]))
        return int(self.rng.choice([1, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17]))

    def pick(self, accept: Callable[[Value], bool], make: Callable[[], Value] | None = None) -> Value:
        """One of the values that fit, the newest ones more often; a new one if there is none. Raises Rejected."""
        fitting = [v for v in self.values if accept(v)]
        if not fitting and make is not None and len(self._inputs) < MAX_INPUTS:
            fitting = [v for v in [make()] if accept(v)]
        if not fitting:
            raise Rejected
        weights = np.arange(1, len(fitting) + 1) ** 2.0
        return fitting[int(self.rng.choice(len(fitting), p=weights / weights.sum()))]

    def image(self, dtype: np.dtype | type = np.float32, spatial: int = 2) -> Value:
        """A new input [batch, channels, ...]."""
        channels = int(self.rng.choice([1, 2, 3, 4, 8, 12, 16, 32, 17]))
        return self.input(np.dtype(dtype), [self.dim(), channels, *(self.dim() for _ in range(spatial))])

    def sequence(self, dtype: np.dtype | type = np.float32) -> Value:
        """A new input [batch, length, width]."""
        return self.input(np.dtype(dtype), [self.dim(), self.dim(), int(self.rng.choice([4, 8, 12, 16]))])

    def matrix(self, dtype: np.dtype | type = np.float32) -> Value:
        """A new static input [rows, columns]."""
        return self.input(np.dtype(dtype), [int(d) for d in self.rng.choice([1, 2, 3, 5, 8, 16, 17, 33], 2)])

    def _value(self, name: str, exact: Sequence[np.ndarray], noisy: tuple[Arrays, ...], constant: bool) -> Value:
        value = Value(name, tuple(exact), tuple(map(tuple, noisy)), constant)
        self.values.append(value)
        return value

    # --- nodes

    def add(
        self, op_type: str, operands: Sequence[Value | None], noise: Noise, outputs: int = 1, **attributes: object
    ) -> list[Value]:
        """Append a node and evaluate it. Raises Rejected where its references cannot, or do not agree."""
        count = len(self._nodes)
        names = [f"v{count}" if outputs == 1 else f"v{count}_{i}" for i in range(outputs)]
        inputs = [v.name if v is not None else "" for v in operands]
        node = helper.make_node(op_type, inputs, names, f"{op_type}_{count}", **attributes)
        present = [v for v in operands if v is not None]
        if noise.operand and any(wild(a) for v in present for a in v.exact):
            raise Rejected
        run = self._reference(node, operands, noise)
        exact, noisy = [], []
        for sample in range(SAMPLES):
            exact.append(run([v.exact[sample] for v in present]))
            noisy.append([self._noisy(run, [v.noisy[sample][k] for v in present], noise) for k in range(NOISY)])
        if any(r.size > MAX_ELEMENTS or r.ndim > MAX_RANK or r.dtype.kind in "OSUc" for rs in exact for r in rs):
            raise Rejected
        if any(
            a.shape != r.shape
            for own, rs in zip(noisy, exact, strict=True)
            for n in own
            for a, r in zip(n, rs, strict=True)
        ):
            raise Rejected  # a size that roundings decide
        self._nodes.append(node)
        self._used.update(v.name for v in present)
        made = []
        for index, name in enumerate(names):
            own = tuple([evaluation[index] for evaluation in evaluations] for evaluations in noisy)
            made.append(self._value(name, [results[index] for results in exact], own, all(v.constant for v in present)))
        self._made += made
        return made

    def _reference(
        self, node: onnx.NodeProto, operands: Sequence[Value | None], noise: Noise
    ) -> Callable[[Arrays], Arrays]:
        """What computes the node on the operands that are present. Functions are computed in float64 and rounded:
        the tails of ONNX Runtime's are not good to the last places."""
        wide = noise in (Noise.FUNCTION, Noise.DIFFERENCE)
        renamed = _renamed(node)
        for sample in range(SAMPLES):
            arrays = [None if v is None else v.exact[sample] for v in operands]
            found = references(renamed, [a.astype(np.float64) if wide and a is not None else a for a in arrays])
        run = FORMULAS.get(node.op_type, found[-1]) if wide else found[0]
        dtype = next(v.dtype for v in operands if v is not None)

        def rounded(arrays: Arrays) -> Arrays:
            with np.errstate(all="ignore"):
                return [r.astype(dtype) for r in run([a.astype(np.float64) for a in arrays])]

        return rounded if wide else run

    def one(self, op_type: str, operands: Sequence[Value | None], noise: Noise, **attributes: object) -> Value:
        """As `add`, for the only result."""
        return self.add(op_type, operands, noise, **attributes)[0]

    def _noisy(self, run: Callable[[Arrays], Arrays], operands: Arrays, noise: Noise) -> Arrays:
        try:
            results = run([self._shaken(a, noise.operand) for a in operands])
        except Exception as error:  # a reference that took the exact operands
            raise Rejected from error
        shaken = [self._shaken(r, noise.result) for r in results]
        return [self._offset(r, operands[0], noise.offset) for r in shaken] if noise.offset else shaken

    def _offset(self, array: np.ndarray, operand: np.ndarray, ulps: int) -> np.ndarray:
        """Moved by some units in the last place of the largest operand, and of 1."""
        epsilon = float(ml_dtypes.finfo(array.dtype).eps)
        finite = operand[np.isfinite(operand)].astype(np.float64)
        with np.errstate(all="ignore"):
            scale = ulps * epsilon * (1 + np.abs(finite).max(initial=0))
            moved = array.astype(np.float64) + scale * self._roundings.uniform(-1, 1, array.shape)
            return np.asarray(moved.astype(array.dtype))

    def _shaken(self, array: np.ndarray, ulps: int) -> np.ndarray:
        if not ulps or not is_float(array.dtype):
            return array
        epsilon = float(ml_dtypes.finfo(array.dtype).eps)
        with np.errstate(all="ignore"):
            factors = 1 + (ulps * epsilon) * self._roundings.uniform(-1, 1, array.shape)
            return np.asarray((array.astype(np.float64) * factors).astype(array.dtype))

    # --- the model

    @property
    def node_count(self) -> int:
        return len(self._nodes)

    def outputs(self) -> list[Value]:
        """Every value that nothing reads, and some that are read too."""
        chosen = [v for v in self._made if v.name not in self._used or self.rng.random() < 0.1]
        return chosen or self._made[-1:]

    def model(self, outputs: Sequence[Value]) -> onnx.ModelProto:
        """The ONNX model."""
        free = any(isinstance(d, str) for _, dims in self._inputs for d in dims)
        graph = helper.make_graph(
            self._nodes,
            "random",
            [helper.make_tensor_value_info(v.name, _kind(v), dims) for v, dims in self._inputs],
            [helper.make_tensor_value_info(v.name, _kind(v), [None] * v.rank if free else v.dims) for v in outputs],
            self._constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def feeds(self, sample: int) -> dict[str, np.ndarray]:
        """The inputs of a sample by name."""
        return {v.name: v.exact[sample] for v, _ in self._inputs}


def _kind(value: Value) -> int:
    return int(helper.np_dtype_to_tensor_dtype(value.dtype))


def _renamed(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node with a name of its own for each operand: `Mul(x, x)` is fed twice."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for index, name in enumerate(copy.input):
        copy.input[index] = f"x{index}" if name else ""
    return copy


def wild(array: np.ndarray) -> bool:
    """Whether sums of such terms may overflow in between."""
    if not is_float(array.dtype):
        return False
    wide = array.astype(np.float64)
    limit = min(_SUM_LIMIT, float(ml_dtypes.finfo(array.dtype).max) / 64)
    return bool((np.abs(wide[np.isfinite(wide)]) > limit).any())
