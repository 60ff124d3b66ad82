"""What the runner of a bundle computes: as ONNX Runtime does, whatever the types and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import pytest

import dsc
from dsc.elements import ELEMENT_TYPES
from tests.bundle.bundles import Bundled, bundle, compile_to
from tests.bundle.models import IMAGES, SCALARS, SHARED, WORDS, words_feeds
from tests.compiled import TextModel
from tests.exchange.models import model, node, value


def check(bundled: Bundled, text: TextModel, feeds: Mapping[str, np.ndarray], files: Path, *words: object) -> None:
    found, expected = bundled.run(feeds, files, *words), text.reference(feeds)
    for array, wanted in zip(found, expected, strict=True):
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-5)  # sums of up to 27 products in another order


@pytest.mark.parametrize("threads", [1, 3])
def test_an_image_classifier(images: Bundled, tmp_path: Path, threads: int) -> None:
    x = np.random.default_rng(threads).standard_normal((2, 3, 13, 11)).astype(np.float32)
    check(images, IMAGES, {"x": x}, tmp_path, "--threads", threads, "--repeat", 3)


@pytest.mark.parametrize(("n", "k", "rows"), [(1, 1, 1), (3, 7, 3), (17, 2, 17), (5, 0, 1), (1, 4, 6)])
def test_free_sizes_and_several_types(words: Bundled, tmp_path: Path, n: int, k: int, rows: int) -> None:
    check(words, WORDS, words_feeds(n, k, rows, seed=n), tmp_path)


def test_outputs_that_share_memory_are_copies(tmp_path: Path) -> None:
    bundled = bundle(compile_to(tmp_path / "m.dsc", SHARED.proto()), tmp_path / "m")
    for n in (2, 5):
        x = np.random.default_rng(n).standard_normal((n, 4)).astype(np.float32)
        check(bundled, SHARED, {"x": x}, tmp_path, "--repeat", 2)


def test_tensors_of_no_dims(tmp_path: Path) -> None:
    bundled = bundle(compile_to(tmp_path / "m.dsc", SCALARS.proto()), tmp_path / "m")
    check(bundled, SCALARS, {"a": np.array(1.25, np.float32), "b": np.array(2**40)}, tmp_path)


def test_every_element_type(tmp_path: Path) -> None:
    """Moved, bit for bit, with nothing in it once; as numpy does it."""
    types = [e for e in ELEMENT_TYPES if e.stored is not None and e.bits != 6]  # ONNX moves no floats of 6 bits
    names = [e.dtype.name for e in types]
    inputs, nodes = [], []
    for element in types:
        declared = value(element.dtype.name, ["n", 3])
        declared.type.tensor_type.elem_type = element.code
        inputs.append(declared)
        nodes.append(node("Transpose", [element.dtype.name], [f"{element.dtype.name} turned"]))
    outputs = [onnx.ValueInfoProto(name=f"{name} turned") for name in names]
    artifact = compile_to(tmp_path / "types.dsc", model(nodes, inputs, outputs, opset=28))
    bundled = bundle(artifact, tmp_path / "types")
    for n in (5, 0):
        random = np.random.default_rng(n)
        feeds = {}
        for element in types:
            limit = 2 if element.dtype.name == "bool" else 1 << min(element.bits, 8)
            raw = random.integers(0, limit, (n, 3 * element.dtype.itemsize), np.uint8)
            feeds[element.dtype.name] = raw.view(element.dtype).reshape(n, 3)
        python = dsc.load(artifact, threads=1).run(feeds)
        for name, array in zip(names, bundled.run(feeds, tmp_path), strict=True):
            expected = feeds[name].T
            assert array.dtype == expected.dtype
            assert array.tobytes() == np.ascontiguousarray(expected).tobytes() == python[f"{name} turned"].tobytes()


def test_too_little_memory(tmp_path: Path) -> None:
    """An exit code of its own, and a message."""
    table = TextModel("(float[n,1] x, float[1,m] z) => (float[n,m] y) { y = Mul(x, z) }")
    made = bundle(compile_to(tmp_path / "m.dsc", table.proto()), tmp_path / "m")
    little = Bundled(made.folder, made.manifest, ("sh", "-c", 'ulimit -v 2000000; exec "$0" "$@"'))
    feeds = {"x": np.ones((30, 1), np.float32), "z": np.ones((1, 20), np.float32)}
    np.testing.assert_array_equal(little.run(feeds, tmp_path)[0], np.ones((30, 20), np.float32))
    feeds = {"x": np.ones((40_000, 1), np.float32), "z": np.ones((1, 40_000), np.float32)}  # a result of 6.4 GB
    assert little.try_run(feeds, tmp_path).failed(3).startswith("not enough memory")


def test_names_of_any_characters(tmp_path: Path) -> None:
    """Spaces, line ends, equal signs and percent signs; letters beyond ASCII."""
    names = ["a b\n%c=d", "=Größe/1", "y:0 "]
    add = node("Add", names[:2], names[2:])
    declared = [value(name, ["größe 1", 2]) for name in names]
    bundled = bundle(compile_to(tmp_path / "m.dsc", model([add], declared[:2], declared[2:])), tmp_path / "m")
    a, b = (np.random.default_rng(seed).standard_normal((3, 2)).astype(np.float32) for seed in range(2))
    np.testing.assert_array_equal(bundled.run({names[0]: a, names[1]: b}, tmp_path)[0], a + b)
    message = bundled.try_run({names[0]: a, names[1]: b[:2]}, tmp_path).failed(2)
    assert f"input {names[1]}: float32[größe 1, 2]: dim 0, 'größe 1', is 2 here, but 3 in input {names[0]}" in message


def test_plain_elements(images: Bundled, tmp_path: Path) -> None:
    """Files without a header, where the model says the dims; the name may be left out where there is one."""
    x = np.random.default_rng(6).standard_normal((2, 3, 13, 11)).astype(np.float32)
    x.tofile(tmp_path / "x.bin")
    ran = images.command(images.folder, "--input", tmp_path / "x.bin", "--output", tmp_path / "y.bin")
    assert ran.code == 0, ran
    assert "y: float32[2, 5]" in ran.out
    y = np.fromfile(tmp_path / "y.bin", np.float32).reshape(2, 5)
    np.testing.assert_allclose(y, IMAGES.reference({"x": x})[0], rtol=1e-5, atol=1e-5)  # sums in another order


def test_what_the_command_prints(words: Bundled) -> None:
    ran = words.command(words.folder)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "input  x: float32[n, 8]",
        "input  ids: int64[n, k]",
        "input  z: float32[m]",
        *(f"output {spec}" for spec in words.manifest.outputs),
    ]
    assert words.command("--help").out.startswith("usage: dsc-run DIR")
