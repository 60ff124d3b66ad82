"""Products by wgmma beside those by mma.sync on a real H100: numbers, and times of tilings.

`python -m tests.gpu.warpgroups build FOLDER` compiles what is tried, on any machine with nvcc; `run FOLDER` runs it on
the GPU that is here, compares each with NumPy, and prints times. Nothing depends on the times.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tvm

from dsc.codegen.objects import compile_kernels, write_imports, write_object
from dsc.files import scratch_folder
from dsc.host import usable_cores
from dsc.runtime.library import load_library
from dsc.targets import Kernel, Point, Refusal, Space
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.toolchain import Assembled, AssemblerError, assemble
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.warpgroup_matrix import ContractWarpgroups
from tests.targets.cuda.simulated import machine
from tests.targets.regions import Region

PRODUCTS = {
    "nn": "(float16[{m},{k}] x, float16[{k},{n}] w) => (float16[{m},{n}] y) {{ y = MatMul(x, w) }}",
    "nt": "(float16[{m},{k}] x, float16[{n},{k}] w) => (float16[{m},{n}] y) {{ y = Gemm<transB=1>(x, w) }}",
    "tn": "(float16[{k},{m}] x, float16[{k},{n}] w) => (float16[{m},{n}] y) {{ y = Gemm<transA=1>(x, w) }}",
}
BERT = ((1024, 768, 768), (1024, 3072, 768), (1024, 768, 3072))
LARGE = ((4096, 4096, 4096), (8192, 8192, 8192))
RAGGED = (301, 392, 488)
TILES = ((128, 256, 4), (128, 256, 3), (256, 128, 4), (128, 192, 5), (192, 192, 4), (128, 128, 5), (128, 128, 3))
CHECKED_ROWS = 64
CALLS, ROUNDS = 20, 5


@dataclass(frozen=True)
class Trial:
    """One kernel at one size."""

    layout: str
    size: tuple[int, int, int]
    """Rows, columns, depth."""
    kernel: str
    tile: str
    estimate: float
    library: str
    """Its file."""


@dataclass(frozen=True)
class Candidate:
    layout: str
    size: tuple[int, int, int]
    kernel: Kernel[Gpu]
    space: Space
    point: Point
    change: Callable[[str], str] = lambda source: source
    label: str = ""


def spaces(layout: str, size: tuple[int, int, int]) -> Iterator[tuple[Kernel[Gpu], Space]]:
    """Of both kernels."""
    m, n, k = size
    workload = Region(PRODUCTS[layout].format(m=m, n=n, k=k)).workload()
    for kernel in (ContractWarpgroups(), ContractMatrices()):
        space = kernel.match(workload, machine("sm_90"))
        assert not isinstance(space, Refusal), space.reason
        yield kernel, space


def candidates() -> Iterator[Candidate]:
    """What is tried: numbers of tilings of all kinds, and at the sizes that matter the best by estimate, and more."""
    for layout in PRODUCTS:
        kernel, space = next(spaces(layout, RAGGED))
        for point in space.points()[:: 7 if layout == "nn" else 11]:
            yield Candidate(layout, RAGGED, kernel, space, point)
    for size in (*BERT, *LARGE):
        for kernel, space in spaces("nn", size):
            ordered = sorted(space.points(), key=space.estimate)
            tiles = [p for p in ordered if (p.rows, p.columns, p.stages) in TILES]  # type: ignore[attr-defined]
            chosen = [*ordered[:3], *tiles] if kernel.name == ContractWarpgroups.name else ordered[:2]
            for point in dict.fromkeys(chosen):
                yield Candidate("nn", size, kernel, space, point)
    (kernel, space), _ = spaces("nn", LARGE[0])
    widest = next(p for p in space.points() if (p.rows, p.columns, p.stages) == TILES[0])  # type: ignore[attr-defined]
    yield Candidate("nn", LARGE[0], kernel, space, widest, _unfenced, "without fence.proxy.async")
    (kernel, space), _ = spaces("nt", LARGE[0])
    widest = next(p for p in space.points() if (p.rows, p.columns, p.stages) == TILES[0])  # type: ignore[attr-defined]
    yield Candidate("nt", LARGE[0], kernel, space, widest)


def _unfenced(source: str) -> str:
    """What the fence of proxies costs is seen without it; the results may be wrong then."""
    return source.replace('"fence.proxy.async.shared::cta;"', '""')


def build(folder: Path) -> None:
    """Compiles all, on all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(usable_cores()) as pool:
        made = pool.map(lambda pair: _built(folder, *pair), enumerate(candidates()))
        trials = [trial for trial in made if trial is not None]
    (folder / "trials.json").write_text(json.dumps([vars(trial) for trial in trials], indent=1))


def _built(folder: Path, number: int, candidate: Candidate) -> Trial | None:
    point, path = candidate.point, folder / f"k{number}.so"

    def image(source: str, arch: str) -> bytes | Assembled:
        return assemble(candidate.change(source), arch)

    backend = CudaBackend(machine("sm_90"), assemble=image)
    func = candidate.space.build(point).func.with_attr("global_symbol", "k")
    try:
        code = compile_kernels(tvm.IRModule({"k": func}), backend)
    except AssemblerError as error:
        print(f"refused: {point}: {str(error).splitlines()[-1]}")
        return None
    with scratch_folder() as scratch:
        objects = [scratch / "kernels.o", scratch / "imports.o"]
        write_object(code, objects[0])
        write_imports(code, code, backend, objects[1])
        backend.link(objects, scratch / path.name)  # beside what else is linked, which is written there
        shutil.copyfile(scratch / path.name, path)
    size = f"{point.rows}x{point.columns} {point.stages} stages {point.chunks} chunks"  # type: ignore[attr-defined]
    print(f"built {candidate.kernel.name} {candidate.layout} {candidate.size} {size} {candidate.label}", flush=True)
    estimate = candidate.space.estimate(point)
    return Trial(
        candidate.layout, candidate.size, candidate.kernel.name, f"{size} {candidate.label}", estimate, path.name
    )


def run(folder: Path) -> int:
    """Runs all; how many are wrong."""
    trials = [Trial(**each) for each in json.loads((folder / "trials.json").read_text())]
    wrong, given = 0, _Factors()
    for trial in sorted(trials, key=lambda trial: (*trial.size, trial.layout)):
        try:
            error, seconds = _tried(folder, trial, given)
        except Exception as failure:  # the next ones are to be told, too
            print(f"FAILED {trial}: {failure}", flush=True)
            wrong += 1
            continue
        m, n, k = trial.size
        verdict = "" if error < 1e-2 else "  WRONG"
        wrong += bool(verdict)
        print(
            f"{m:5}x{n:5}x{k:5} {trial.layout} {trial.kernel:22} {trial.tile:44} {seconds * 1e6:9.1f} us "
            f"{2e-12 * m * n * k / seconds:6.1f} TFLOP/s, estimated {trial.estimate * 1e6:8.1f} us, "
            f"error {error:.1e}{verdict}",
            flush=True,
        )
    return wrong


class _Factors:
    """Those of the last size and layout, on the GPU."""

    def __init__(self) -> None:
        self.key: object = None

    def of(self, trial: Trial) -> tuple[tvm.runtime.Tensor, tvm.runtime.Tensor, np.ndarray, np.ndarray]:
        """Both factors, the rows that are compared, and what these are in float64."""
        if self.key != (trial.layout, trial.size):
            random, (m, n, k) = np.random.default_rng(0), trial.size
            x = random.standard_normal((m, k), np.float32).astype(np.float16)
            w = random.standard_normal((k, n), np.float32).astype(np.float16)
            rows = random.choice(m, min(m, CHECKED_ROWS), replace=False)
            expected = x[rows].astype(np.float32) @ w.astype(np.float32)
            x, w = x.T if trial.layout == "tn" else x, w.T if trial.layout == "nt" else w
            on = [tvm.runtime.tensor(np.ascontiguousarray(each), tvm.cuda(0)) for each in (x, w)]
            self.found, self.key = (*on, rows, expected), (trial.layout, trial.size)
        return self.found


def _tried(folder: Path, trial: Trial, given: _Factors) -> tuple[float, float]:
    """The largest error, relative to the largest result, and seconds of a call."""
    x, w, rows, expected = given.of(trial)
    m, n, _ = trial.size
    kernel, device = load_library((folder / trial.library).read_bytes(), "kernels")["k"], tvm.cuda(0)
    result = tvm.runtime.tensor(np.full((m, n), np.nan, np.float16), device)
    kernel(x, w, result)
    device.sync()
    found = result.numpy()[rows].astype(np.float32)
    error = float(np.nan_to_num(np.abs(found - expected), nan=np.inf).max() / np.abs(expected).max())
    best = float("inf")
    for _ in range(ROUNDS):
        device.sync()
        began = time.perf_counter()
        for _ in range(CALLS):
            kernel(x, w, result)
        device.sync()
        best = min(best, (time.perf_counter() - began) / CALLS)
    return error, best


def main() -> None:
    """Exit code 1 if a result is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.warpgroups", description=__doc__)
    parser.add_argument("what", choices=("build", "run"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "build":
        build(arguments.folder)
    else:
        raise SystemExit(bool(run(arguments.folder)))


if __name__ == "__main__":
    main()
