"""Running: inputs as they come, threads of both kinds, outputs that belong to the caller."""

from __future__ import annotations

import gc
import os
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.host import usable_cores
from dsc.runtime import load
from tests.runtime.artifacts import COLUMNS, Sum
from tests.runtime.threads import ended, new_threads, threads_of_this_process


def _input(rows: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, COLUMNS), dtype=np.float32)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [0, 1, 2, 7, 500])
def test_numbers(artifact: Path, compiled_sum: Sum, threads: int, rows: int) -> None:
    x = _input(rows)
    y = load(artifact, threads=threads).run({"x": x})["y"]
    np.testing.assert_allclose(y, compiled_sum.expected(x), rtol=1e-5, atol=1e-6)  # order of the sums


def _aligned_at(offset: int, x: np.ndarray) -> np.ndarray:
    raw = np.empty(x.nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    view = raw[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    view[:] = x
    return view


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x.tolist() and np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x[::-1][::-1],
        lambda x: _aligned_at(0, x),
        lambda x: _aligned_at(4, x),
        _read_only,
        lambda x: x.astype(x.dtype.newbyteorder(">")).astype(np.float32),
    ],
)
def test_any_array_will_do(artifact: Path, compiled_sum: Sum, form) -> None:
    x = _input()
    given = form(x)
    y = load(artifact, threads=2).run({"x": given})["y"]
    np.testing.assert_allclose(y, compiled_sum.expected(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(given, x)  # inputs are not written to


class _Refusing:
    """An object whose conversion fails."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"missing x\. The model takes x: float32\[batch, 64\]"),
        ({"x": _input(), "mask": 1}, "unknown mask"),
        ({"X": _input()}, "missing x; unknown X"),
        ({"x": _input().astype(np.float64)}, r"was given float64.*astype\('float32'\)"),
        ({"x": _input().astype(">f4")}, "was given >f4"),
        ({"x": _input()[0]}, r"needs 2 dims, was given shape \[64\]"),
        ({"x": _input()[:, :10]}, r"dim 1 must be 64, was given shape \[5, 10\]"),
        ({"x": "abc"}, "was given <U3"),
        ({"x": [[1, 2], [3]]}, "x: float32"),
        ({"x": None}, "was given something that is no array: NoneType"),
        ({"x": _Refusing()}, "was given something that is no array: not today"),
        (None, "inputs are arrays by name, not NoneType. The model takes x"),
        ([_input()], "inputs are arrays by name, not list"),
    ],
)
def test_wrong_inputs(artifact: Path, inputs: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(artifact).run(inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, 100_000])
def test_wrong_thread_counts(artifact: Path, threads: object) -> None:
    with pytest.raises(UsageError, match="threads must be a number from 1 to"):
        load(artifact, threads=threads)  # type: ignore[arg-type]


def test_outputs_belong_to_the_caller(artifact: Path, compiled_sum: Sum) -> None:
    module = load(artifact, threads=2)
    x1, x2 = _input(seed=1), _input(seed=2)
    y1 = module.run({"x": x1})["y"]
    kept = y1.copy()
    y2 = module.run({"x": x2})["y"]
    y2[:] = 7
    np.testing.assert_array_equal(y1, kept)
    del module
    gc.collect()
    y1 += 1
    np.testing.assert_allclose(y1, compiled_sum.expected(x1) + 1, rtol=1e-5, atol=1e-5)


def test_many_python_threads_at_once(artifact: Path, compiled_sum: Sum) -> None:
    modules = [load(artifact, threads=1), load(artifact, threads=2)]

    def work(seed: int) -> None:
        x = _input(rows=1 + seed % 50, seed=seed)
        y = modules[seed % 2].run({"x": x})["y"]
        np.testing.assert_allclose(y, compiled_sum.expected(x), rtol=1e-5, atol=1e-6)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))


def test_memory_does_not_grow_with_the_number_of_sizes_seen(artifact: Path) -> None:
    module = load(artifact, threads=1)
    x = np.zeros((20_800, COLUMNS), np.float32)  # 5 MB, as each of the two buffers inside
    module.run({"x": x})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for rows in range(20_000, 20_800, 16):  # a page more each
        module.run({"x": x[:rows]})
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # KB: what the allocator keeps for five or ten buffers; keeping every size would be 500,000


def test_other_python_threads_run_meanwhile(artifact: Path) -> None:
    """The interpreter lock is released: a counter in another thread goes on while kernels run."""
    module = load(artifact, threads=1)
    x = np.zeros((200_000, COLUMNS), np.float32)
    count, stop = 0, False

    def counting() -> None:
        nonlocal count
        while not stop:
            count += 1
            time.sleep(0)

    thread = threading.Thread(target=counting)
    thread.start()
    before = count
    module.run({"x": x})
    during = count - before
    stop = True
    thread.join()
    assert during > 10


def test_affinity_of_the_caller_is_left_alone(artifact: Path) -> None:
    before = os.sched_getaffinity(0)
    load(artifact, threads=2).run({"x": _input(100)})
    assert os.sched_getaffinity(0) == before


def test_it_works_in_a_forked_child(artifact: Path, compiled_sum: Sum) -> None:
    module = load(artifact, threads=2)
    x = _input(300)
    module.run({"x": x})
    child = os.fork()
    if child == 0:
        ok = np.allclose(module.run({"x": x})["y"], compiled_sum.expected(x), rtol=1e-5, atol=1e-5)
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_workers_end_with_their_module(artifact: Path) -> None:
    load(artifact, threads=1)
    before = threads_of_this_process()
    module = load(artifact, threads=4)
    module.run({"x": _input()})
    workers = new_threads(before, 3)
    del module
    gc.collect()
    assert ended(workers)


def test_save_and_profile(artifact: Path, compiled_sum: Sum, tmp_path: Path) -> None:
    module = load(artifact, threads=1)
    artifact.unlink()
    module.save(tmp_path / "copy.dsc")
    copy = load(tmp_path / "copy.dsc", threads=2)
    x = _input()
    np.testing.assert_array_equal(copy.run({"x": x})["y"], module.run({"x": x})["y"])
    kernels = [(name, seconds) for name, seconds in copy.profile({"x": x}) if name == "add"]
    assert len(kernels) == len(compiled_sum.arrays)
    assert all(0 < seconds < 1 for _, seconds in kernels)


def test_description(artifact: Path) -> None:
    text = "<dsc.Module sum: (x: float32[batch, 64]) -> (y: float32[batch, 64]), 2 threads>"
    assert repr(load(artifact, threads=2)) == text


@pytest.mark.parametrize(
    ("member", "files", "cores"),
    [
        ("0::/", {"cpu.max": "max 100000"}, 4),
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/a.slice/b", {"cpu.max": "max 100000", "a.slice/cpu.max": "300000 100000"}, 3),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "200000 100000"}, 2),
        ("4:memory:/x\n2:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "250000", "cpu/x/cpu.cfs_period_us": "100000"}, 2),
        ("2:cpu:/x", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, 4),
        ("0::/not/mounted", {"cpu.max": "200000 100000"}, 2),
    ],
)
def test_default_threads_respect_affinity_and_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {100_000, 100_001, 100_002, 100_003})
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text + "\n")
    (tmp_path / "member").write_text(member + "\n")
    assert usable_cores(tmp_path / "member", tmp_path / "groups") == cores
    assert usable_cores(tmp_path / "no such file") == 4
