"""What a model.dsc says about itself: the interface, what it needs to run, what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from dsc.errors import ArtifactError
from dsc.needs import Needs
from dsc.runtime.recorded import recorded_approximation, recorded_kernel, recorded_layer
from dsc.runtime.schema import MalformedError, Value, parse_json
from dsc.runtime.weights import ELEMENT_TYPES

FORMAT = 7
"""Version of the artifact's layout; a reader takes exactly the one it knows."""

MANIFEST, LIBRARY, WEIGHTS = "manifest.json", "lib.so", "weights.safetensors"
MEMBERS = (LIBRARY, WEIGHTS)
"""What the manifest tells the place and the hash of."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. A dim is its size, its name if symbolic, or None if it has no name either."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    @cached_property
    def element(self) -> np.dtype[np.generic]:
        """`dtype` as numpy has it; looking that up by name takes longer than a small kernel."""
        return np.dtype(self.dtype)

    def __str__(self) -> str:
        dims = ", ".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.name}: {self.dtype}[{dims}]"


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie in the file, and their hash (see `dsc.runtime.hashing`)."""

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Check:
    """One thing a run requires."""

    text: str
    """What to say where it does not hold, with places for ``{left}`` and ``{right}``, the numbers found."""
    places: tuple[tuple[int, int], ...]
    """Inputs it depends on, by position, and the axis of each (0 where its elements matter)."""


@dataclass(frozen=True)
class Checks:
    """What the library checks, by the numbers that it knows the checks by."""

    symbols: tuple[tuple[int, int], ...] = ()
    """Where the sizes are found that the check of sizes takes: input and axis."""
    sizes: tuple[Check, ...] = ()
    """Before a run."""
    indices: tuple[Check, ...] = ()
    """By a run, which gives a status as its last output then."""


@dataclass(frozen=True)
class Manifest:
    """Contents of manifest.json."""

    name: str
    target: str
    """Name of the machine that it was compiled for."""
    needs: tuple[Needs, ...]
    """What it asks of each device that takes part: the host first, the one that kernels run on last."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: tuple[str, ...]
    """Names in weights.safetensors in the order in which the code takes them."""
    versions: Mapping[str, str]
    """Distributions that made it: dsc, apache-tvm, ..."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the model came from and how it was compiled; free form."""
    checks: Checks = Checks()
    """What is required of sizes and indices at run time."""
    uncaptured: str = "kernels are called, not launched"
    """Why the launches of a run are not captured as one graph; empty where they are."""
    kernels: tuple[Mapping[str, Any], ...] = ()
    """The kernel chosen for each workload, for reports."""
    layers: tuple[Mapping[str, Any], ...] = ()
    """Where a model has zeros in its weights, and the kernel of each layer, for reports."""
    approximation: Mapping[str, Any] | None = None
    """What was approximated on purpose, and by how much it is off; None where nothing was."""
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
        """Read what `to_json` wrote. Raises `ArtifactError`, naming `source` and the place, for anything else."""
        try:
            return _manifest(parse_json(text, MANIFEST))
        except MalformedError as error:
            raise ArtifactError(f"{source}: {error}; it is damaged, compile the model again") from None


def _manifest(content: Value) -> Manifest:
    names = [field.name for field in fields(Manifest)]
    form, *values = content.fields("format", *names)
    form.integer(FORMAT, FORMAT)
    at = dict(zip(names, values, strict=True))
    inputs = _specs(at["inputs"])
    return Manifest(
        name=at["name"].text(),
        target=at["target"].text(),
        needs=_needs(at["needs"]),
        inputs=inputs,
        outputs=_specs(at["outputs"]),
        parameters=_distinct(at["parameters"], [item.text() for item in at["parameters"].items()]),
        versions={name: version.text() for name, version in at["versions"].entries().items()},
        provenance=_provenance(at["provenance"]),
        checks=_checks(at["checks"], inputs),
        uncaptured=at["uncaptured"].text(),
        kernels=tuple(recorded_kernel(item) for item in at["kernels"].items()),
        layers=tuple(recorded_layer(item, len(at["kernels"].items())) for item in at["layers"].items()),
        approximation=None if at["approximation"].value is None else recorded_approximation(at["approximation"]),
        members=dict(zip(MEMBERS, map(_member, at["members"].fields(*MEMBERS)), strict=True)),
    )


def _needs(content: Value) -> tuple[Needs, ...]:
    found = []
    for item in content.items():
        name, facts = item.fields("device", "facts")
        found.append(Needs(name.text(), {fact: _fact(value) for fact, value in facts.entries().items()}))
    if not found:
        raise MalformedError(f"{content.place} names no device")
    return tuple(found)


def _fact(content: Value) -> str | tuple[str, ...]:
    return content.text() if isinstance(content.value, str) else tuple(item.text() for item in content.items())


def _specs(content: Value) -> tuple[TensorSpec, ...]:
    specs = []
    for item in content.items():
        name, dtype, shape = item.fields("name", "dtype", "shape")
        specs.append(TensorSpec(name.text(), _element_type(dtype), tuple(map(_dim, shape.items()))))
    _distinct(content, [spec.name for spec in specs])
    return tuple(specs)


def _element_type(content: Value) -> str:
    if content.text() not in ELEMENT_TYPES:
        raise MalformedError(f"{content.place} is {content.text()[:40]!r}, which is no element type")
    return content.text()


def _dim(content: Value) -> int | str | None:
    if content.value is None:
        return None
    return content.text() if isinstance(content.value, str) else content.integer()


def _distinct(content: Value, names: list[str]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise MalformedError(f"{content.place} names {max(names, key=names.count)[:40]!r} twice")
    return tuple(names)


def _provenance(content: Value) -> dict[str, Any]:
    """Free form, but for what is read again."""
    entries = content.entries()
    if "opt_level" in entries:
        entries["opt_level"].integer(0, 3)
    if "passes" in entries:
        entries["passes"].text()
    for value in entries["model"].entries().values() if "model" in entries else ():
        value.text()
    return dict(content.value)


def _member(content: Value) -> Member:
    offset, size, digest = content.fields("offset", "size", "sha256")
    return Member(offset.integer(), size.integer(), digest.text())


def _checks(content: Value, inputs: Sequence[TensorSpec]) -> Checks:
    symbols, sizes, indices = content.fields("symbols", "sizes", "indices")
    listed = [tuple(_check(check, inputs) for check in kind.items()) for kind in (sizes, indices)]
    return Checks(_places(symbols, inputs), *listed)


def _check(content: Value, inputs: Sequence[TensorSpec]) -> Check:
    text, places = content.fields("text", "places")
    return Check(text.text(), _places(places, inputs))


def _places(content: Value, inputs: Sequence[TensorSpec]) -> tuple[tuple[int, int], ...]:
    places = []
    for place in content.items():
        numbers = [number.integer() for number in place.items()]
        if len(numbers) != 2 or numbers[0] >= len(inputs) or numbers[1] >= max(1, len(inputs[numbers[0]].shape)):
            raise MalformedError(f"{place.place} is no dim of an input")
        places.append((numbers[0], numbers[1]))
    return tuple(places)
