"""`--verify-each`: after every pass, the graph must still compute what the model computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dsc.check.bisect import first_wrong_stage
from dsc.check.verify import TOLERANCE
from dsc.errors import VerificationError
from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.pipeline import Observer


def verify_each(
    expected: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], tolerance: float = TOLERANCE
) -> Observer:
    """An observer for `Pipeline.run` that runs the graph in ONNX Runtime after each pass.

    expected: the model's outputs on `inputs`. It raises VerificationError, naming the pass and the worst
    output, where the graph's outputs differ by more than `tolerance`.
    """

    def observe(index: int, pass_: Pass, graph: Graph, _: PassRecord) -> None:
        wrong = first_wrong_stage([(str(pass_), graph)], expected, inputs, tolerance)
        if wrong is not None:
            raise VerificationError(f"pass {index + 1}, {wrong[0]}, changed the model's results\n  {wrong[1]}")

    return observe
