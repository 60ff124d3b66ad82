"""What `dsc.codegen.build` makes: a model that can be written or run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dsc.codegen.selection import Choice
from dsc.files import scratch_file
from dsc.runtime.compressed import compressed
from dsc.runtime.container import write_artifact, write_stream
from dsc.runtime.manifest import Manifest
from dsc.runtime.module import Module
from dsc.runtime.weights import Weight, total_size


@dataclass(frozen=True)
class CompiledModel:
    """Code in memory, weights still where the graph has them: they are packed when they are written, or compressed."""

    manifest: Manifest
    library: bytes
    weights: tuple[Weight, ...]
    choices: tuple[Choice, ...]
    """What was decided for each distinct workload."""

    @property
    def size(self) -> int:
        """Bytes of code and weights, as they are written."""
        return len(self.library) + total_size(self.weights)

    def compressed(self, progress: Callable[[int, int], None] | None = None) -> CompiledModel:
        """The same with its weights compressed, those that are smaller then: they are packed now.

        progress: told how many weights are done, and of how many. Raises `UsageError` where the temporary folder has no
        room for them.
        """
        return replace(self, weights=compressed(self.weights, progress or (lambda done, total: None)))

    def write(self, path: str | Path, progress: Callable[[int], None] | None = None) -> Manifest:
        """Write the artifact, whole or not at all; `progress` is told the bytes written.

        Raises `UsageError` where it cannot be written.
        """
        return write_artifact(Path(path), self.manifest, self.library, self.weights, progress)

    def load(self, threads: int | None = None) -> Module:
        """The model ready to run, kept in an unnamed temporary file."""
        file = scratch_file(lambda file: write_stream(file, self.manifest, self.library, self.weights))
        return Module(file, self.manifest.name, threads)
