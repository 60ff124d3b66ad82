"""dsc.h from C, with the runner as it is shipped and as its CMakeLists.txt builds it with sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dsc.elements import ELEMENT_TYPES
from dsc.targets.cpu.link import find_compiler
from tests.bundle.bundles import Bundled, tool
from tests.bundle.models import WORDS

SOURCES = Path(__file__).parent
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"


@pytest.fixture(scope="module")
def sanitized(words: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Bundled:
    """The bundle elsewhere, its runner built there by CMake, with checks of every access."""
    folder = tmp_path_factory.mktemp("sanitized") / "words"
    shutil.copytree(words.folder, folder)
    for name in ("dsc-run", "libdsc.so"):
        (folder / name).unlink()
    flags = [f"-DCMAKE_CXX_FLAGS={SANITIZERS}", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON"]
    commands = [["cmake", "-B", "build", *flags], ["cmake", "--build", "build", "--parallel", "2"]]
    for command in commands:
        done = subprocess.run([tool("cmake"), *command[1:]], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "warning" not in done.stderr
    return Bundled(folder, words.manifest)


def program(name: str, bundled: Bundled, folder: Path, *flags: str) -> Path:
    """A C program of this folder, linked with the bundle's library."""
    made = folder / name
    command = [find_compiler(), "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread", *flags]
    command += ["-I", str(bundled.folder / "include"), str(SOURCES / f"{name}.c"), "-o", str(made)]
    command += [f"-L{bundled.folder}", "-ldsc", f"-Wl,-rpath,{bundled.folder}"]
    subprocess.run(command, check=True)
    return made


def passes(*command: object) -> str:
    """What a program says that ends well."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def builds(words: Bundled, request: pytest.FixtureRequest, build: str) -> tuple[Bundled, list[str]]:
    if build == "shipped":
        return words, []
    return request.getfixturevalue("sanitized"), SANITIZERS.split()


@pytest.mark.parametrize("build", ["shipped", "sanitized"])
def test_wrong_calls(words: Bundled, request: pytest.FixtureRequest, tmp_path: Path, build: str) -> None:
    bundled, flags = builds(words, request, build)
    said = passes(program("calls", bundled, tmp_path, *flags), bundled.folder, tmp_path)

    types = [line.split()[1:] for line in said.splitlines() if line.startswith("type ")]
    assert types == [[str(e.code), e.dtype.name, str(e.dtype.itemsize)] for e in ELEMENT_TYPES if e.stored is not None]

    i = np.arange(24)
    x = ((i % 5) - 1.5 * (i % 3)).astype(np.float32).reshape(3, 8)
    feeds = {"x": x, "ids": (np.arange(6) * 3 % 10 - 5).reshape(3, 2), "z": (0.25 * i - 2).astype(np.float32)}
    for number, expected in enumerate(WORDS.reference(feeds)):
        found = np.fromfile(tmp_path / f"{number}.bin", expected.dtype).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-6)  # the same operations, one of them fused


@pytest.mark.parametrize("build", ["shipped", "sanitized"])
def test_many_threads(words: Bundled, request: pytest.FixtureRequest, tmp_path: Path, build: str) -> None:
    bundled, flags = builds(words, request, build)
    assert passes(program("threads", bundled, tmp_path, *flags), bundled.folder) == "0 of 240 runs failed\n"


def test_the_header_is_of_c_plus_plus_too(words: Bundled, tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text('#include "dsc.h"\nint main() { return dsc_api_version() - DSC_API_VERSION; }\n')
    command = [tool("c++"), "-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", words.folder / "include"]
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
    command = [find_compiler(), "-I", words.folder / "include", tmp_path / "a.c", "-o", made, "-ldl"]
    subprocess.run(command, check=True)
    passes(made, words.folder, words.folder / "libdsc.so")


def test_the_command_with_sanitizers(sanitized: Bundled, tmp_path: Path) -> None:
    feeds = {
        "x": np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32),
        "ids": np.array([[4], [-5], [0]]),
        "z": np.ones(8, np.float32),
    }
    for array, wanted in zip(sanitized.run(feeds, tmp_path, "--repeat", "2"), WORDS.reference(feeds), strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-6)
    assert "index 5" in sanitized.try_run({**feeds, "ids": np.array([[4], [5], [0]])}, tmp_path).failed(2)
    (tmp_path / "in0.npy").write_bytes((tmp_path / "in0.npy").read_bytes()[:-1])
    cut_short = sanitized.command(sanitized.folder, "--input", f"x={tmp_path / 'in0.npy'}")
    assert "bytes of elements" in cut_short.failed(2)
