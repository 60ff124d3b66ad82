"""What a model.dsc says about itself: the interface, what it needs to run, what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dsc.errors import ArtifactError

FORMAT = 1
"""Version of the artifact's layout; a reader takes exactly the one it knows."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. A dim is its size, its name if symbolic, or None if it has no name either."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        dims = ", ".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.name}: {self.dtype}[{dims}]"


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie in the file, and their hash."""

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Contents of manifest.json."""

    name: str
    target: str
    """Tag of the machine it was compiled for: ``x86:znver4``."""
    arch: str
    """Instruction set as ``uname -m`` names it: ``x86_64``."""
    features: tuple[str, ...]
    """CPU features that the code uses, named as in /proc/cpuinfo."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: tuple[str, ...]
    """Names in weights.safetensors in the order in which the code takes them."""
    versions: Mapping[str, str]
    """Distributions that made it: dsc, apache-tvm, ..."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the model came from and how it was compiled; free form."""
    kernels: tuple[Mapping[str, Any], ...] = ()
    """The kernel chosen for each workload, for reports."""
    members: Mapping[str, Member] = field(default_factory=dict)

    def with_members(self, members: Mapping[str, Member]) -> Manifest:
        """The same with the table of members filled in."""
        return replace(self, members=dict(members))

    def to_json(self) -> bytes:
        """Canonical text: sorted keys, so equal manifests are equal bytes."""
        content = {"format": FORMAT, **asdict(self)}
        return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @staticmethod
    def from_json(text: bytes, source: str) -> Manifest:
        """Read what `to_json` wrote. Raises `ArtifactError`, naming `source`, for anything else."""
        try:
            content = json.loads(text)
            found = content.pop("format")
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise ArtifactError(f"{source}: manifest.json is not one that dsc wrote; compile the model again") from None
        if found != FORMAT:
            raise ArtifactError(
                f"{source} has artifact format {found}, this dsc reads format {FORMAT}; "
                f"compile the model again with this dsc"
            )
        try:
            return _from_content(content)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ArtifactError(f"{source}: manifest.json is damaged ({error}); compile the model again") from None


def _from_content(content: dict[str, Any]) -> Manifest:
    return Manifest(
        name=str(content["name"]),
        target=str(content["target"]),
        arch=str(content["arch"]),
        features=tuple(map(str, content["features"])),
        inputs=tuple(map(_spec, content["inputs"])),
        outputs=tuple(map(_spec, content["outputs"])),
        parameters=tuple(map(str, content["parameters"])),
        versions=dict(content["versions"]),
        provenance=dict(content["provenance"]),
        kernels=tuple(content["kernels"]),
        members={name: Member(**member) for name, member in content["members"].items()},
    )


def _spec(content: dict[str, Any]) -> TensorSpec:
    return TensorSpec(content["name"], content["dtype"], tuple(content["shape"]))
