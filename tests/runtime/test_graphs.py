"""Runs as one graph of launches, on simulated GPUs: the same results, whoever runs what in between."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import tvm_ffi

from dsc.check.simulated import simulated
from dsc.codegen.compiled import CompiledModel
from dsc.errors import UsageError
from dsc.pipeline import compile_model
from dsc.runtime.module import Module
from dsc.simulator import Simulation, Submissions
from dsc.simulator.toolchain import core_folder
from dsc.targets import target
from tests.compiled import TextModel

RANDOM = np.random.default_rng(0)
DEPTH = 20000
"""So deep that blocks share it, and leave their sums in scratch memory."""
W = (0.01 * RANDOM.standard_normal((DEPTH, 4))).astype(np.float32)
PLAIN = TextModel(f"(float[1,{DEPTH}] x) => (float[1,4] y) {{ h = MatMul(x, w) y = Softmax<axis=1>(h) }}", {"w": W})
INDEXED = TextModel(
    f"(float[1,{DEPTH}] x, int64[3] i) => (float[1,3] y) {{ h = MatMul(x, w) y = Gather<axis=1>(h, i) }}", {"w": W}
)
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@dataclass(frozen=True)
class OnGpu:
    """A model, and the simulated GPU that it was compiled for."""

    model: TextModel
    compiled: CompiledModel
    simulation: Simulation

    def load(self) -> Module:
        return self.compiled.load(threads=1)

    def launches(self, runs: int) -> Submissions:
        """What so many runs launch, one by one."""
        return Submissions(self.launches_of_a_run * runs, 0)

    @property
    def launches_of_a_run(self) -> int:
        return 4 if "i" in self.feeds(0) else 3

    def feeds(self, seed: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng(seed)
        feeds: dict[str, np.ndarray] = {"x": random.standard_normal((1, DEPTH), np.float32)}
        return {**feeds, "i": random.integers(-4, 4, 3)} if self.model is INDEXED else feeds

    def is_right(self, module: Module, seed: int) -> bool:
        """Whether a run gives what ONNX Runtime does."""
        feeds = self.feeds(seed)
        found = module.run(feeds).values()
        return all(np.allclose(f, w, **CLOSE) for f, w in zip(found, self.model.reference(feeds), strict=True))


@pytest.fixture(scope="module", params=[("cuda:sm_80", INDEXED), ("rocm:gfx942", PLAIN)], ids=["cuda", "rocm"])
def gpu(request: pytest.FixtureRequest) -> Iterator[OnGpu]:
    name, model = request.param
    with simulated(target(name)) as (simulators, simulation):
        yield OnGpu(model, compile_model(model.proto(), target=simulators).model, simulation)


def launched(gpu: OnGpu, before: Submissions) -> Submissions:
    now = gpu.simulation.submissions()
    return Submissions(now.kernels - before.kernels, now.graphs - before.graphs)


def test_a_run_is_one_launch_from_the_second_on(gpu: OnGpu) -> None:
    before, module = gpu.simulation.submissions(), gpu.load()
    assert not gpu.compiled.manifest.uncaptured
    assert all(gpu.is_right(module, seed) for seed in range(4))
    assert launched(gpu, before) == Submissions(gpu.launches_of_a_run, graphs=3)
    assert gpu.launches_of_a_run > len(gpu.compiled.choices)  # one takes two launches, with scratch memory between them


def test_results_are_the_same_bytes_as_without(gpu: OnGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    captured = gpu.load()
    with monkeypatch.context() as context:
        context.setenv("DSC_GRAPHS", "0")
        plain = gpu.load()
    before = gpu.simulation.submissions()
    for seed in range(3):
        one, other = captured.run(gpu.feeds(seed)), plain.run(gpu.feeds(seed))
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert launched(gpu, before) == Submissions(4 * gpu.launches_of_a_run, graphs=2)


def test_threads_have_graphs_of_their_own(gpu: OnGpu) -> None:
    """All begin at once, so that there are as many sessions as there are threads."""
    module, together = gpu.load(), threading.Barrier(4)

    def right(first: int) -> bool:
        together.wait()
        return all(gpu.is_right(module, seed) for seed in range(first, first + 4))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, (0, 10, 20, 30)))


def test_a_graph_outlives_the_thread_that_captured_it(gpu: OnGpu) -> None:
    """TVM frees the scratch memory of a thread with it."""
    module = gpu.load()
    with ThreadPoolExecutor(1) as pool:
        assert all(pool.map(lambda seed: gpu.is_right(module, seed), range(2)))
    before = gpu.simulation.submissions()
    assert gpu.is_right(module, 2)
    assert launched(gpu, before) == Submissions(0, graphs=1)


def test_a_graph_writes_to_no_memory_of_others(gpu: OnGpu) -> None:
    """What is between its kernels is not given back to the pool that others take their results from."""
    module = gpu.load()
    assert all(gpu.is_right(module, seed) for seed in range(2))
    others = [module._sessions.new() for _ in range(3)]
    kept = [session(list(gpu.feeds(seed).values()))[1] for seed, session in enumerate(others)]
    copies = [[tensor.numpy() for tensor in results] for results in kept]
    assert all(gpu.is_right(module, seed) for seed in range(7, 9))
    for results, before in zip(kept, copies, strict=True):
        for tensor, array in zip(results, before, strict=True):
            np.testing.assert_array_equal(tensor.numpy(), array)


def test_memory_is_given_back(gpu: OnGpu) -> None:
    """To TVM's pool or to the device, so that loading and running again takes no more."""

    def free() -> int:
        module = gpu.load()
        assert all(gpu.is_right(module, seed) for seed in range(3))
        del module
        return _free_memory()

    assert free() == free() == free()


def _driver() -> ctypes.CDLL:
    """The simulated GPU by CUDA's names, whichever it is."""
    return ctypes.CDLL(str(core_folder() / "libcudart.so.13"))


def _free_memory() -> int:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    assert _driver().cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) == 0
    return free.value


def test_watching_and_profiling_launch_one_by_one(gpu: OnGpu) -> None:
    module = gpu.load()
    assert all(gpu.is_right(module, seed) for seed in range(3))
    before, seen = gpu.simulation.submissions(), []
    module.watch(gpu.feeds(0), lambda name, before, _: seen.append(name) if before else None)
    assert len(seen) == len(module.profile(gpu.feeds(0)))
    assert launched(gpu, before) == gpu.launches(3)
    assert gpu.is_right(module, 5)


def test_no_memory_for_a_graph_is_a_warning(gpu: OnGpu) -> None:
    """Launches go on one by one, right and without another word."""
    other, module = gpu.load(), gpu.load()
    assert all(gpu.is_right(other, seed) for seed in range(3))
    assert gpu.is_right(module, 0)
    del other  # what its graph kept is in TVM's pool now, and enough for all but scratch memory
    before = gpu.simulation.submissions()
    with (
        _no_memory_left(),
        pytest.warns(RuntimeWarning, match="launched one by one: .*kernel asks for: out of memory") as told,
    ):
        assert all(gpu.is_right(module, seed) for seed in range(1, 4))
    assert len(told) == 1
    assert launched(gpu, before) == gpu.launches(3)


@contextmanager
def _no_memory_left() -> Iterator[None]:
    memory = ctypes.c_void_p()
    assert _driver().cudaMalloc(ctypes.byref(memory), ctypes.c_size_t(_free_memory())) == 0
    try:
        yield
    finally:
        assert _driver().cudaFree(memory) == 0


def test_an_error_while_capturing_is_passed_on_and_ends_it(gpu: OnGpu) -> None:
    module = gpu.load()
    capture = module.kernel("dsc_capture")

    def fails(*_: object) -> None:
        raise ValueError("in the middle")

    set_instrument = tvm_ffi.convert(lambda _: None)
    with pytest.raises(ValueError, match="in the middle"):
        capture(set_instrument, tvm_ffi.convert(fails))
    with pytest.raises(TypeError, match="dsc_capture takes set_instrument, a function"):
        capture(set_instrument)
    before = gpu.simulation.submissions()
    assert all(gpu.is_right(module, seed) for seed in range(3))
    assert launched(gpu, before) == Submissions(gpu.launches_of_a_run, graphs=2)


def test_an_index_that_is_wrong_is_told_in_every_run(gpu: OnGpu) -> None:
    if gpu.model is not INDEXED:
        return
    module = gpu.load()
    for seed in range(4):
        with pytest.raises(UsageError, match="index 4 is outside"):
            module.run({**gpu.feeds(seed), "i": np.array([1, 4, 0])})
        assert gpu.is_right(module, seed)
