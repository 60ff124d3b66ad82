"""Indices that are data: those outside of their tensor are an error that names the node, the index and the limit."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import dsc
from dsc.errors import UnsupportedModelError, UsageError
from tests.codegen.models import model, node_model

F, I32, I64 = np.float32, np.int32, np.int64
X = np.arange(12, dtype=F).reshape(3, 4)


@dataclass(frozen=True)
class Case:
    """A model, indices that are right, and wrong ones with what is said of them."""

    name: str
    model: onnx.ModelProto
    others: Mapping[str, np.ndarray]
    right: tuple[np.ndarray, ...]
    wrong: tuple[tuple[np.ndarray, str], ...]


def _i(*values: object, dtype: type = I64) -> np.ndarray:
    return np.array(values, dtype)


CASES = [
    Case(
        "Gather",
        node_model("Gather", {"x": (F, ["a", "b"]), "i": (I64, ["n"])}, None, (F, 2), axis=1),
        {"x": X},
        (_i(0, 3, -1, -4), _i()),
        ((_i(0, 4), "index 4 is outside of dim 1 of data, which has 4 elements"), (_i(0, -5), "index -5")),
    ),
    Case(
        "Gather of int32 from a table",
        node_model("Gather", {"i": (I32, ["n", "m"])}, {"x": X}, (F, 3), order=["x", "i"]),
        {},
        (_i([0, 2], [-3, 1], dtype=I32),),
        ((_i([0, 2], [99999, 1], dtype=I32), "index 99999 is outside of dim 0 of data, which has 3 elements"),
         (_i([0, -(2**31)], dtype=I32), "index -2147483648")),
    ),
    Case(
        "GatherElements",
        node_model("GatherElements", {"x": (F, ["a", "b"]), "i": (I64, ["c", "d"])}, None, (F, 2), axis=0),
        {"x": X},
        (_i([0, 2, -3, 1]),),
        ((_i([0, 3, 0, 0]), "index 3 is outside of dim 0"), (_i([0, 2, -4, 0]), "index -4"),
         (_i([2**62, 0, 0, 0]), f"index {2**62}")),
    ),
    Case(
        "GatherND",
        node_model("GatherND", {"x": (F, ["a", "b"]), "i": (I64, ["n", 2])}, None),
        {"x": X},
        (_i([0, 3], [-3, -4]),),
        ((_i([0, 0], [3, 0]), "index 3 is outside of dim 0"), (_i([0, 0], [0, -5]), "index -5 is outside of dim 1")),
    ),
    Case(
        "ScatterElements",
        node_model("ScatterElements", {"x": (F, ["a", "b"]), "i": (I64, ["c", "d"]), "u": (F, ["c", "d"])}, None,
                   (F, 2), axis=1),
        {"x": X, "u": np.ones((1, 2), F)},
        (_i([0, -1]),),
        ((_i([0, 4]), "index 4 is outside of dim 1"), (_i([-5, 0]), "index -5")),
    ),
    Case(
        "ScatterND",
        node_model("ScatterND", {"x": (F, ["a", "b"]), "i": (I64, ["n", 1]), "u": (F, ["n", "b"])}, None, (F, 2)),
        {"x": X, "u": np.ones((2, 4), F)},
        (_i([0], [-1]),),
        ((_i([0], [3]), "index 3 is outside of dim 0"), (_i([0], [-4]), "index -4")),
    ),
    Case(
        "ReverseSequence",
        node_model("ReverseSequence", {"x": (F, ["t", "b"]), "i": (I64, ["b"])}, None, (F, 2)),
        {"x": X},
        (_i(3, 1, 2, 1),),
        ((_i(3, 1, 4, 1), "index 4 is outside of the lengths of a sequence, which has 4 values"),
         (_i(3, 1, -1, 1), "index -1")),
    ),
    Case(
        "RoiAlign",
        node_model("RoiAlign", {"x": (F, ["n", "c", "h", "w"]), "i": (I64, ["r"])},
                   {"rois": np.array([[0, 0, 2, 2]], F)}, (F, 4), order=["x", "rois", "i"],
                   output_height=1, output_width=1, sampling_ratio=1),
        {"x": X.reshape(1, 1, 3, 4)},
        (_i(0),),
        ((_i(1), "index 1 is outside of the batch, which has 1 images"), (_i(-1), "index -1")),
    ),
    Case(
        "MaxUnpool",
        node_model("MaxUnpool", {"x": (F, ["n", "c", "h"]), "i": (I64, ["n", "c", "h"])}, None, (F, 3),
                   kernel_shape=[2], strides=[2]),
        {"x": np.ones((1, 1, 3), F)},
        (_i([[0, 3, 5]]),),
        ((_i([[0, 3, 6]]), "index 6 is outside of what was pooled, which has 6 elements"), (_i([[0, -1, 2]]), "-1")),
    ),
    Case(
        "TensorScatter",
        node_model("TensorScatter", {"x": (F, ["b", "s", "d"]), "i": (I64, ["b"])}, {"u": np.ones((2, 2, 1), F)},
                   (F, 3), opset=24, order=["x", "u", "i"], axis=1),
        {"x": np.zeros((2, 4, 1), F)},
        (_i(0, 2),),
        ((_i(0, 3), "index 3 is outside of the part of the cache where an update may begin, which has 3 places"),
         (_i(-1, 0), "index -1")),
    ),
]  # fmt: skip


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_indices(case: Case, level: int) -> None:
    compiled = dsc.compile(case.model, opt_level=level, threads=2)
    for indices, message in case.wrong:
        with pytest.raises(UsageError, match=message) as raised:
            compiled.run({**case.others, "i": indices})
        assert str(raised.value).startswith(f"input i: {case.model.graph.node[0].op_type} (node 'the node'): ")
    for indices in case.right:
        feeds = {**case.others, "i": indices}
        np.testing.assert_allclose(compiled.run(feeds)["y"], _reference(case.model, feeds), rtol=1e-5)


def _reference(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    if proto.opset_import[0].version > 23:  # newer than what ONNX Runtime has kernels for
        return ReferenceEvaluator(proto).run(None, feeds)[0]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(["y"], feeds)[0]


def test_indices_that_are_computed_are_traced_as_far_as_they_are_the_inputs() -> None:
    nodes = [
        onnx.helper.make_node("Cast", ["ids"], ["wide"], to=onnx.TensorProto.INT64),
        onnx.helper.make_node("Unsqueeze", ["wide", "zero"], ["row"]),
        onnx.helper.make_node("Gather", ["table", "row"], ["words"], name="words"),
        onnx.helper.make_node("Add", ["wide", "one"], ["next"]),
        onnx.helper.make_node("Gather", ["table", "next"], ["after"], name="after"),
        onnx.helper.make_node("Add", ["words", "after"], ["y"]),
    ]
    constants = {"table": X, "one": np.array(1), "zero": np.array([0])}
    compiled = dsc.compile(model(nodes, {"ids": (I32, ["n"])}, {"y": (F, [1, "n", 4])}, constants))
    assert compiled.run({"ids": _i(0, 1, dtype=I32)})["y"].shape == (1, 2, 4)
    with pytest.raises(UsageError, match=r"^input ids: Gather \(node 'words'\): index 7"):
        compiled.run({"ids": _i(0, 7, dtype=I32)})
    with pytest.raises(UsageError, match=r"^Gather \(node 'after'\): index 3 is outside"):
        compiled.run({"ids": _i(0, 2, dtype=I32)})


def test_constant_indices_are_checked_when_they_can_be() -> None:
    of_fixed = node_model("Gather", {"x": (F, [3, "b"])}, {"i": np.arange(100)}, (F, 2))
    with pytest.raises(UnsupportedModelError, match=r"'the node'.*an index into dim 0 of data must be at most 2"):
        dsc.compile(of_fixed)
    compiled = dsc.compile(node_model("Gather", {"x": (F, ["a", 2])}, {"i": np.array([-4, 1])}, (F, 2)))
    assert compiled.run({"x": np.ones((4, 2), F)})["y"].shape == (2, 2)
    with pytest.raises(
        UsageError, match=r"input x: dim 0 is 3.*an index into dim 0 of data must be at least -3, not -4"
    ):
        compiled.run({"x": np.ones((3, 2), F)})


def test_nothing_is_taken_from_an_empty_tensor() -> None:
    compiled = dsc.compile(CASES[0].model)
    assert compiled.run({"x": np.ones((3, 0), F), "i": _i()})["y"].shape == (3, 0)
    with pytest.raises(UsageError, match=r"input x: dim 1 is 0.*into dim 1 of data must be at most 0, not 1"):
        compiled.run({"x": np.ones((3, 0), F), "i": _i(0)})


def test_runs_at_once_keep_their_errors_apart() -> None:
    compiled = dsc.compile(CASES[1].model, threads=2)

    def said(index: int) -> str:
        try:
            return str(compiled.run({"i": np.full((50, 40), index, I32)})["y"][49, 39, 0])
        except UsageError as error:
            return str(error)

    indices = [number % 7 for number in range(140)]
    with ThreadPoolExecutor(4) as pool:
        for index, answer in zip(indices, pool.map(said, indices), strict=True):
            assert answer == str(X[index, 0]) if index < 3 else f"index {index} is outside" in answer
