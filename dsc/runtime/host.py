"""Whether this host can run an artifact."""

from __future__ import annotations

import platform

from dsc.errors import ArtifactError
from dsc.host import cpu_features
from dsc.runtime.manifest import Manifest


def check_host(manifest: Manifest, source: str) -> None:
    """Raise `ArtifactError` if this host cannot run the artifact's code."""
    if platform.machine() != manifest.arch:
        raise ArtifactError(
            f"{source} was compiled for {manifest.arch} ({manifest.target}), this host is "
            f"{platform.machine()}; compile the model again on this host or with --target for it"
        )
    missing = sorted(set(manifest.features) - cpu_features())
    if missing:
        raise ArtifactError(
            f"{source} was compiled for {manifest.target} and needs the CPU features "
            f"{', '.join(missing)}, which this host does not have; compile the model again here "
            f"(`dsc compile --target x86`)"
        )
