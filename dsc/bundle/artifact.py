"""What a bundle takes out of an artifact."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dsc.errors import ArtifactError
from dsc.runtime import inspect
from dsc.runtime.manifest import WEIGHTS, Manifest
from dsc.runtime.module import check_versions
from dsc.runtime.weights import Entry, parse

MAX_RANK = 16
"""DSC_MAX_RANK of dsc.h."""


GPUS = ("rocm", "cuda")
"""Devices beside the processor that a bundle has libraries for."""


@dataclass(frozen=True)
class GpuNeed:
    """A GPU that runs the kernels."""

    device: str
    """One of `GPUS`."""
    arch: str
    """Its instruction set: ``gfx942``, ``sm_80``."""


@dataclass(frozen=True)
class Artifact:
    """An artifact for a CPU, or for a GPU and the CPU beside it, every byte of which was checked."""

    manifest: Manifest
    arch: str
    """Instruction set of the processor, as uname names it."""
    features: tuple[str, ...]
    """Of the processor, that the code uses; as Linux names them."""
    gpu: GpuNeed | None
    mapped: memoryview

    def member(self, name: str) -> memoryview:
        """The bytes of a member."""
        place = self.manifest.members[name]
        return self.mapped[place.offset : place.offset + place.size]

    def copy(self, name: str, to: Path) -> None:
        """Write a member to a file of its own."""
        with self.member(name) as content, to.open("wb") as file:
            file.write(content)

    def parameters(self) -> list[Entry]:
        """The weights in the order in which the code takes them; `offset` counts from the beginning of their file."""
        with self.member(WEIGHTS) as content:
            table, start = parse(content, self.manifest.name)
        return [replace(table[name], offset=start + table[name].offset) for name in self.manifest.parameters]

    def separate_manifest(self) -> Manifest:
        """The manifest of members that are files of their own."""
        return self.manifest.with_members(
            {name: replace(member, offset=0) for name, member in self.manifest.members.items()}
        )


@contextmanager
def read_artifact(path: Path) -> Iterator[Artifact]:
    """The artifact at `path`, which may be for another processor than this.

    Raises `ArtifactError` where it is damaged, of another version of TVM, or for a device that has no bundles;
    `UsageError` where it cannot be read.
    """
    manifest = inspect(path, check=True)
    check_versions(manifest, str(path))
    arch, features = _cpu(manifest, str(path))
    gpu = _gpu(manifest, str(path))
    _check_ranks(manifest, str(path))
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        yield Artifact(manifest, arch, features, gpu, view)


def _cpu(manifest: Manifest, source: str) -> tuple[str, tuple[str, ...]]:
    """Instruction set and features that the artifact needs of the processor."""
    devices = [need.device for need in manifest.needs]
    if devices[:1] != ["cpu"] or devices[1:] not in ([], *([gpu] for gpu in GPUS)):
        raise ArtifactError(
            f"{source} was compiled for {manifest.target} and runs on {', '.join(devices)}: there are bundles for CPUs "
            f"and for the GPUs {' and '.join(GPUS)} beside one; compile the model with --target for those"
        )
    facts = manifest.needs[0].facts
    arch, features = facts.get("arch"), facts.get("features", ())
    if not isinstance(arch, str) or not re.fullmatch(r"\w+", arch) or isinstance(features, str):
        raise ArtifactError(f"{source} does not say which processor it needs; compile the model again")
    return arch, features


def _gpu(manifest: Manifest, source: str) -> GpuNeed | None:
    """The GPU that the artifact needs beside the processor, if it does."""
    if len(manifest.needs) == 1:
        return None
    need = manifest.needs[1]
    arch = need.facts.get("arch")
    if not isinstance(arch, str) or not re.fullmatch(r"\w+", arch):
        raise ArtifactError(f"{source} does not say which GPU it needs; compile the model again")
    return GpuNeed(need.device, arch)


def _check_ranks(manifest: Manifest, source: str) -> None:
    for spec in (*manifest.inputs, *manifest.outputs):
        if len(spec.shape) > MAX_RANK:
            raise ArtifactError(f"{source}: {spec.name} has {len(spec.shape)} dims, a bundle has tensors of {MAX_RANK}")
