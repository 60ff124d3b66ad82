"""Whether an artifact was made of the model it is checked against."""

from __future__ import annotations

import os

from dsc.errors import VerificationError
from dsc.exchange.fingerprint import fingerprint
from dsc.runtime import Manifest


def check_origin(manifest: Manifest, artifact: str | os.PathLike[str], model: str | os.PathLike[str]) -> str:
    """Compare the model's hash with the one that the artifact carries.

    Returns a warning where the artifact carries none (it was made from a graph, or by an older dsc), "" where they
    are the same. Raises VerificationError, naming both, where the artifact was made of another model.
    """
    artifact, model = os.fspath(artifact), os.fspath(model)
    recorded = manifest.provenance.get("sha256")
    if not isinstance(recorded, str):
        return f"{artifact} does not say which model it was made of; it is taken to be {model}"
    found = fingerprint(model)
    if found != recorded:
        raise VerificationError(
            f"{artifact} was made of another model than {model}: it carries the hash {recorded}, "
            f"{model} has {found}; compile the model again, or name the model it was made of"
        )
    return ""
