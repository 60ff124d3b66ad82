"""Models whole on a simulated GPU: by Python, and from a bundle by a program that Python does not run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc import hip
from dsc.check.simulated import simulated
from dsc.errors import ArtifactError, UsageError
from dsc.pipeline import compile_model
from dsc.simulator import limits, simulated_environment, simulated_rocm, simulation
from dsc.targets import target
from dsc.targets.cpu.link import HOST
from tests.bundle.bundles import Bundled, bundle, compile_to, tool
from tests.bundle.models import WORDS, words_feeds
from tests.compiled import TextModel
from tests.hip.code_objects import metadata, modules_in

RELATIVE = {"rtol": 1e-6, "atol": 1e-6}
"""The same operations, some of them fused."""
EXP = TextModel("(float[33] x) => (float[33] y) { y = Exp(x) }", {})
CALLS, GRAPHS = (Path(__file__).parents[1] / "bundle" / name for name in ("calls.c", "graphs.c"))


@dataclass(frozen=True)
class Made:
    """A model compiled for a simulated GPU, and its bundle."""

    artifact: Path
    bundled: Bundled


def make(model: TextModel, name: str, folder: Path) -> Made:
    """A model for the machine of that name."""
    with simulated(target(name)) as (simulators, _):
        artifact = compile_to(folder / "model.dsc", model.proto(), simulators)
    return Made(artifact, bundle(artifact, folder / "model"))


@pytest.fixture(scope="module")
def rocm(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(WORDS, "rocm:gfx942", tmp_path_factory.mktemp("rocm"))


@pytest.fixture(scope="module")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(EXP, "cuda:sm_80", tmp_path_factory.mktemp("cuda"))


@contextmanager
def environment(
    monkeypatch: pytest.MonkeyPatch, arch: str, order: str | int = "forward", **more: str
) -> Iterator[None]:
    """Programs get a simulated GPU, and more variables."""
    variables = {**simulated_environment(arch, order=order), **more}
    with monkeypatch.context() as context:
        for name, value in variables.items():
            context.setenv(name, value)
        yield


def with_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Simulated GPUs have so many bytes."""
    monkeypatch.setattr(simulation, "limits", lambda arch: replace(limits(arch), memory=size))


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_by_python(rocm: Made, order: str) -> None:
    with simulated_rocm("gfx942", order=order):
        module = dsc.load(rocm.artifact)
        for n, k in ((3, 2), (1, 7), (5, 0)):
            feeds = words_feeds(n, k, rows=1)
            expected = WORDS.reference(feeds)
            for found, wanted in zip(module.run(feeds).values(), expected, strict=True):
                np.testing.assert_allclose(found, wanted, **RELATIVE)
        with pytest.raises(UsageError, match="index 5"):
            module.run({**words_feeds(1, 1, rows=1), "ids": np.array([[5]])})


def test_many_threads(rocm: Made) -> None:
    """Each has a session of its own; the GPU is chosen in every one of them."""

    def right(seed: int) -> bool:
        feeds = words_feeds(seed % 4 + 1, 2, rows=1, seed=seed)
        found = module.run(feeds).values()
        return all(np.allclose(f, w, **RELATIVE) for f, w in zip(found, WORDS.reference(feeds), strict=True))

    with simulated_rocm("gfx942"), ThreadPoolExecutor(4) as pool:
        module = dsc.load(rocm.artifact)
        assert all(pool.map(right, range(16)))


@pytest.mark.parametrize("order", ["forward", 7])
def test_from_a_bundle(rocm: Made, order: str | int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = words_feeds(3, 4, rows=3)
    with environment(monkeypatch, "gfx942", order):
        outputs = rocm.bundled.run(feeds, tmp_path, "--repeat", "2")
        for found, wanted in zip(outputs, WORDS.reference(feeds), strict=True):
            np.testing.assert_allclose(found, wanted, **RELATIVE)
        wrong = {**feeds, "ids": np.full((3, 4), 5)}
        assert "index 5" in rocm.bundled.try_run(wrong, tmp_path).failed(2)


@pytest.mark.parametrize(("switch", "submissions"), [("1", [1, 3]), ("0", [4, 0])])
def test_runs_from_c_are_graphs(
    cuda: Made, switch: str, submissions: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first launches its kernel by itself."""
    folder, program = cuda.bundled.folder, tmp_path / "graphs"
    command = [HOST.find(), "-std=c11", GRAPHS, "-o", program, "-ldl"]
    command += ["-I", folder / "include", "-L", folder, "-ldsc", f"-Wl,-rpath,{folder}"]
    subprocess.run(command, check=True)
    with environment(monkeypatch, "sm_80", DSC_GRAPHS=switch):
        told = subprocess.run([program, folder], check=True, capture_output=True, text=True)
    *runs, counts = told.stdout.splitlines()
    assert [int(word) for word in counts.split()] == submissions
    for run, line in enumerate(runs):
        (expected,) = EXP.reference({"x": ((np.arange(33) - run) / 33).astype(np.float32)})
        np.testing.assert_allclose(np.array(line.split(), np.float32), expected, **RELATIVE)
    assert len(runs) == 4
    assert told.stderr == ""


def test_wrong_calls_from_c(rocm: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interface is the same, whatever runs the kernels."""
    folder, program = rocm.bundled.folder, tmp_path / "calls"
    command = [HOST.find(), "-std=c11", "-pthread", CALLS, "-o", program]
    command += ["-I", folder / "include", "-L", folder, "-ldsc", f"-Wl,-rpath,{folder}"]
    subprocess.run(command, check=True)
    with environment(monkeypatch, "gfx942"):
        done = subprocess.run([program, folder, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_gpu(rocm: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "needs an AMD GPU of type gfx942; the GPU here is gfx90a: compile the model again"
    with simulated_rocm("gfx90a"), pytest.raises(ArtifactError, match=told):
        dsc.load(rocm.artifact)
    with environment(monkeypatch, "gfx90a"):
        said = rocm.bundled.command(rocm.bundled.folder).failed(2)
    assert said.startswith("the bundle was made for rocm:gfx942 and needs a GPU of type gfx942; the GPU here is gfx90a")


def test_no_room_for_weights(rocm: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 100)
    told = r"its weights take \d+ bytes, for which rocm has no room: HIP: allocating \d+ bytes"
    with simulated_rocm("gfx942"), pytest.raises(ArtifactError, match=told):
        dsc.load(rocm.artifact)
    with environment(monkeypatch, "gfx942"):
        said = rocm.bundled.try_run(words_feeds(1, 1, rows=1), tmp_path).failed(3)
    assert said.startswith("not enough memory: HIP: allocating ")


def test_no_room_for_a_run(rocm: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before goes on."""
    with_memory(monkeypatch, 1 << 20)
    small, large = words_feeds(2, 2, rows=1), words_feeds(1 << 14, 2, rows=1)
    with simulated_rocm("gfx942"):
        module = dsc.load(rocm.artifact)
        told = r"not enough memory for what is computed of inputs of shapes x: \[16384, 8\]"
        with pytest.raises(UsageError, match=told):
            module.run(large)
        np.testing.assert_allclose(module.run(small)["y"], WORDS.reference(small)[0], **RELATIVE)


def test_code_of_the_device_on_the_simulator(tmp_path: Path) -> None:
    """It is compiled as it is elsewhere, though there is a GPU, and refused where it is loaded."""
    artifacts = [compile_model(EXP.proto(), target="rocm:gfx942").model]
    with simulated_rocm("gfx942"):
        artifacts.append(compile_model(EXP.proto(), target="rocm:gfx942").model)
        artifacts[1].write(tmp_path / "exp.dsc")
        told = r"exp\.dsc: its code cannot be loaded here: HIP: loading the code of kernel .* no code for the simulator"
        with pytest.raises(ArtifactError, match=told):
            dsc.load(tmp_path / "exp.dsc")
    assert artifacts[0].library == artifacts[1].library


def test_kernels_take_what_they_are_given() -> None:
    """Of real code objects, whose metadata HIP goes by: it copies as many bytes as each argument has there."""
    library = compile_model(WORDS.proto(), target="rocm:gfx1100").model.library
    found = list(modules_in(library))
    assert len(found) >= 4
    for takes, code in found:
        assert metadata(code) == takes


def test_cuda_from_a_bundle(cuda: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = {"x": np.random.default_rng(0).standard_normal(33, np.float32)}
    with environment(monkeypatch, "sm_86"):
        np.testing.assert_allclose(cuda.bundled.run(feeds, tmp_path)[0], np.exp(feeds["x"]), **RELATIVE)
    with environment(monkeypatch, "sm_75"):
        said = cuda.bundled.command(cuda.bundled.folder).failed(2)
    assert said == (
        "the bundle was made for cuda:sm_80 and needs a GPU of type sm_80 or later; the GPU here has capability 7.5: "
        "compile the model with --target cuda for it"
    )


def test_a_bundle_for_one_architecture_alone(cuda: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with instructions that no other has: not even a later GPU is taken."""
    only = replace(cuda.bundled, folder=Path(shutil.copytree(cuda.bundled.folder, tmp_path / "only")))
    description = only.folder / "bundle.txt"
    *lines, _ = description.read_bytes().replace(b"=sm_80\n", b"=sm_80a\n").splitlines(keepends=True)
    description.write_bytes(b"".join([*lines, b"sha256 " + sha256(b"".join(lines)).hexdigest().encode() + b"\n"]))
    with environment(monkeypatch, "sm_86"):
        said = only.command(only.folder).failed(2)
    assert "needs a GPU of type sm_80a, no other; the GPU here has capability 8.6: compile" in said


def test_a_bundle_without_what_drives_its_gpu(rocm: Made, cuda: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HIP nor CUDA is found, unless this host has one: then the GPU is another, or there is none."""
    monkeypatch.setenv("ROCM_PATH", os.devnull)
    said = rocm.bundled.command(rocm.bundled.folder).failed(2)
    assert "needs a GPU of type gfx942; " in said
    said = cuda.bundled.command(cuda.bundled.folder).failed(2)
    assert "needs a GPU of type sm_80" in said


def test_what_drives_the_gpu_with_sanitizers(rocm: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built anew by the bundle's CMakeLists.txt; runs, a run that fails, and what is left at the end."""
    copy = Bundled(tmp_path / "model", rocm.bundled.manifest)
    shutil.copytree(rocm.bundled.folder, copy.folder)
    (copy.folder / hip.LIBRARY).unlink()
    options = [
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-g1 -fsanitize=address,undefined -fno-sanitize-recover=all",
    ]
    for words in (["-B", "build", *options], ["--build", "build", "--target", "dsc_hip"]):
        done = subprocess.run([tool("cmake"), *words], cwd=copy.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "warning" not in done.stderr
    preloaded = {"LD_PRELOAD": ":".join(compilers_library(f"lib{name}.so") for name in ("asan", "ubsan"))}
    feeds = words_feeds(3, 4, rows=3)
    with environment(monkeypatch, "gfx942", **preloaded):
        for found, wanted in zip(copy.run(feeds, tmp_path, "--repeat", "3"), WORDS.reference(feeds), strict=True):
            np.testing.assert_allclose(found, wanted, **RELATIVE)
        assert "index 5" in copy.try_run({**feeds, "ids": np.full((3, 4), 5)}, tmp_path).failed(2)
    with_memory(monkeypatch, 100)
    with environment(monkeypatch, "gfx942", **preloaded):
        assert copy.try_run(feeds, tmp_path).failed(3).startswith("not enough memory: HIP: allocating ")


def compilers_library(name: str) -> str:
    """The path of a library that comes with the compiler."""
    done = subprocess.run([tool("g++"), f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()
