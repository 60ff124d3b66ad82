"""What an artifact's weights take, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsc.runtime import Manifest
    from dsc.runtime.weights import Entry


@dataclass(frozen=True)
class StoredKind:
    """Tensors of one type: weights, or the arrays of those that are stored without their zeros."""

    name: str
    tensors: int
    bytes: int
    """In the file."""
    expanded_bytes: int
    """In memory; more where they are compressed."""


def stored_kinds(manifest: Manifest, entries: Mapping[str, Entry]) -> list[StoredKind]:
    """All kinds, the largest in the file first."""
    from dsc.cli.layers import verdicts

    pairs = zip(verdicts(manifest.layers, manifest.kernels), manifest.layers, strict=True)
    without_zeros = {name for verdict, layer in pairs if verdict.skips_zeros for name in layer["parameters"]}
    kinds: dict[str, list[Entry]] = {}
    for name, entry in entries.items():
        kind = f"{entry.dtype.name}{' of weights without zeros' if name in without_zeros else ''}"
        kinds.setdefault(kind, []).append(entry)
    found = [
        StoredKind(name, len(kind), sum(entry.size for entry in kind), sum(entry.expanded_size for entry in kind))
        for name, kind in kinds.items()
    ]
    return sorted(found, key=lambda kind: -kind.bytes)
