"""The making of a bundle on one screen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dsc.bundle import layout
from dsc.bundle.artifact import Artifact, read_artifact
from dsc.bundle.description import describe
from dsc.bundle.gpu import gpu_files
from dsc.bundle.readme import readme
from dsc.bundle.runner import compile_runner, runner_sources
from dsc.bundle.runtime import runtime_files
from dsc.cxx import find_compiler
from dsc.errors import ArtifactError, UsageError
from dsc.files import writing_folder
from dsc.runtime.manifest import LIBRARY, MANIFEST, MEMBERS, WEIGHTS

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told a phase in words, the steps done and how many there are."""


@dataclass(frozen=True)
class Bundle:
    """What was written."""

    folder: Path
    size: int
    """Bytes of all files."""
    arch: str
    """Instruction set of the processor that it is for."""
    compiler: str | None
    """What made the runner; None where there is none for the processor, so that it has to be built there."""


def write_bundle(
    artifact: Path,
    output: Path,
    *,
    runtime: Path | None = None,
    compiler: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Write the bundle of an artifact, which may be for another processor than this, to the folder `output`.

    runtime: a folder with TVM's runtime libraries for the processor; else they are this installation's, or those of the
    wheels on PyPI.
    compiler: command of a C++ compiler for the processor; else one that is installed.
    force: replace a folder that holds other things than a bundle.
    The folder is written whole or not at all, and equal artifacts give equal bundles. Raises `ArtifactError` for an
    artifact that is damaged, or for a device without bundles, `UsageError` for what cannot be read, found or written.
    """
    check_output(artifact, output, force=force)
    tell = progress or (lambda phase, done, total: None)
    tell("check the artifact", 0, 1)
    with read_artifact(artifact) as content:
        tell(f"find the runtime for {content.arch}", 0, 1)
        found = runtime_files(content.arch, runtime)
        command = find_compiler(content.arch, compiler)
        with writing_folder(output) as folder:
            layout.write(folder, found.contents())
            layout.write(folder, runner_sources())
            if command is not None:
                tell("compile the runner", 0, 1)
                layout.write(folder, compile_runner(command, found))
            if content.gpu is not None:
                tell(f"the library for {content.gpu.device}", 0, 1)
                layout.write(folder, gpu_files(content.gpu, command))
            _write_model(folder, content, found.version)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            arch = content.arch
    return Bundle(output, size, arch, command)


def _write_model(folder: Path, content: Artifact, runtime: str) -> None:
    """What is the model's own."""
    content.copy(LIBRARY, folder / LIBRARY)
    content.copy(WEIGHTS, folder / WEIGHTS)
    files = [layout.listed(folder / name) for name in layout.CHECKED]
    for file in files:
        if file.name in MEMBERS and file.sha256 != content.manifest.members[file.name].sha256:
            raise ArtifactError(f"{content.manifest.name} was changed while its bundle was written; bundle it again")
    layout.write(
        folder,
        {
            layout.DESCRIPTION: describe(content, files, runtime),
            MANIFEST: content.separate_manifest().to_json(),
            layout.README: readme(content.manifest),
        },
    )


def check_output(artifact: Path, output: Path, *, force: bool = False) -> None:
    """Raise UsageError now if the folder cannot be written later, or holds what is not a bundle's."""
    place = Path(os.path.realpath(output))
    if place.exists() and not place.is_dir():
        raise UsageError(f"cannot write {output}: it is a file, expected a folder or nothing")
    if Path(os.path.realpath(artifact)).is_relative_to(place):
        raise UsageError(f"the bundle would replace the folder {output}, in which {artifact} is: name another")
    if not place.parent.is_dir():
        raise UsageError(f"cannot write {output}: there is no folder {output.parent}")
    if not os.access(place.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise UsageError(f"cannot write {output}: the folder {output.parent} is not writable")
    foreign = layout.foreign(place) if place.exists() and not force else None
    if foreign is not None:
        raise UsageError(
            f"{output} holds {foreign}, which is no file of a bundle: name another folder, or --force to replace it all"
        )
