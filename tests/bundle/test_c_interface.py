"""dsc.h from C, with the runner as it is shipped and as its CMakeLists.txt builds it with sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dsc.elements import ELEMENT_TYPES
from dsc.targets.cpu.link import HOST
from tests.bundle.bundles import Bundled, tool
from tests.bundle.models import WORDS

SOURCES = Path(__file__).parent
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")


PROJECT = """
cmake_minimum_required(VERSION 3.13)
project(outer C CXX)
set(CMAKE_C_STANDARD 11)
find_package(Threads REQUIRED)
add_subdirectory(words)
foreach(name calls threads)
  add_executable(${name} ${name}.c)
  target_link_libraries(${name} dsc Threads::Threads)
endforeach()
"""


@dataclass(frozen=True)
class Build:
    """A bundle, and the folder of the programs that are linked with its library."""

    bundled: Bundled
    programs: Path


@pytest.fixture(scope="module")
def shipped(words: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """As `dsc bundle` has made it."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in ("calls", "threads"):
        command = [HOST.find(), *STRICT, "-std=c11", "-pthread", SOURCES / f"{name}.c", "-o", folder / name]
        command += ["-I", words.folder / "include", "-L", words.folder, "-ldsc", f"-Wl,-rpath,{words.folder}"]
        subprocess.run(command, check=True)
    return Build(words, folder)


@pytest.fixture(scope="module")
def sanitized(words: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Built elsewhere by CMake, as a part of a project, with checks of every access."""
    folder = tmp_path_factory.mktemp("sanitized")
    copy = Bundled(folder / "words", words.manifest)
    shutil.copytree(words.folder, copy.folder)
    for name in ("dsc-run", "libdsc.so"):
        (copy.folder / name).unlink()
    for name in ("calls", "threads"):
        shutil.copy(SOURCES / f"{name}.c", folder)
    (folder / "CMakeLists.txt").write_text(PROJECT)
    flags = " ".join(["-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *STRICT[:2]])
    options = [f"-DCMAKE_{language}_FLAGS={flags}" for language in ("C", "CXX")] + ["-DCMAKE_BUILD_TYPE=None"]
    for words_given in (["-B", "build", *options], ["--build", "build", "--parallel", "2"]):
        done = subprocess.run([tool("cmake"), *words_given], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "warning" not in done.stderr
    return Build(copy, folder / "build")


def passes(*command: object) -> str:
    """What a program says that ends well."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("build", ["shipped", "sanitized"])
def test_wrong_calls(request: pytest.FixtureRequest, tmp_path: Path, build: str) -> None:
    built: Build = request.getfixturevalue(build)
    said = passes(built.programs / "calls", built.bundled.folder, tmp_path)

    types = [line.split()[1:] for line in said.splitlines() if line.startswith("type ")]
    assert types == [[str(e.code), e.dtype.name, str(e.dtype.itemsize)] for e in ELEMENT_TYPES if e.stored is not None]

    i = np.arange(24)
    x = ((i % 5) - 1.5 * (i % 3)).astype(np.float32).reshape(3, 8)
    feeds = {"x": x, "ids": (np.arange(6) * 3 % 10 - 5).reshape(3, 2), "z": (0.25 * i - 2).astype(np.float32)}
    for number, expected in enumerate(WORDS.reference(feeds)):
        found = np.fromfile(tmp_path / f"{number}.bin", expected.dtype).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-6)  # the same operations, one of them fused


@pytest.mark.parametrize("build", ["shipped", "sanitized"])
def test_many_threads(request: pytest.FixtureRequest, build: str) -> None:
    built: Build = request.getfixturevalue(build)
    assert passes(built.programs / "threads", built.bundled.folder) == "0 of 240 runs failed\n"


def test_the_header_is_of_c_plus_plus_too(words: Bundled, tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text('#include "dsc.h"\nint main() { return dsc_api_version() - DSC_API_VERSION; }\n')
    command = [tool("c++"), "-std=c++11", *STRICT, "-I", words.folder / "include"]
    subprocess.run([*command, tmp_path / "a.cpp", "-fsyntax-only"], check=True)


def test_a_library_that_a_program_loads_for_itself(words: Bundled, tmp_path: Path) -> None:
    """By dlopen, its symbols seen by nobody else: kernels' errors still find their way."""
    (tmp_path / "a.c").write_text(
        """
        #include <dlfcn.h>
        #include <stdio.h>
        #include "dsc.h"
        int main(int count, char **words) {
          void *library = dlopen(words[count - 1], RTLD_NOW | RTLD_LOCAL);
          if (library == NULL) return puts(dlerror()), 1;
          dsc_status (*load)(const char *, int32_t, dsc_model **);
          *(void **)&load = dlsym(library, "dsc_load");
          const char *(*error)(void);
          *(void **)&error = dlsym(library, "dsc_error");
          dsc_model *model;
          return load(words[1], 2, &model) == DSC_OK ? 0 : (puts(error()), 1);
        }
        """
    )
    made = tmp_path / "a"
    command = [HOST.find(), "-I", words.folder / "include", tmp_path / "a.c", "-o", made, "-ldl"]
    subprocess.run(command, check=True)
    passes(made, words.folder, words.folder / "libdsc.so")


def test_the_command_with_sanitizers(sanitized: Build, tmp_path: Path) -> None:
    bundled = sanitized.bundled
    feeds = {
        "x": np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32),
        "ids": np.array([[4], [-5], [0]]),
        "z": np.ones(8, np.float32),
    }
    for array, wanted in zip(bundled.run(feeds, tmp_path, "--repeat", "2"), WORDS.reference(feeds), strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-6)
    assert "index 5" in bundled.try_run({**feeds, "ids": np.array([[4], [5], [0]])}, tmp_path).failed(2)
    (tmp_path / "in0.npy").write_bytes((tmp_path / "in0.npy").read_bytes()[:-1])
    cut_short = bundled.command(bundled.folder, "--input", f"x={tmp_path / 'in0.npy'}")
    assert "bytes of elements" in cut_short.failed(2)
