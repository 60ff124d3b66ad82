"""A device that runs out of memory says so in one message, and goes on with what fits."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.pipeline import compile_model
from tests.compiled import TextModel
from tests.gpu.device import Device
from tests.targets.cuda.simulated import target_of

WIDE = 1 << 14
RANDOM = np.random.default_rng(0)
MODEL = TextModel(
    "(float[n,2] x) => (float[n,2] y) { h = MatMul(x, w) s = Softmax<axis=0>(h) y = MatMul(s, v) }",
    {
        "w": RANDOM.standard_normal((2, WIDE)).astype(np.float32),
        "v": RANDOM.standard_normal((WIDE, 2)).astype(np.float32),
    },
)


def test_more_than_the_device_has_is_one_message(simulation: Device) -> None:
    """What is in between is larger than the memory; inputs and outputs are small."""
    onto = target_of(simulation)
    compiled = compile_model(MODEL.proto(), target=onto)
    module = compiled.model.load(threads=1)
    rows = int(1.5 * onto.machine.memory_bytes / (4 * WIDE))
    with pytest.raises(
        UsageError, match=rf"not enough memory for what is computed of inputs of shapes x: \[{rows}, 2\]"
    ):
        module.run({"x": np.ones((rows, 2), np.float32)})
    fitting = {"x": RANDOM.standard_normal((1, 2)).astype(np.float32)}
    (expected,) = MODEL.reference(fitting)
    np.testing.assert_allclose(module.run(fitting)["y"], expected, rtol=1e-4, atol=1e-3)
