"""Where Resize and GridSample look: sizes, ties, borders; expected as ONNX's reference has it unless said otherwise."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import dsc
from tests.meaning.nodes import Node, model_of, wrong

RNG = np.random.default_rng(20261126)


def _row(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


def _counted(count: int) -> np.ndarray:
    return _row(*range(count))


def _scales(scale: float) -> np.ndarray:
    return np.array([1, 1, 1, scale], np.float32)


def _sizes(size: int) -> np.ndarray:
    return np.array([1, 1, 1, size], np.int64)


def _reference(node: Node, opset: int) -> list[np.ndarray]:
    return list(ReferenceEvaluator(_untyped(node, opset)).run(None, {}))


def _onnxruntime(node: Node, opset: int) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(_untyped(node, opset).SerializeToString()).run(None, {}))


def _untyped(node: Node, opset: int) -> onnx.ModelProto:
    node.expected = [np.zeros((), np.float32)]
    model, _ = model_of([node], opset, folded=True)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def test_output_sizes_are_computed_in_float32() -> None:
    """10 * 0.7 is 7, as ONNX infers; in doubles it would be 6."""
    nodes = [
        Node("Resize", [_counted(10), None, _scales(0.7)], [_row(0, 2, 3, 4, 6, 7, 9)], {"mode": "nearest"}),
        Node("Resize", [_counted(10), None, _scales(1.3)], [np.zeros((1, 1, 1, 13), np.float32)], {"mode": "linear"}),
    ]
    nodes[1].expected = _onnxruntime(nodes[1], 19)  # the reference makes 12 elements of 10 * 1.3
    nodes[1].rtol = 1e-5
    assert wrong(nodes, 19) == {}


def test_ties_of_given_sizes_are_exact() -> None:
    """20 to 6: element 4 is at 4.5 / 0.3 - 0.5 = 14.5, which float32 makes less."""
    places = (np.arange(6) + 0.5) * 20 / 6 - 0.5
    nodes = [
        Node(
            "Resize", [_counted(20), None, None, _sizes(6)], [_row(*rounded)], {"mode": "nearest", "nearest_mode": mode}
        )
        for mode, rounded in (
            ("round_prefer_ceil", np.floor(places + 0.5)),
            ("round_prefer_floor", np.ceil(places - 0.5)),
            ("floor", np.floor(places)),
            ("ceil", np.ceil(places)),
        )
    ]
    assert wrong(nodes, 19) == {}


def test_nearest_of_opset_10_rounds_up_where_it_shrinks() -> None:
    """As ONNX Runtime; the specification of that opset says nothing."""
    shrunk = Node("Resize", [_row(1, 2, 3, 4), _scales(0.6)], [_row(1, 3)], {"mode": "nearest"})
    grown = Node("Resize", [_row(1, 2, 3), _scales(1.7)], [_row(1, 1, 2, 2, 3)], {"mode": "nearest"})
    assert _old([shrunk, grown], 10) == {}
    assert _old([Node("Upsample", [_row(1, 2, 3), _scales(1.7)], [_row(1, 1, 2, 2, 3)], {"mode": "nearest"})], 9) == {}


def _old(nodes: list[Node], opset: int) -> dict[str, str]:
    """With the scales, which are no shape operands of the Resize of that opset, as initializers."""
    return wrong(nodes, opset, constant=(1,))


MODES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]
SIZES = [(7, 3), (3, 7), (5, 5), (9, 1), (1, 4), (20, 6)]
SCALES = [(7, 0.6), (4, 2.0), (5, 1.3), (6, 0.5), (10, 0.35)]


def _resizes() -> list[Node]:
    nodes = []
    for (length, size), mode in itertools.product(SIZES, MODES):
        x = RNG.standard_normal((1, 1, 1, length)).astype(np.float32)
        if mode == "pytorch_half_pixel" and size == 1:
            continue  # the specification has place 0 there, the reference -0.5
        for kind in ("nearest", "linear", "cubic"):
            attributes = {"mode": kind, "coordinate_transformation_mode": mode}
            nodes.append(Node("Resize", [x, None, None, _sizes(size)], [], attributes, 1e-4))
    for (length, scale), mode in itertools.product(SCALES, MODES):
        x = RNG.standard_normal((1, 1, 1, length)).astype(np.float32)
        for kind in ("linear", "cubic"):
            attributes = {"mode": kind, "coordinate_transformation_mode": mode}
            nodes.append(Node("Resize", [x, None, _scales(scale)], [], attributes, 1e-4))
    for node in nodes:
        node.expected = _reference(node, 19)
    return nodes


def test_modes() -> None:
    assert wrong(_resizes(), 19) == {}


def test_a_free_height_times_a_scale() -> None:
    """The size is computed at run time, in float32 too: 10 * 0.7 and 13 * 1.3."""
    for scale, lengths in ((1.3, (5, 13, 10)), (0.7, (10, 20, 7))):
        node = Node("Resize", [_counted(10), None, _scales(scale)], [], {"mode": "linear"})
        node.expected = [np.zeros((1, 1, 1, 1), np.float32)]
        model, _ = model_of([node], 19)
        model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"
        model.graph.output[0].type.tensor_type.shape.dim[3].dim_param = "scaled"
        module = dsc.compile(model, threads=1)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        for length in lengths:
            x = RNG.standard_normal((1, 1, 1, length)).astype(np.float32)
            (result,) = module.run({"n0_0": x}).values()
            (expected,) = session.run(None, {"n0_0": x})
            assert result.shape[3] == int(np.float32(length) * np.float32(scale))
            np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def _grids() -> list[Node]:
    nodes = []
    x = RNG.standard_normal((1, 2, 3, 4)).astype(np.float32)
    grid = RNG.uniform(-1.9, 1.9, (1, 5, 6, 2)).astype(np.float32)
    volume = RNG.standard_normal((1, 1, 2, 3, 4)).astype(np.float32)
    places = RNG.uniform(-1.9, 1.9, (1, 2, 2, 5, 3)).astype(np.float32)
    for mode, padding, corners in itertools.product(
        ("nearest", "linear", "cubic"), ("zeros", "border", "reflection"), (0, 1)
    ):
        if mode == "cubic" and corners == (padding == "border"):
            continue  # 16 elements, each with a border of its own, take seconds to compile
        attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
        nodes.append(Node("GridSample", [x, grid], [], attributes, 1e-4))
        if mode != "cubic" and corners:
            nodes.append(Node("GridSample", [volume, places], [], attributes, 1e-4))
    return nodes


def test_grids() -> None:
    """As ONNX Runtime and PyTorch: of a cubic sample at a border each element is clamped, not the place, as the
    reference does.
    """
    nodes = _grids()
    for node in nodes:
        node.expected = _onnxruntime(node, 20)
    assert wrong(nodes, 20) == {}


@pytest.mark.parametrize("far", [1e30, -1e30])
def test_places_far_outside(far: float) -> None:
    x = RNG.standard_normal((1, 1, 3, 3)).astype(np.float32)
    grid = np.full((1, 1, 1, 2), far, np.float32)
    corner = x[:, :, -1:, -1:] if far > 0 else x[:, :, :1, :1]
    modes: list[dict[str, Any]] = [{"mode": m, "padding_mode": "border"} for m in ("nearest", "linear", "cubic")]
    nodes = [Node("GridSample", [x, grid], [corner], attributes, 1e-5) for attributes in modes]
    nodes.append(Node("GridSample", [x, grid], [np.zeros_like(corner)], {"mode": "linear"}))
    assert wrong(nodes, 20) == {}
