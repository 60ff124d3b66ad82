"""Streams that are captured, and graphs, as the stand-ins for CUDA's runtime and HIP have them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from dsc.simulator import Simulation, Submissions, simulated_kernels
from dsc.simulator.toolchain import core_folder

GLOBAL, THREAD_LOCAL, RELAXED = range(3)
NON_BLOCKING = 1
INVALID_VALUE, INVALID_HANDLE, ILLEGAL_STATE = 1, 400, 401
UNSUPPORTED, INVALIDATED, IMPLICIT, WRONG_THREAD = 900, 901, 906, 908
TO_DEVICE, TO_HOST = 1, 2


@dataclass(frozen=True)
class Api:
    """The functions of one vendor's, which have the same numbers for all here."""

    library: ctypes.CDLL
    prefix: str
    simulation: Simulation

    def __call__(self, name: str, *arguments: object) -> int:
        """A function's error."""
        return int(getattr(self.library, self.prefix + name)(*arguments))

    def made(self, name: str, *arguments: object) -> ctypes.c_void_p:
        """What a function gives by its first argument."""
        made = ctypes.c_void_p()
        assert self(name, ctypes.byref(made), *arguments) == 0
        return made

    def stream(self, flags: int = NON_BLOCKING) -> ctypes.c_void_p:
        return self.made("StreamCreateWithFlags", ctypes.c_uint(flags))

    def copy(self, to: object, source: object, kind: int, stream: ctypes.c_void_p | None = None) -> int:
        return self("MemcpyAsync", to, source, ctypes.c_size_t(16), kind, stream)

    def captured(self, stream: ctypes.c_void_p) -> tuple[int, ctypes.c_void_p]:
        graph = ctypes.c_void_p(1)
        return self("StreamEndCapture", stream, ctypes.byref(graph)), graph

    def executable(self, graph: ctypes.c_void_p) -> ctypes.c_void_p:
        name = "GraphInstantiate" if self.prefix == "cuda" else "GraphInstantiateWithFlags"
        return self.made(name, graph, ctypes.c_ulonglong(0))


@pytest.fixture(params=["sm_80", "gfx942"])
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    with simulated_kernels(request.param) as simulation:
        name, prefix = {"sm_80": ("libcudart.so.13", "cuda"), "gfx942": ("libamdhip64.so.6", "hip")}[request.param]
        yield Api(ctypes.CDLL(str(core_folder() / name)), prefix, simulation)


def test_work_is_done_when_the_graph_is_launched_as_often_as_it_is(api: Api) -> None:
    random = np.random.default_rng(0)
    memory, stream = api.made("Malloc", ctypes.c_size_t(16)), api.stream()
    before, given, found = (random.integers(1, 99, 4, dtype=np.int32) for _ in range(3))
    assert api.copy(memory, before.ctypes.data_as(ctypes.c_void_p), TO_DEVICE) == 0
    assert api("StreamBeginCapture", stream, RELAXED) == 0
    assert api.copy(memory, given.ctypes.data_as(ctypes.c_void_p), TO_DEVICE, stream) == 0
    error, graph = api.captured(stream)
    assert error == 0

    def now() -> list[int]:
        assert api.copy(found.ctypes.data_as(ctypes.c_void_p), memory, TO_HOST) == 0
        return list(found)

    assert now() == list(before)
    executable = api.executable(graph)
    assert api("GraphDestroy", graph) == 0
    for _ in range(3):
        given[:] = random.integers(1, 99, 4)
        assert api("GraphLaunch", executable, None) == 0
        assert now() == list(given)
    assert api.simulation.submissions() == Submissions(kernels=0, graphs=3)
    assert api("GraphExecDestroy", executable) == 0
    assert api("StreamDestroy", stream) == 0
    assert api("Free", memory) == 0


@pytest.mark.parametrize(
    ("mode", "here", "elsewhere"),
    [(GLOBAL, UNSUPPORTED, UNSUPPORTED), (THREAD_LOCAL, UNSUPPORTED, 0), (RELAXED, 0, 0)],
)
def test_modes_say_whose_allocations_a_capture_forbids(api: Api, mode: int, here: int, elsewhere: int) -> None:
    def allocate() -> int:
        memory = ctypes.c_void_p()
        return api("Malloc", ctypes.byref(memory), ctypes.c_size_t(16))

    for allocating, expected in ((allocate, here), (lambda: _elsewhere(allocate), elsewhere)):
        stream = api.stream()
        assert api("StreamBeginCapture", stream, mode) == 0
        assert allocating() == expected
        error, graph = api.captured(stream)
        assert error == (INVALIDATED if expected else 0)
        assert bool(graph.value) == (not expected)


@pytest.mark.parametrize("call", ["StreamSynchronize", "EventRecord"])
def test_what_no_node_can_be_made_of_ends_the_capture(api: Api, call: str) -> None:
    stream = api.stream()
    event = api.made("EventCreate")
    arguments = (event, stream) if call == "EventRecord" else (stream,)
    assert api(call, *arguments) == 0
    assert api("StreamBeginCapture", stream, RELAXED) == 0
    assert api(call, *arguments) == UNSUPPORTED
    assert api.captured(stream)[0] == INVALIDATED
    assert api(call, *arguments) == 0


def test_the_legacy_stream_does_not_wait_for_a_blocking_stream_that_is_captured(api: Api) -> None:
    memory, numbers = api.made("Malloc", ctypes.c_size_t(16)), np.arange(4, dtype=np.int32)
    for flags, expected in ((NON_BLOCKING, 0), (0, IMPLICIT)):
        stream = api.stream(flags)
        assert api("StreamBeginCapture", stream, RELAXED) == 0
        assert api.copy(memory, numbers.ctypes.data_as(ctypes.c_void_p), TO_DEVICE) == expected
        assert api.captured(stream)[0] == (INVALIDATED if expected else 0)


def test_wrong_calls_are_errors(api: Api) -> None:
    stream = api.stream()
    assert api("StreamBeginCapture", None, RELAXED) == UNSUPPORTED
    assert api("StreamBeginCapture", ctypes.c_void_p(8), RELAXED) == INVALID_HANDLE
    assert api("StreamBeginCapture", stream, 3) == INVALID_VALUE
    assert api.captured(stream)[0] == ILLEGAL_STATE
    assert api("StreamBeginCapture", stream, THREAD_LOCAL) == 0
    assert api("StreamBeginCapture", stream, THREAD_LOCAL) == ILLEGAL_STATE
    assert _elsewhere(lambda: api.captured(stream)[0]) == WRONG_THREAD
    assert api.captured(stream)[0] == 0
    assert api("GraphLaunch", None, None) == INVALID_VALUE


def _elsewhere(call: Callable[[], int]) -> int:
    """What a call gives in another thread."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]
