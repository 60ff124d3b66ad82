"""A speed that is asked for: by estimates on a machine that is not here, and measured on this one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dsc.errors import BudgetError, UsageError
from dsc.prune.channels.work import ChannelWork
from dsc.prune.policy import SparsityPolicy
from dsc.prune.prune import prune
from dsc.prune.request import ChannelRequest
from dsc.prune.speed.estimates import Estimates
from dsc.prune.speed.faster import Faster
from dsc.prune.speed.measured import Measured
from dsc.targets import target
from tests.compiled import TextModel
from tests.prune.channels.nets import RESIDUAL
from tests.quantize.nets import weight

ARM = "arm:cortex-a76"
NET = TextModel(
    """(float[n,96] x) => (float[n,32] y) {
        [up] a = Gemm(x, w0, b0)  r = Relu(a)  [mid] b = Gemm(r, w1)  s = Relu(b)  [down] y = Gemm(s, w2)
    }""",
    {"w0": weight(96, 256), "b0": weight(256), "w1": weight(256, 256), "w2": weight(256, 32)},
    17,
)


def rows(count: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(count)
    return [{"x": random.standard_normal((128, 96)).astype(np.float32)} for _ in range(count)]


def seconds(model: onnx.ModelProto) -> float:
    return Estimates(target(ARM), {"x": (128, 96)}).of(model).total


def test_estimates_are_of_products_by_name() -> None:
    found = Estimates(target(ARM), {"x": (128, 96)}).of(NET.proto())
    assert found.products.keys() == {"up", "mid", "down"}
    assert found.products["mid"] > found.products["up"] > found.products["down"] > 0
    assert sum(found.products.values()) <= found.total * (1 + 1e-9)
    images = Estimates(target(ARM), {"x": (1, 3, 8, 8)}).of(RESIDUAL.proto())
    assert images.products.keys() == {"stem", "expand", "deep", "squeeze", "project", "head"}
    larger = Estimates(target(ARM), {"x": (256, 96)}).of(NET.proto())
    assert larger.total > 1.5 * found.total


@pytest.mark.parametrize("pattern", ["channels", "4x1"])
@pytest.mark.parametrize("has_data", [True, False])
def test_as_fast_as_is_asked_and_no_more_pruned_than_that_takes(pattern: str, has_data: bool) -> None:
    shares = []
    for speedup in (1.3, 1.9):
        found = prune(fixed().proto(), rows(4) if has_data else None, pattern=pattern, speedup=speedup, target=ARM)
        speed = found.report.speed
        assert speed is not None
        assert (speed.asked, speed.measured, speed.target) == (speedup, None, ARM)
        assert speed.estimated == pytest.approx(seconds(NET.proto()) / seconds(found.model), rel=0.02)
        assert speedup <= speed.estimated < 1.5 * speedup
        shares.append(found.report.sparsity)
    assert 0 < shares[0] < shares[1]


def fixed() -> TextModel:
    """`NET` with the rows that samples have: without samples its sizes are the model's."""
    return TextModel(NET.text.replace("float[n,", "float[128,"), NET.weights, NET.opset)


def test_what_costs_more_loses_more() -> None:
    """Of two products alike, that which runs on more rows."""
    text = """(float[256,64] x, float[4,64] z) => (float[256,16] y, float[4,16] v) {
        [often] a = MatMul(x, w0)  [relu] b = Relu(a)  [out] y = MatMul(b, w1)
        [rare] c = MatMul(z, w2)  [relu2] d = Relu(c)  [out2] v = MatMul(d, w3)
    }"""
    weights = {"w0": weight(64, 128), "w1": weight(128, 16), "w2": weight(64, 128), "w3": weight(128, 16)}
    found = prune(TextModel(text, weights, 17).proto(), pattern="channels", speedup=1.6, target=ARM)
    by_name = {layer.name: layer.sparsity for layer in found.report.layers}
    assert by_name["often"] > by_name["rare"] + 0.2


def work() -> ChannelWork:
    return ChannelWork(
        ChannelRequest("magnitude", None, 8), fixed().proto(), SparsityPolicy(), (), lambda phase, done, total: None
    )


def test_what_measuring_says_is_reached() -> None:
    """All models take a tenth of the float model's time beside what is estimated."""
    estimates, asked = Estimates(target(ARM), {}), []
    beside = estimates.of(fixed().proto()).total / 10

    def measure(model: onnx.ModelProto) -> float:
        slow, fast = (estimates.of(each).total + beside for each in (fixed().proto(), model))
        asked.append(slow / fast)
        return asked[-1]

    made, speed = Faster(work(), estimates, measure).made(2.0)
    assert len(asked) >= 2
    assert asked[0] < 2.0 <= asked[-1] == speed.measured < 2.6
    assert speed.estimated > speed.measured
    assert measure(made.model) == speed.measured


@pytest.mark.parametrize(("speedup", "said"), [(1.5, "measured is 1.20 times as fast"), (900, "times is the most$")])
def test_a_speed_that_is_not_reached(speedup: float, said: str) -> None:
    with pytest.raises(BudgetError, match=rf"{speedup:g} times as fast was asked for, on {ARM}: by estimate .*{said}"):
        Faster(work(), Estimates(target(ARM), {}), lambda model: 1.2).made(speedup)


def test_measured_here() -> None:
    """A model against itself takes as long, and one with a tenth of the work does not."""
    (feed,) = rows(1)
    wide = TextModel(NET.text, {**NET.weights, "w0": weight(96, 2048), "b0": weight(2048), "w1": weight(2048, 256)}, 17)
    measured = Measured(wide.proto(), target("native"), feed)
    assert measured(NET.proto()) > 1.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speedup": 1.0}, "expected more than 1"),
        ({"speedup": float("inf")}, "expected more than 1"),
        ({"speedup": 2.0, "sparsity": 0.5}, "one budget decides"),
        ({"speedup": 2.0, "max_accuracy_drop": 0.1, "evaluate": lambda run: 1.0}, "one budget decides"),
        ({"speedup": 2.0, "pattern": "2:4"}, "2:4 has a sparsity of its own, and no speedup decides it"),
        ({"sparsity": 0.5, "target": ARM}, "a target is for a speedup"),
        ({"speedup": 2.0, "target": "arm:cortex-a1"}, "cortex-a1"),
    ],
)
def test_what_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prune(NET.proto(), **options)
