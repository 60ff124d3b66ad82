"""What `dsc.compile` is asked for is done or refused, never ignored; and refused before the work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc.errors import UsageError
from tests.cli.conftest import small_model


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"opt_level": 9}, "no optimization level 9"),
        ({"opt_level": 9, "passes": "canonicalize"}, "no optimization level 9"),
        ({"opt_level": -1, "passes": "canonicalize"}, "no optimization level -1"),
        ({"opt_level": True}, "no optimization level True"),
        ({"opt_level": 2.0}, "no optimization level 2.0"),
        ({"opt_level": "2"}, "no optimization level '2'"),
        ({"passes": 5}, "passes must be"),
        ({"passes": ["canonicalize"]}, "passes must be"),
        ({"target": 86}, "target must be"),
        ({"threads": 0}, "threads must be"),
        ({"threads": 2.0}, "threads must be"),
        ({"opt_level": 3, "tuning_seconds": math.nan}, "tuning_seconds must be"),
        ({"opt_level": 3, "tuning_seconds": -1}, "tuning_seconds must be"),
        ({"opt_level": 3, "tuning_seconds": "60"}, "tuning_seconds must be"),
        ({"database": "tuning.jsonl"}, "is for optimization level 3"),
        ({"opt_level": 3, "database": "no/folder/tuning.jsonl"}, "there is no folder"),
        ({"shapes": {"y": [1, 3, 16, 16]}}, "no input 'y'"),
        ({"shapes": {"x": [1, 3, 16]}}, "has 3 dims"),
        ({"shapes": {"x": [1.5, 3, 16, 16]}}, "1.5 is neither a size nor a name"),
        ({"shapes": {"x": [True, 3, 16, 16]}}, "True is neither a size nor a name"),
        ({"shapes": {"x": [-1, 3, 16, 16]}}, "-1 is neither a size nor a name"),
        ({"shapes": {"x": [2**70, 3, 16, 16]}}, "is neither a size nor a name"),
        ({"shapes": {"x": ["", 3, 16, 16]}}, "'' is neither a size nor a name"),
        ({"shapes": {"x": "1x3x16x16"}}, "is no shape"),
        ({"shapes": {"x": 7}}, "7 is no shape"),
        ({"shapes": {3: [1]}}, "3 is none"),
        ({"shapes": [1, 3, 16, 16]}, "shapes must be"),
    ],
)
def test_nonsense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dsc.compile(small_model(), **given)


@pytest.mark.parametrize("model", [5, None, 1.5, ["m.onnx"]])
def test_what_is_no_model(model: Any) -> None:
    with pytest.raises(UsageError, match=r"a model is a path, bytes or an onnx\.ModelProto, not"):
        dsc.compile(model)


@pytest.mark.parametrize("shapes", [{"x": [1, 3, 16, 16]}, {"nonsense": [-1]}])
def test_a_graph_takes_no_shapes(shapes: dict[str, list[int]]) -> None:
    graph = dsc.import_onnx(small_model())
    with pytest.raises(UsageError, match=r"a Graph has its shapes already.*dsc\.import_onnx"):
        dsc.compile(graph, shapes=shapes)


def test_sizes_of_numpy_will_do(tmp_path: Path) -> None:
    """Also where the artifact records them."""
    module = dsc.compile(small_model(), opt_level=1, shapes={"x": tuple(np.array([2, 3, 16, 16]))}, threads=1)
    assert module.inputs[0].shape == (2, 3, 16, 16)
