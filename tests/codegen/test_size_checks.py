"""Sizes that do not fit are refused before anything runs, as ONNX Runtime does; those that fit are computed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest

import dsc
from dsc.errors import UnsupportedModelError, UsageError
from tests.codegen.models import model, node_model

F, I64, B, U8 = np.float32, np.int64, np.bool_, np.uint8
Sizes = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Case:
    """A model with free dims, sizes of its inputs that fit, others that do not, and what is said then."""

    name: str
    model: onnx.ModelProto
    fits: tuple[Sizes, ...]
    wrong: tuple[tuple[Sizes, str], ...]

    def feeds(self, sizes: Sizes) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        arrays = {}
        for value, shape in zip(self.model.graph.input, sizes, strict=True):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            low, high = (0, 2) if dtype.kind in "iub" else (-1, 1)
            arrays[value.name] = rng.uniform(low, high, shape).astype(dtype)
        return arrays


def _weight(*shape: int, dtype: type = F) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(dtype)


CASES = [
    Case(
        "matmul",
        node_model("MatMul", {"x": (F, ["b", "s", "h"])}, {"w": _weight(768, 8)}, (F, 3)),
        (((2, 3, 768),),),
        ((((2, 3, 512),), "input x: dim 2 is 512.*inner dims of A and B must be equal, not 512 and 768"),
         (((2, 3, 1000),), "1000 and 768")),
    ),
    Case(
        "matmul of two inputs",
        node_model("MatMul", {"a": (F, ["m", "k"]), "b": (F, ["l", "n"])}, None, (F, 2)),
        (((2, 5), (5, 3)), ((2, 0), (0, 3))),
        ((((2, 3), (700, 4)), "input a: dim 1 is 3; input b: dim 0 is 700"),
         (((1 << 40, 0), (0, 1 << 40)), "the bytes of its result must be at most")),
    ),
    Case(
        "batches",
        node_model("MatMul", {"a": (F, ["p", "m", "k"]), "b": (F, ["q", "k", "n"])}, None, (F, 3)),
        (((2, 4, 5), (2, 5, 3)), ((1, 4, 5), (2, 5, 3)), ((2, 4, 5), (1, 5, 3))),
        ((((2, 4, 5), (3, 5, 3)), "dims -1 of its operands must be equal, or one of them 1, not 2 and 3"),),
    ),
    Case(
        "gemm",
        node_model("Gemm", {"a": (F, ["k", "m"]), "b": (F, ["n", "l"]), "c": (F, ["p"])}, None, (F, 2),
                   transA=1, transB=1),
        (((5, 2), (3, 5), (3,)), ((5, 2), (3, 5), (1,))),
        ((((5, 2), (3, 6), (3,)), "inner dims of A and B must be equal, not 5 and 6"),
         (((5, 2), (3, 5), (2,)), "dim -1 of C")),
    ),
    Case(
        "conv",
        node_model("Conv", {"x": (F, ["n", "c", "h", "w"])}, {"w": _weight(4, 3, 3, 3)}, (F, 4)),
        (((1, 3, 8, 8),), ((2, 3, 3, 3),)),
        ((((1, 1, 8, 8),), "input x: dim 1 is 1.*channels of X"),
         (((1, 3, 8, 1),), "dim 3 of its result must be at least 0, not -1")),
    ),
    Case(
        "bias of conv",
        node_model("Conv", {"x": (F, ["n", "c", "h"]), "b": (F, ["k"])}, {"w": _weight(6, 2, 3)}, (F, 3),
                   order=["x", "w", "b"], group=2),
        (((1, 4, 8), (6,)),),
        ((((1, 4, 8), (5,)), "the length of the bias and the filters of W must be equal, not 5 and 6"),
         (((1, 2, 8), (6,)), "2 times those of a filter of W must be equal, not 2 and 4")),
    ),
    Case(
        "conv transpose",
        node_model("ConvTranspose", {"x": (F, ["n", "c", "h"]), "b": (F, ["k"])}, {"w": _weight(6, 2, 3)}, (F, 3),
                   order=["x", "w", "b"]),
        (((1, 6, 8), (2,)),),
        ((((1, 5, 8), (2,)), "channels of X and the filters of W"), (((1, 6, 8), (3,)), "the length of the bias")),
    ),
    Case(
        "add",
        node_model("Add", {"x": (F, ["a"]), "z": (F, ["b"])}),
        (((5,), (5,)), ((1,), (5,)), ((5,), (1,)), ((0,), (0,))),
        ((((3,), (5,)), "input x: dim 0 is 3; input z: dim 0 is 5.*not 3 and 5"), (((0,), (5,)), "not 0 and 5")),
    ),
    Case(
        "where",
        node_model("Where", {"c": (B, ["a", "d"]), "x": (F, ["b"]), "z": (F, ["c"])}, None, (F, 2)),
        (((3, 5), (5,), (1,)), ((3, 1), (1,), (7,))),
        ((((3, 4), (5,), (1,)), "not 4 and 5"), (((3, 1), (5,), (7,)), "not 5 and 7")),
    ),
    Case(
        "concat",
        node_model("Concat", {"x": (F, ["a", "b"]), "z": (F, ["c", "d"])}, None, (F, 2), axis=0),
        (((3, 2), (5, 2)), ((0, 2), (1, 2))),
        ((((3, 2), (5, 3)), "dim 1 of operands 0 and 1 must be equal, not 2 and 3"),),
    ),
    Case(
        "reshape to two rows",
        node_model("Reshape", {"x": (F, ["a", "b"])}, {"t": np.array([2, -1])}, (F, 2)),
        (((4, 5),), ((0, 5),)),
        ((((3, 5),), "input x: dim 0 is 3, dim 1 is 5.*not 15 and 14"),),
    ),
    Case(
        "reshape",
        node_model("Reshape", {"x": (F, ["a", "b"])}, {"t": np.array([4, 8])}, (F, 2)),
        (((2, 16),),),
        ((((3, 5),), "not 15 and 32"),),
    ),
    Case(
        "layer norm",
        node_model("LayerNormalization", {"x": (F, ["a", "b"]), "s": (F, ["c"]), "t": (F, ["d"])}, None, (F, 2)),
        (((3, 5), (5,), (5,)),),
        ((((3, 5), (3,), (5,)), "dim -1 of the scale"), (((3, 5), (5,), (7,)), "dim -1 of the bias")),
    ),
    Case(
        "prelu",
        node_model("PRelu", {"x": (F, ["a", "b"]), "s": (F, ["c"])}, None, (F, 2)),
        (((3, 5), (5,)), ((3, 5), (1,))),
        ((((3, 5), (3,)), "dim -1 of the slope"), (((3, 1), (5,)), "must be at most 1, not 5")),
    ),
    Case(
        "batch norm",
        node_model("BatchNormalization", {"x": (F, ["n", "c", "h"]), "s": (F, ["k"])},
                   {name: _weight(4) ** 2 for name in "bmv"}, (F, 3)),
        (((2, 4, 3), (4,)),),
        ((((2, 4, 3), (3,)), "the length of the scale and the channels must be equal, not 3 and 4"),
         (((2, 5, 3), (5,)), "the length of the bias and the channels must be equal, not 4 and 5")),
    ),
    Case(
        "expand",
        node_model("Expand", {"x": (F, ["a", "b"])}, {"t": np.array([4, 3])}, (F, 2)),
        (((1, 3),), ((4, 1),)),
        ((((2, 3),), "must be equal, or one of them 1, not 2 and 4"),),
    ),
    Case(
        "split",
        node_model("Split", {"x": (F, ["a"])}, {"t": np.array([4])}, axis=0),
        (((4,),),),
        ((((5,),), "the sum of the parts"),),
    ),
    Case(
        "squeeze",
        node_model("Squeeze", {"x": (F, ["a", "b"])}, {"t": np.array([1])}),
        (((4, 1),),),
        ((((4, 2),), "dim 1, which is dropped, and 1 must be equal, not 2 and 1"),),
    ),
    Case(
        "top k",
        model(
            [onnx.helper.make_node("TopK", ["x", "k"], ["y", "i"], name="the node")],
            {"x": (F, ["a"])}, {"y": (F, ["y0"]), "i": (I64, ["y0"])}, {"k": np.array([3])},
        ),
        (((3,),), ((7,),)),
        ((((2,),), "k must be at most 2, not 3"),),
    ),
    Case(
        "pool",
        node_model("MaxPool", {"x": (F, ["n", "c", "h"])}, None, (F, 3), kernel_shape=[5]),
        (((1, 2, 5),),),
        ((((1, 2, 2),), "dim 2 of its result must be at least 0, not -2"),),
    ),
    Case(
        "reflection",
        node_model("Pad", {"x": (F, ["a"])}, {"p": np.array([1, 1])}, mode="reflect"),
        (((3,),), ((2,),)),
        ((((0,),), "dim 0, which is continued, must be at least 1, not 0"),),
    ),
    Case(
        "einsum",
        node_model("Einsum", {"x": (F, ["a", "b"]), "z": (F, ["c", "d"])}, None, (F, 2), equation="ij,jk->ik"),
        (((2, 3), (3, 4)),),
        ((((2, 3), (5, 4)), "the dims of label 'j'"),),
    ),
    Case(
        "gather elements",
        node_model("GatherElements", {"x": (F, ["a", "b"]), "i": (I64, ["c", "d"])}, None, (F, 2), axis=1),
        (((3, 4), (2, 9)),),
        ((((3, 4), (5, 2)), "dim 0 of the indices must be at most 3, not 5"),),
    ),
    Case(
        "scatter",
        node_model("ScatterElements", {"x": (F, ["a"]), "i": (I64, ["b"]), "u": (F, ["c"])}),
        (((3,), (2,), (2,)),),
        ((((3,), (2,), (1,)), "dim 0 of updates and indices must be equal, not 1 and 2"),),
    ),
    Case(
        "scatter nd",
        node_model("ScatterND", {"x": (F, ["a", "e"]), "i": (I64, ["b", 1]), "u": (F, ["c", "d"])}, None, (F, 2)),
        (((3, 4), (2, 1), (2, 4)),),
        ((((3, 4), (2, 1), (2, 3)), "dim 1 of updates and what they replace must be equal, not 3 and 4"),),
    ),
    Case(
        "depth to space",
        node_model("DepthToSpace", {"x": (F, ["n", "c", "h", "w"])}, None, (F, 4), blocksize=2),
        (((1, 8, 2, 3),),),
        ((((1, 6, 2, 3),), "the channels must be a multiple of 4, not 6"),),
    ),
    Case(
        "space to depth",
        node_model("SpaceToDepth", {"x": (F, ["n", "c", "h", "w"])}, None, (F, 4), blocksize=2),
        (((1, 2, 4, 6),),),
        ((((1, 2, 4, 5),), "the width must be a multiple of 2, not 5"),),
    ),
    Case(
        "group norm",
        node_model("GroupNormalization", {"x": (F, ["n", "c", "h"]), "s": (F, ["k"]), "t": (F, ["k"])}, None, (F, 3),
                   num_groups=2),
        (((1, 4, 3), (4,), (4,)),),
        ((((1, 5, 3), (5,), (5,)), "the channels, in groups, must be a multiple of 2, not 5"),
         (((1, 4, 3), (3,), (3,)), "the length of the scale")),
    ),
    Case(
        "quantize",
        node_model("QuantizeLinear", {"x": (F, ["a", "b"]), "s": (F, ["c"])}, None, (U8, 2)),
        (((3, 4), (4,)),),
        ((((3, 4), (3,)), "the length of the scale and dim 1 of x must be equal, not 3 and 4"),),
    ),
    Case(
        "grid sample",
        node_model("GridSample", {"x": (F, ["n", "c", "h", "w"]), "g": (F, ["m", "p", "q", 2])}, None, (F, 4)),
        (((1, 2, 3, 4), (1, 2, 2, 2)),),
        ((((2, 2, 3, 4), (3, 2, 2, 2)), "the batches of X and of the grid must be equal, not 3 and 2"),),
    ),
    Case(
        "resize",
        node_model("Resize", {"x": (F, ["a", "b"])}, {"sizes": np.array([4, 4])}, (F, 2),
                   order=["x", "", "", "sizes"]),
        (((2, 3),),),
        ((((0, 3),), "made of dim 0 must be at most 0, not 1"),),
    ),
    Case(
        "reverse",
        node_model("ReverseSequence", {"x": (F, ["t", "b"]), "l": (I64, ["c"])}, None, (F, 2)),
        (((3, 4), (4,)),),
        ((((3, 4), (3,)), "the lengths and the batch must be equal, not 3 and 4"),),
    ),
    Case(
        "one hot",
        node_model("OneHot", {"i": (I64, ["a"]), "v": (F, ["c"])}, {"d": np.array(3)}, (F, 2), order=["i", "d", "v"]),
        (((4,), (2,)),),
        ((((4,), (1,)), "the number of values and 2 must be equal, not 1 and 2"),),
    ),
]  # fmt: skip


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sizes(case: Case, level: int) -> None:
    compiled = dsc.compile(case.model, opt_level=level, threads=1)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    reference = onnxruntime.InferenceSession(case.model.SerializeToString(), options)
    for sizes, message in case.wrong:
        feeds = case.feeds(sizes)
        with pytest.raises(UsageError, match=message) as raised:
            compiled.run(feeds)
        assert "(node 'the node')" in str(raised.value)
        assert "input " in str(raised.value)
    for sizes in case.fits:  # after the errors: the module can still be used
        feeds = case.feeds(sizes)
        found, expected = compiled.run(feeds)["y"], reference.run(["y"], feeds)[0]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_error_names_what_is_in_the_middle_of_a_model() -> None:
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["r"], name="first"),
        onnx.helper.make_node("Concat", ["r", "z"], ["c"], name="joined", axis=1),
        onnx.helper.make_node("MatMul", ["c", "w"], ["m"], name="multiplied"),
        onnx.helper.make_node("Relu", ["m"], ["y"], name="last"),
    ]
    inputs = {"x": (F, ["a", "b"]), "z": (F, ["c", "d"])}
    compiled = dsc.compile(model(nodes, inputs, {"y": (F, ["p", "q"])}, {"w": _weight(8, 3)}))
    one = {"x": np.ones((2, 3), F), "z": np.ones((2, 5), F)}
    assert compiled.run(one)["y"].shape == (2, 3)
    with pytest.raises(UsageError, match=r"dim 1 is 3; input z: dim 1 is 6\. .*'multiplied'.* not 9 and 8"):
        compiled.run({**one, "z": np.ones((2, 6), F)})
    with pytest.raises(UsageError, match=r"'joined'.* not 2 and 3"):
        compiled.run({**one, "z": np.ones((3, 5), F)})


def test_a_division_by_a_dim_of_zero_is_an_error_and_no_signal() -> None:
    nodes = [
        onnx.helper.make_node("Shape", ["x"], ["s"]),
        onnx.helper.make_node("Shape", ["z"], ["t"]),
        onnx.helper.make_node("Div", ["s", "t"], ["d"], name="divided"),
        onnx.helper.make_node("ConstantOfShape", ["d"], ["y"]),
    ]
    compiled = dsc.compile(model(nodes, {"x": (F, ["a"]), "z": (F, ["b"])}, {"y": (F, ["c"])}), opt_level=0)
    assert compiled.run({"x": np.ones(6, F), "z": np.ones(2, F)})["y"].shape == (3,)
    with pytest.raises(UsageError, match=r"input z: dim 0 is 0.*'divided'.*divided by must be at least 1, not 0"):
        compiled.run({"x": np.ones(6, F), "z": np.ones(0, F)})


def test_what_cannot_fit_is_an_error_of_the_compiler() -> None:
    table = model(
        [
            onnx.helper.make_node("Shape", ["x"], ["s"], start=0, end=1),
            onnx.helper.make_node("Slice", ["table", "zero", "s"], ["t"]),
            onnx.helper.make_node("Add", ["x", "t"], ["y"], name="positions"),
        ],
        {"x": (F, ["n"])}, {"y": (F, ["n"])}, {"table": _weight(512), "zero": np.array([0])},
    )  # fmt: skip
    with pytest.raises(UnsupportedModelError, match=r"positions.*1024.*512"):
        dsc.compile(table, shapes={"x": [1024]})
    compiled = dsc.compile(table)
    assert compiled.run({"x": np.ones(512, F)})["y"].shape == (512,)
    with pytest.raises(UsageError, match=r"input x: dim 0 is 600.*positions"):
        compiled.run({"x": np.ones(600, F)})


def test_runs_at_once_keep_their_errors_apart() -> None:
    compiled = dsc.compile(CASES[0].model, threads=2)

    def wrong(h: int) -> str:
        try:
            compiled.run({"x": np.ones((1, 3, h), F)})
        except UsageError as error:
            return str(error)
        return "ok"

    sizes = [768 if number % 3 == 0 else 700 + number for number in range(60)]
    with ThreadPoolExecutor(4) as pool:
        for h, said in zip(sizes, pool.map(wrong, sizes), strict=True):
            assert said == "ok" if h == 768 else f"not {h} and 768" in said


def test_a_result_too_large_for_memory_is_an_error_and_the_module_goes_on() -> None:
    outer = node_model("MatMul", {"x": (F, ["a", 1]), "z": (F, [1, "b"])}, None, (F, 2))
    compiled = dsc.compile(outer)
    for _ in range(3):
        with pytest.raises(UsageError, match=r"not enough memory for .* x: \[2097152, 1\], z: \[1, 2097152\]"):
            compiled.run({"x": np.ones((1 << 21, 1), F), "z": np.ones((1, 1 << 21), F)})
        assert compiled.run({"x": np.ones((2, 1), F), "z": np.ones((1, 3), F)})["y"].tolist() == [[1] * 3] * 2


def test_a_name_is_one_size() -> None:
    compiled = dsc.compile(node_model("Add", {"x": (F, ["a"]), "z": (F, ["a"])}))
    with pytest.raises(UsageError, match=r"input z: float32\[a\]: dim 0, 'a', is 1 here, but 3 in input x"):
        compiled.run({"x": np.ones(3, F), "z": np.ones(1, F)})


def test_sizes_do_not_overflow() -> None:
    nodes = [
        onnx.helper.make_node("Shape", ["x"], ["s"], start=0, end=1),
        onnx.helper.make_node("Mul", ["s", "s"], ["t"]),
        onnx.helper.make_node("ConstantOfShape", ["t"], ["y"], name="squared"),
    ]
    compiled = dsc.compile(model(nodes, {"x": (F, ["a", "b"])}, {"y": (F, ["c"])}))
    assert compiled.run({"x": np.ones((3, 1), F)})["y"].shape == (9,)
    with pytest.raises(UsageError, match=r"input x: dim 0 is 4294967296\..*'squared'.*the bytes of its result"):
        compiled.run({"x": np.ones((1 << 32, 0), F)})
