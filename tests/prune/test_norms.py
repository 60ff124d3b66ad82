"""Batch norms behind layers that were changed give what is nearest to what they gave, by least squares."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnxruntime

from dsc.prune.norms import reestimate
from dsc.prune.twins import Twins
from tests.prune.nets import NORM
from tests.quantize.nets import samples

Change = dict[int, np.ndarray | float]


def normed(model: onnx.ModelProto) -> np.ndarray:
    """What the batch norm gives of the samples, by channel."""
    own = onnx.ModelProto()
    own.CopyFrom(model)
    own.graph.output.append(onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(own.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["b"], feed)[0] for feed in samples(NORM, 30)]).swapaxes(0, 1).reshape(8, -1)


def changed(channels: Change) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The float model, and one whose first convolution has other weights for some channels: times so much."""
    before, after = NORM.proto(), NORM.proto()
    tensor = next(t for t in after.graph.initializer if t.name == "w0")
    weight = onnx.numpy_helper.to_array(tensor).copy()
    for channel, change in channels.items():
        weight[channel] *= change
    tensor.CopyFrom(onnx.numpy_helper.from_array(weight, "w0"))
    twins = Twins(before, after, samples(NORM, 30))
    if channels:
        twins.change("a")
    reestimate(after, "norm", twins)
    return before, after


def test_results_are_nearest_to_those_of_float() -> None:
    random = np.random.default_rng(8)
    some, many = (random.random((4, 3, 3)) < share for share in (0.5, 0.8))
    before, after = changed({0: some, 1: 0.25, 2: -0.5, 5: many})
    wanted, found = normed(before), normed(after)
    for channel in (0, 1, 5):
        slope, offset = np.polyfit(found[channel], wanted[channel], 1)  # no line through what is found is nearer
        np.testing.assert_allclose((slope, offset), (1, 0), atol=2e-4)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-4)  # all of it was a factor
    np.testing.assert_array_equal(found[[3, 4, 6, 7]].round(4), wanted[[3, 4, 6, 7]].round(4))


def test_channels_that_tell_nothing_give_their_mean() -> None:
    """Filters of zeros; and one of the other sign, which no variance can turn."""
    before, after = changed({0: 0.0, 2: -0.5})
    wanted, found = normed(before), normed(after)
    for channel in (0, 2):
        np.testing.assert_allclose(found[channel], wanted[channel].mean(), atol=0.01)


def test_what_reads_the_same_stays() -> None:
    before, after = changed({})
    assert before.SerializeToString() == after.SerializeToString()
