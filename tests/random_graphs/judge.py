"""One random graph compiled, run and compared with the references."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx

import dsc
from dsc.errors import UnsupportedModelError
from tests.random_graphs.arrays import is_float
from tests.random_graphs.generate import generate
from tests.random_graphs.graph import SAMPLES, Value

LEVELS = (0, 2)
_SPREADS = 6
"""How many times further than the noisy evaluations a result may be off: they are only a few."""
_ULPS = 16
"""Of the result itself: twice what the noisiest kind of node is moved by, for what five evaluations do not show."""
_FLUSHED = 2
"""Elementary functions may give 0 for a result that is nearly denormal, in units of the smallest normal number."""


@dataclass(frozen=True)
class Verdict:
    """What became of a graph. `fault` is "" if all is right; `refused` names what dsc does not compile."""

    seed: int
    nodes: int
    fault: str = ""
    refused: str = ""


def judge(seed: int, levels: Sequence[int] = LEVELS) -> Verdict:
    """Generate a graph, compile it at each level and compare its outputs on each sample."""
    g = generate(seed)
    outputs = g.outputs()
    model = g.model(outputs)
    for level in levels:
        try:
            with _no_kernel_fails():
                module = dsc.compile(model, opt_level=level, threads=1)
            for sample in range(SAMPLES):
                results = module.run(g.feeds(sample))
                for value in outputs:
                    if fault := difference(value, sample, results[value.name]):
                        raise AssertionError(f"sample {sample}: {fault}")
        except UnsupportedModelError as error:
            return Verdict(seed, g.node_count, refused=f"-O{level}: {error}")
        except AssertionError as error:
            return Verdict(seed, g.node_count, fault=f"-O{level}: {error or traceback.format_exc()}")
        except Exception:  # every exception is a fault to report
            return Verdict(seed, g.node_count, fault=f"-O{level}: {traceback.format_exc(limit=-4)}")
    return Verdict(seed, g.node_count)


@contextmanager
def _no_kernel_fails() -> Iterator[None]:
    """Where a kernel fails another is taken, with a warning: raises AssertionError for that."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger("dsc.codegen.selection"), Listener()
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
    assert not said, said[0]


def difference(value: Value, sample: int, found: np.ndarray) -> str:
    """How `found` differs from the reference by more than roundings explain; "" if it does not."""
    expected = value.exact[sample]
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        said = [f"{a.dtype}{list(a.shape)}" for a in (expected, found)]
        return f"{value.name} is {said[1]}, expected {said[0]}"
    wrong = np.asarray(_wrong(expected, value.noisy[sample], found))
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f"{value.name}{list(at)} of {list(expected.shape)} {expected.dtype}"
    noisy = [n[at].item() for n in value.noisy[sample]]
    return f"{place} is {found[at]!r}, expected {expected[at]!r} (with noise {noisy}); {int(wrong.sum())} differ"


def _wrong(expected: np.ndarray, noisy: Sequence[np.ndarray], found: np.ndarray) -> np.ndarray:
    if not is_float(expected.dtype):
        stable = np.logical_and.reduce([n == expected for n in noisy])
        return np.asarray(stable & (found != expected))
    info = ml_dtypes.finfo(expected.dtype)
    every = np.stack([a.astype(np.float64) for a in (expected, *noisy)])
    got = found.astype(np.float64)
    finite = np.isfinite(every).all(0)
    unsure = ~finite & ~_all_same(every)
    with np.errstate(all="ignore"):
        spread = np.abs(every - every[0]).max(0)
        allowed = _SPREADS * spread + _ULPS * float(info.eps) * np.abs(every[0]) + _FLUSHED * float(info.tiny)
        near = np.abs(got - every[0]) <= allowed
        # next to overflow, a rounding decides
        near |= np.isinf(got) & (np.abs(every[0]) + allowed >= float(info.max)) & (np.sign(got) == np.sign(every[0]))
    same = (got == every[0]) | (np.isnan(got) & np.isnan(every[0]))
    return np.asarray(~unsure & np.where(finite, ~near, ~same))


def _all_same(every: np.ndarray) -> np.ndarray:
    return np.asarray(((every == every[0]) | (np.isnan(every) & np.isnan(every[0]))).all(0))


def save(seed: int, path: str) -> None:
    """Write the graph of a seed, to look at."""
    g = generate(seed)
    onnx.save(g.model(g.outputs()), path)
