"""What random graphs have found, as small as it gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

import dsc
from dsc.errors import UnsupportedModelError
from tests.compiled import TextModel, check

Dims = Sequence[int | str]


def run(
    node: NodeProto,
    inputs: dict[str, tuple[np.ndarray, Dims]],
    constants: dict[str, np.ndarray],
    dtype: type[np.generic],
    rank: int,
) -> list[np.ndarray]:
    """The only result of a node at -O0 and -O2."""
    kind = helper.np_dtype_to_tensor_dtype
    declared = [helper.make_tensor_value_info(n, kind(a.dtype), dims) for n, (a, dims) in inputs.items()]
    output = helper.make_tensor_value_info(node.output[0], kind(np.dtype(dtype)), [None] * rank)
    weights = [numpy_helper.from_array(a, n) for n, a in constants.items()]
    graph = helper.make_graph([node], "found", declared, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    feeds = {name: array for name, (array, _) in inputs.items()}
    return [dsc.compile(model, opt_level=level).run(feeds)[node.output[0]] for level in (0, 2)]


@pytest.mark.parametrize("size", [3, 4, 5, 6, 7, 8])
def test_center_crop_pad_of_a_free_dim(size: int) -> None:
    """The odd element is cropped, and padded, at the end."""
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    node = helper.make_node("CenterCropPad", ["x", "shape"], ["y"])
    before = abs(size - 5) // 2
    expected = x[before : before + 5] if size >= 5 else np.pad(x, (before, 5 - size - before))
    for found in run(node, {"x": (x, ["n"])}, {"shape": np.array([5])}, np.float32, 1):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Min", "BitwiseAnd", "Equal"])
def test_a_negative_number_of_64_bits(op_type: str) -> None:
    x = np.array([np.iinfo(np.int64).min, -7, 0, 7, np.iinfo(np.int64).max])
    numpy_op = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Min": np.minimum, "BitwiseAnd": np.bitwise_and}
    with np.errstate(over="ignore"):
        wrapped = (-x.astype(object) + 2**63) % 2**64 - 2**63  # Div, towards zero, of which only the least wraps
        expected = numpy_op[op_type](x, -1) if op_type in numpy_op else x == -1 if op_type == "Equal" else wrapped
    node = helper.make_node(op_type, ["x", "c"], ["y"])
    dtype = np.bool_ if op_type == "Equal" else np.int64
    for found in run(node, {"x": (x, ["n"])}, {"c": np.array(-1)}, dtype, 1):
        np.testing.assert_array_equal(found, expected.astype(dtype))


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
def test_the_extreme_of_one_element(op_type: str) -> None:
    x = np.random.default_rng(3).standard_normal((4, 1, 16)).astype(np.float32)
    node = helper.make_node(op_type, ["x"], ["y"], axis=1, keepdims=0)
    for found in run(node, {"x": (x, ["n", 1, 16])}, {}, np.int64, 2):
        np.testing.assert_array_equal(found, np.zeros((4, 16), np.int64))


@pytest.mark.parametrize("rest", [[2], [3], [8], [2, 1, 1], ["m"], []])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_sums_along_a_free_dim(rest: list[int | str], reverse: int, caplog: pytest.LogCaptureFixture) -> None:
    """The size of the workspace is a quotient of the free dim."""
    shape = [70, *(5 if d == "m" else int(d) for d in rest)]
    x = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
    node = helper.make_node("CumSum", ["x", "axis"], ["y"], reverse=reverse)
    expected = np.flip(np.flip(x, 0).cumsum(0, np.float64), 0) if reverse else x.cumsum(0, np.float64)
    for found in run(node, {"x": (x, ["n", *rest])}, {"axis": np.array(0)}, np.float32, len(shape)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not caplog.records, "a schedule was refused"


@pytest.mark.parametrize(
    "shape", [[2, 16, 6, "m"], [2, 16, "m", 6], [17, 16, 1, "m"], [1, 16, "m", "n"], ["n", 16, 6, 5]]
)
def test_pointwise_convolution_of_a_free_dim(shape: list[int | str], caplog: pytest.LogCaptureFixture) -> None:
    """Its own kernel takes it: where six times the dim is less than 6, TVM would divide by a size that is 0."""
    random = np.random.default_rng(5)
    weight = random.standard_normal((16, 16, 1, 1)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    for size in (0, 1, 5, 23):
        x = random.standard_normal([size if isinstance(d, str) else d for d in shape]).astype(np.float32)
        expected = np.einsum("nchw,oc->nohw", x, weight[:, :, 0, 0], dtype=np.float64)
        for found in run(node, {"x": (x, shape)}, {"w": weight}, np.float32, 4):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not caplog.records, "a kernel failed"


def test_hard_swish_where_it_begins() -> None:
    """x / 6 + 1 / 2 cancels there, the x + 3 of models that write it out does not."""
    x = (-3 + np.geomspace(1e-6, 1, 200)).astype(np.float32)
    expected = x.astype(np.float64) * np.clip(x.astype(np.float64) + 3, 0, 6) / 6
    for found in run(helper.make_node("HardSwish", ["x"], ["y"]), {"x": (x, ["n"])}, {}, np.float32, 1):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_infinite_weight_reaches_only_where_there_is_an_element() -> None:
    """The first result of a stride of 2 is under no element: a zero there, times infinity, would be NaN."""
    x, w = np.float32([[[2, 3]]]), np.float32([[[5, np.inf, 7]]])
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], dilations=[2], pads=[1, 0])
    for found in run(node, {"x": (x, [1, 1, "n"])}, {"w": w}, np.float32, 3):
        np.testing.assert_array_equal(found, [[[0, np.inf, 0, np.inf, 0, 21]]])


def test_a_function_of_a_constant_has_all_its_digits() -> None:
    """ONNX Runtime, which folds constants, loses the tail of a Sigmoid."""
    x = np.float32([-20, -15.3, -3, 0.5])
    for found in run(helper.make_node("Sigmoid", ["x"], ["y"]), {}, {"x": x}, np.float32, 1):
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=1e-6)


def test_a_function_of_doubles_stays_one() -> None:
    """ONNX Runtime, which folds constants, computes Shrink in float32."""
    x = np.random.default_rng(8).standard_normal(9)
    expected = np.where(x < -0.5, x + 0.3, np.where(x > 0.5, x - 0.3, 0))
    node = helper.make_node("Shrink", ["x"], ["y"], bias=0.3, lambd=0.5)
    for found in run(node, {}, {"x": x}, np.float64, 1):
        np.testing.assert_allclose(found, expected, atol=2e-8)  # 0.3 is a float32 in the file
        np.testing.assert_array_equal(found != found.astype(np.float32), expected != 0)


@pytest.mark.parametrize("op_type", ["GatherND", "ScatterND"])
def test_index_vectors_of_free_length_are_refused(op_type: str) -> None:
    """The rank of the slices would depend on it."""
    x, indices = np.zeros((3, 4), np.float32), np.array([[0, 1], [2, 3]])
    inputs: dict[str, tuple[np.ndarray, Dims]] = {"x": (x, [3, 4]), "i": (indices, [2, "k"])}
    if op_type == "ScatterND":
        inputs["u"] = (np.ones(2, np.float32), ["n"])
    with pytest.raises(UnsupportedModelError, match=rf"{op_type}: dim -1 of operand 1 is free; .* --shape"):
        run(helper.make_node(op_type, list(inputs), ["y"]), inputs, {}, np.float32, 1)


def test_terms_of_an_index_in_a_binding_and_after_it() -> None:
    """TVM put the variable of ``i * 35`` behind its first use, in the first of two nests that share rows."""
    random = np.random.default_rng(5)
    weights = {"a": random.standard_normal((1, 7)).astype(np.float32)}
    model = TextModel("(float[12,5,7] b) => (float[12,5,7] y) { x = Mod<fmod=1>(a, b) y = Softsign(x) }", weights)
    compilation = check(model, {"b": random.uniform(0.5, 2, (12, 5, 7)).astype(np.float32)})
    assert not compilation.model.choices[0].failures
