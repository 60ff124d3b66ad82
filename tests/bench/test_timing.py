"""Timing: order of calls, what is counted, ratios and means."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from dsc.bench import PEERS, Comparison, Timing, compare_speed, environment, geometric_mean, interleave, peer_contender
from dsc.errors import UnsupportedModelError, UsageError
from dsc.pipeline import compile_model
from tests.compiled import TextModel


def sleeper(seconds: float, log: list[str], name: str) -> Callable[[], None]:
    def run() -> None:
        log.append(name)
        time.sleep(seconds)

    return run


def test_interleave_takes_turns_and_measures() -> None:
    log: list[str] = []
    rounds: list[int] = []
    contenders = {"a": sleeper(0.02, log, "a"), "b": sleeper(0.04, log, "b")}
    timings = interleave(contenders, rounds=2, on_round=rounds.append)
    assert rounds == [1, 2]
    # warm-up: one call, then a block of 1 + 3; a round: 1 + 3 of each, the second round in the other order
    assert "".join(log) == "a" * 5 + "b" * 5 + "aaaa" + "bbbb" + "bbbb" + "aaaa"
    assert timings["a"].calls == 6
    assert 0.02 <= timings["a"].minimum <= timings["a"].median
    assert timings["b"].median / timings["a"].median == pytest.approx(2, rel=0.3)


def test_blocks_of_fast_calls_are_long() -> None:
    timings = interleave({"fast": lambda: None}, rounds=1)
    assert timings["fast"].calls == 1000


def test_summary() -> None:
    timing = Timing.of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (timing.median, timing.minimum, timing.quartiles, timing.calls) == (3.0, 1.0, (2.0, 4.0), 5)
    assert timing.to_json()["median_ms"] == 3000.0


def comparison(model: str, ours: float, theirs: float) -> Comparison:
    timings = {name: Timing.of([seconds] * 3) for name, seconds in (("dsc", ours), ("onnxruntime", theirs))}
    return Comparison(model, 1, timings)


def test_speedup_and_geometric_mean() -> None:
    rows = [comparison("m", 1.0, 2.0), comparison("n", 4.0, 2.0), comparison("o", 1.0, 8.0)]
    assert [row.speedup("onnxruntime") for row in rows] == [2.0, 0.5, 8.0]
    assert geometric_mean(rows, "onnxruntime") == pytest.approx(2.0)
    assert math.isnan(geometric_mean([], "onnxruntime"))
    assert rows[0].to_json()["speedup"] == {"onnxruntime": 2.0}


def test_peers_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be timed against 'tensorrt'; it can be against onnxruntime"):
        peer_contender("tensorrt", tmp_path / "m.onnx", {}, 1)
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(UnsupportedModelError, match=r"onnxruntime cannot run m\.onnx on these inputs"):
        peer_contender("onnxruntime", tmp_path / "m.onnx", {"x": np.zeros(1, np.float32)}, 1)


def test_peers_are_asked_for_the_precision_of_the_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[int, str]] = []

    def peer(_: Path, __: object, threads: int, precision: str) -> Callable[[], object]:
        asked.append((threads, precision))
        return lambda: None

    monkeypatch.setitem(PEERS, "onnxruntime", peer)
    model = TextModel("(float[2,3] x) => (float[2,3] y) { y = Neg(x) }").proto()
    onnx.save(model, tmp_path / "m.onnx")
    feeds = {"x": np.ones((2, 3), np.float32)}
    for precision in ("fp32", "bf16"):
        module = compile_model(model, precision=precision).model.load(1)
        compare_speed("m", module, tmp_path / "m.onnx", feeds, rounds=1)
    assert asked == [(1, "fp32"), (1, "bf16")]


def test_environment_names_the_processor() -> None:
    found = environment()
    assert found["processor"]
    assert found["cores"]
    assert "onnxruntime" in found["versions"]  # type: ignore[operator]
