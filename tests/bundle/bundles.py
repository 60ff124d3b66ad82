"""Models as bundles, and running them by the command that is in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from dsc.bundle import write_bundle
from dsc.elements import BY_DTYPE_NAME
from dsc.pipeline import compile_model
from dsc.runtime import inspect
from dsc.runtime.manifest import Manifest
from dsc.targets import AnyTarget

COMMAND = "dsc-run"


def tool(name: str) -> str:
    """The path of a program that `make setup` installs; without it the test is skipped, and fails in CI."""
    if found := shutil.which(name):
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is missing; `make setup` installs it")
    pytest.skip(f"{name} is missing; `make setup` installs it")


@dataclass(frozen=True)
class Ran:
    """What the command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def failed(self, code: int) -> str:
        """The one message of a command that failed as it should; asserts that it did."""
        assert self.code == code, self
        assert self.err.startswith("dsc-run: error: "), self
        assert self.err.count("error: ") == 1, self
        return self.err.removeprefix("dsc-run: error: ").strip()


@dataclass(frozen=True)
class Bundled:
    """A bundle, and how its command is started: by an emulator where it is another processor's."""

    folder: Path
    manifest: Manifest
    launcher: tuple[str, ...] = ()

    def command(self, *words: object, cwd: Path | None = None) -> Ran:
        """Run the command of the bundle with these words."""
        words = (*self.launcher, self.folder / COMMAND, *words)
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, cwd=cwd)
        return Ran(done.returncode, done.stdout, done.stderr)

    def try_run(self, feeds: Mapping[str, np.ndarray], files: Path, *words: object) -> Ran:
        """Run the model on arrays by way of files in the folder `files`."""
        arguments: list[object] = [self.folder, *words]
        for number, (name, array) in enumerate(feeds.items()):
            np.save(files / f"in{number}.npy", array)
            arguments += ["--input", f"{name}={files / f'in{number}.npy'}"]
        for number, spec in enumerate(self.manifest.outputs):
            arguments += ["--output", f"{spec.name}={files / f'out{number}.npy'}"]
        return self.command(*arguments)

    def run(self, feeds: Mapping[str, np.ndarray], files: Path, *words: object) -> list[np.ndarray]:
        """The outputs, in order."""
        ran = self.try_run(feeds, files, *words)
        assert ran.code == 0, ran
        arrays = [np.load(files / f"out{number}.npy") for number in range(len(self.manifest.outputs))]
        pairs = zip(arrays, self.manifest.outputs, strict=True)
        return [a.view(BY_DTYPE_NAME[spec.dtype].dtype) if a.dtype.kind == "V" else a for a, spec in pairs]


def compile_to(path: Path, proto: onnx.ModelProto, target: str | AnyTarget = "x86") -> Path:
    """The artifact of a model."""
    compile_model(proto, target=target).model.write(path)
    return path


def bundle(artifact: Path, folder: Path, launcher: Sequence[str] = ()) -> Bundled:
    """The bundle of an artifact."""
    written = write_bundle(artifact, folder)
    assert written.compiler is not None
    return Bundled(folder, inspect(artifact), tuple(launcher))
