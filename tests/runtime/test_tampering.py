"""Artifacts that were changed, by accident or with care: always one message, never a traceback or much memory."""

from __future__ import annotations

import hashlib
import json
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc.errors import ArtifactError
from dsc.runtime import inspect, load
from dsc.runtime.hashing import BLOCK, BlockHash, hash_member
from dsc.runtime.manifest import FORMAT, WEIGHTS

_MISSING = object()
_NONSENSE: list[Any] = [None, True, -1, 1.5, 2**80, "", "\ud800", "x\0y", [], {}, [[]], [None], {"a": 1}, _MISSING]


def test_every_flipped_bit_is_noticed(artifact: Path) -> None:
    """Wherever it is: code, weights and the gaps between them, manifest, the ZIP's own records and padding."""
    content = bytearray(artifact.read_bytes())
    members = inspect(artifact).members
    rng = np.random.default_rng(3)
    places = [*rng.integers(0, len(content), 60), 0, len(content) - 1, *range(len(content) - 120, len(content), 7)]
    for member in members.values():
        places += [member.offset, member.offset + member.size - 1]
        places += list(rng.integers(member.offset, member.offset + member.size, 40))
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        artifact.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"sum\.dsc"):
            inspect(artifact, check=True)
        with pytest.raises(ArtifactError, match=r"sum\.dsc"):
            load(artifact, threads=1)


def test_a_changed_weight_is_named(artifact: Path) -> None:
    content = bytearray(artifact.read_bytes())
    member = inspect(artifact).members[WEIGHTS]
    content[member.offset + member.size - 10] ^= 4
    artifact.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors was changed"):
        load(artifact)
    assert inspect(artifact).name == "sum"  # what is printed is not the weights
    with pytest.raises(ArtifactError, match=r"weights\.safetensors was changed"):
        inspect(artifact, check=True)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_the_hash_by_blocks_does_not_depend_on_pieces_and_threads(size: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    pieces, position = BlockHash(), 0
    for step in np.random.default_rng(1).integers(0, BLOCK * 2, 100):
        pieces.update(content[position : position + int(step)])
        position += int(step)
    pieces.update(content[position:])
    blocks = [content[start : start + BLOCK] for start in range(0, size, BLOCK)]
    digest = hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()
    assert pieces.hexdigest() == hash_member(memoryview(content), 1) == hash_member(memoryview(content), 3) == digest


def resealed(artifact: Path, text: bytes) -> None:
    """Another manifest in place of an artifact's, all hashes right: what a careless or hostile editor makes."""
    content, manifest = artifact.read_bytes(), inspect(artifact)
    end = max(member.offset + member.size for member in manifest.members.values())
    comment = f"dsc {FORMAT} manifest {end}+{len(text)} sha256 ".encode()
    rest = text + b"PK\x05\x06" + bytes(18) + comment
    digest, position = hashlib.sha256(), 0
    for member in manifest.members.values():
        digest.update(content[position : member.offset])
        position = member.offset + member.size
    digest.update(rest)
    artifact.write_bytes(content[:end] + rest + digest.hexdigest().encode())


def manifest_of(artifact: Path) -> dict[str, Any]:
    with zipfile.ZipFile(artifact) as archive:
        content: dict[str, Any] = json.loads(archive.read("manifest.json"))
        return content


def test_resealing_as_such_is_accepted(artifact: Path) -> None:
    """So the cases below are refused for what they hold."""
    resealed(artifact, json.dumps(manifest_of(artifact)).encode())
    assert inspect(artifact, check=True).name == "sum"


def test_a_manifest_that_was_edited_is_one_message(artifact: Path) -> None:
    """Every value of it, each in turn, replaced by nonsense: refused, or as harmless as another name."""
    original, content = artifact.read_bytes(), manifest_of(artifact)
    content["kernels"] = [{"kind": "k", "kernel": "cpu.generic", "point": "p", "estimate": 1e-6}]
    content["layers"] = [
        {"name": "f", "op": "Conv", "shape": [8, 8, 3, 3], "zeros": 0.5, "pattern": "4x1", "kept": 0.5, "obstacle": "",
         "choice": 0, "parameters": ["w0"]},
    ]  # fmt: skip
    content["approximation"] = {
        "attentions": [
            {"name": "a", "window": 8, "own": {"snr": 20.5, "max_abs": 0.1, "cosine": 0.99}, "accumulated": None},
        ],
        "refused": {"no key lies further": 2},
        "outputs": {"y": {"snr": "inf", "max_abs": 0.0, "cosine": 1.0}},
        "inputs": "random",
    }  # fmt: skip
    content["provenance"] = {"opt_level": 2, "passes": "canonicalize", "model": {"a": "b"}}
    for path in _paths(content):
        for nonsense in _NONSENSE:
            artifact.write_bytes(original)
            resealed(artifact, json.dumps(_with(content, path, nonsense)).encode())
            said = _said(artifact)
            assert said == "" or (said.count("sum.dsc") == 1 and len(said) < 400)


def _said(artifact: Path) -> str:
    """The one message of an artifact that is refused."""
    try:
        inspect(artifact)
        load(artifact, threads=1)
    except ArtifactError as error:
        return str(error)
    return ""


def _paths(content: Any) -> Iterator[tuple[Any, ...]]:
    keys = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in keys:
        yield (key,)
        yield from ((key, *path) for path in _paths(value))


def _with(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = json.loads(json.dumps(content))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if value is _MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"format": NaN}', b"[" * 100_000, b"9" * 100_000, b'{"format": 1} x'],
    ids=range(9),
)
def test_a_manifest_that_is_none(artifact: Path, text: bytes) -> None:
    resealed(artifact, text)
    with pytest.raises(ArtifactError, match=r"sum\.dsc: manifest\.json"):
        inspect(artifact)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("members", "lib.so", "offset"), 0, "members do not lie|was changed"),
        (("members", "lib.so", "size"), 2**40, "members do not lie"),
        (("members", "weights.safetensors", "size"), 8, "members do not lie|was changed"),
        (("inputs", 0, "dtype"), "float31", r"manifest.json.inputs\[0\].dtype is 'float31'"),
        (("inputs", 0, "shape"), [-1, 64], r"manifest.json.inputs\[0\].shape\[0\] is -1, expected a whole number"),
        (("parameters",), ["w0", "w0", "w1"], r"manifest.json.parameters names 'w0' twice"),
        (("parameters",), ["w0", "w1", "w9"], "weight w9 is missing"),
        (("parameters",), ["w0", "w1"], "its code takes other inputs"),
        (("inputs",), [], "its code takes other inputs"),
        (("format",), 99, "manifest.json.format is 99"),
        (("color",), "red", "manifest.json has 'color', which is unknown"),
    ],
)
def test_what_is_said_of_an_edited_manifest(artifact: Path, path: tuple[Any, ...], value: Any, said: str) -> None:
    resealed(artifact, json.dumps(_with(manifest_of(artifact), path, value)).encode())
    with pytest.raises(ArtifactError, match=said):
        load(artifact)


@pytest.mark.parametrize("dtype", ["float64", "int32", "bool"])
def test_a_manifest_that_lies_about_its_inputs_is_found_by_the_code(artifact: Path, dtype: str) -> None:
    resealed(artifact, json.dumps(_with(manifest_of(artifact), ("inputs", 0, "dtype"), dtype)).encode())
    with pytest.raises(ArtifactError, match=r"sum\.dsc"):
        load(artifact).run({"x": np.ones((2, 64), dtype)})


@pytest.mark.parametrize("count", [0, 2])
def test_a_manifest_that_lies_about_its_outputs_is_found_by_a_run(artifact: Path, count: int) -> None:
    outputs = [{"name": f"y{i}", "dtype": "float32", "shape": ["batch", 64]} for i in range(count)]
    resealed(artifact, json.dumps(_with(manifest_of(artifact), ("outputs",), outputs)).encode())
    with pytest.raises(ArtifactError, match=r"sum\.dsc: its code takes or gives other than its manifest says"):
        load(artifact).run({"x": np.ones((2, 64), np.float32)})


def test_a_manifest_is_never_inflated(artifact: Path) -> None:
    """A member that inflates to a gigabyte: deflated members are not dsc's, and the ZIP's records are not followed."""
    with zipfile.ZipFile(artifact) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(artifact, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(1 << 28) if name == "manifest.json" else content)
        archive.comment = b"dsc sha256 " + b"0" * 64
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArtifactError, match="artifact format 1"):
        inspect(artifact)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_a_manifest_has_a_largest_size(artifact: Path) -> None:
    resealed(artifact, b" " * (17 << 20))
    with pytest.raises(ArtifactError, match=r"sum\.dsc: manifest\.json"):
        inspect(artifact)
