"""What a bundle takes out of an artifact."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from dsc.errors import ArtifactError
from dsc.files import scratch_file
from dsc.runtime import inspect
from dsc.runtime.hashing import BlockHash
from dsc.runtime.manifest import WEIGHTS, Manifest
from dsc.runtime.module import check_versions
from dsc.runtime.tensors import is_compressed, read_tensor
from dsc.runtime.weights import Entry, Weight, chunks, parse

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
    members: Mapping[str, memoryview]
    """Their bytes; those of the weights are as without compression."""

    def copy(self, name: str, to: Path) -> None:
        """Write a member to a file of its own."""
        to.write_bytes(self.members[name])

    def parameters(self) -> list[Entry]:
        """The weights in the order in which the code takes them; `offset` counts from the beginning of their file."""
        table, start = parse(self.members[WEIGHTS], self.manifest.name)
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
    with ExitStack() as stack:
        view = _mapped(stack, stack.enter_context(path.open("rb")))
        places = manifest.members.items()
        members = {name: stack.enter_context(view[p.offset : p.offset + p.size]) for name, p in places}
        if is_compressed(parse(members[WEIGHTS], str(path))[0]):
            manifest, members[WEIGHTS] = _expanded(stack, manifest, members[WEIGHTS], str(path))
        yield Artifact(manifest, arch, features, gpu, members)


def _mapped(stack: ExitStack, file: BinaryIO) -> memoryview:
    """The bytes of a file, until the stack unwinds."""
    return stack.enter_context(memoryview(stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))))


def _expanded(stack: ExitStack, manifest: Manifest, content: memoryview, source: str) -> tuple[Manifest, memoryview]:
    """The weights as they are without compression, in an unnamed temporary file, and the manifest of an artifact that
    has them so: the runner maps its weights, and bundles of both are the same."""
    entries, start = parse(content, source)
    weights = [
        Weight(name, entry.dtype.name, entry.shape, partial(read_tensor, content, start, entry, source, name))
        for name, entry in entries.items()
    ]
    digest = BlockHash()

    def write(file: BinaryIO) -> None:
        for piece in chunks(weights):
            file.write(piece)
            digest.update(piece)

    view = _mapped(stack, stack.enter_context(scratch_file(write)))
    member = replace(manifest.members[WEIGHTS], size=len(view), sha256=digest.hexdigest())
    return manifest.with_members({**manifest.members, WEIGHTS: member}), view


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
