"""README.md of a bundle: three lines."""

from __future__ import annotations

from dsc.runtime.manifest import Manifest


def readme(manifest: Manifest) -> bytes:
    """What it is and how to run it, from the command line and from C, and how to build the runner."""
    inputs = " ".join(f"--input {_argument(spec.name, 'npy')}" for spec in manifest.inputs)
    outputs = " ".join(f"--output {_argument(spec.name, 'npy')}" for spec in manifest.outputs)
    takes, gives = ("; ".join(f"`{spec}`" for spec in specs) for specs in (manifest.inputs, manifest.outputs))
    return (
        f"**{manifest.name}** for {manifest.target}, without Python: `./dsc-run . {inputs} {outputs} --repeat 10`.\n"
        f"From C and C++: include/dsc.h and libdsc.so; it takes {takes or 'nothing'} and gives {gives}.\n"
        "libdsc.so and dsc-run are built from src/ and tool/ by `cmake -B build && cmake --build build`.\n"
    ).encode()


def _argument(name: str, suffix: str) -> str:
    """NAME=FILE for a shell, whatever the name."""
    file = "".join(char if char.isalnum() else "_" for char in name)
    quoted = "'" + f"{name}={file}.{suffix}".replace("'", "'\\''") + "'"
    return f"{name}={file}.{suffix}" if name.replace("_", "").isalnum() and name.isascii() else quoted
