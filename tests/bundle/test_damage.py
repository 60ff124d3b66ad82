"""Bundles that were changed, are not whole, or are for something else: one message, and no run."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dsc.runtime.hashing import BLOCK
from tests.bundle.bundles import Bundled, bundle, compile_to
from tests.compiled import TextModel

DESCRIPTION = "bundle.txt"


@pytest.fixture
def copy(words: Bundled, tmp_path: Path) -> Bundled:
    """A bundle that may be spoilt."""
    shutil.copytree(words.folder, tmp_path / "copy")
    return Bundled(tmp_path / "copy", words.manifest)


def refusal(bundled: Bundled) -> str:
    return bundled.command(bundled.folder).failed(2)


def edit(bundled: Bundled, change: Callable[[str], str]) -> None:
    """Another description, whose hash is right: what a later version or a careful editor writes."""
    path = bundled.folder / DESCRIPTION
    body = change(path.read_text().rpartition("sha256 ")[0]).encode()
    path.write_bytes(body + f"sha256 {hashlib.sha256(body).hexdigest()}\n".encode())


@pytest.mark.parametrize("name", ["lib.so", "weights.safetensors"])
def test_a_changed_file(copy: Bundled, name: str) -> None:
    content = bytearray((copy.folder / name).read_bytes())
    random = np.random.default_rng(len(content))
    for place in [0, len(content) - 1, *random.integers(0, len(content), 4)]:
        damaged = content.copy()
        damaged[place] ^= 1 << int(random.integers(8))
        (copy.folder / name).write_bytes(damaged)
        assert f"{name} was changed after it was written (its hash differs)" in refusal(copy)
    (copy.folder / name).write_bytes(content[:-1])
    assert f"{name} has {len(content) - 1} bytes, the bundle was made with {len(content)}" in refusal(copy)
    (copy.folder / name).write_bytes(b"")
    assert f"{name} has 0 bytes" in refusal(copy)
    (copy.folder / name).write_bytes(content)
    assert copy.command(copy.folder).code == 0


def test_a_changed_description(copy: Bundled) -> None:
    path = copy.folder / DESCRIPTION
    content = path.read_bytes()
    for place in [*range(0, len(content), 37), *range(len(content) - 3, len(content))]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        message = refusal(copy)
        assert any(said in message for said in ("bundle.txt was changed", "is of format", "is not the description"))
    for size in (0, 5, 60, 70, len(content) - 1):
        path.write_bytes(content[:size])
        assert DESCRIPTION in refusal(copy)


def test_weights_of_several_blocks(tmp_path: Path) -> None:
    """Which threads hash: each is compared, and the last one is not whole."""
    w = np.random.default_rng(5).standard_normal((2 * BLOCK // 4 + 1000,)).astype(np.float32)
    model = TextModel(f"(float[1] x) => (float[{w.size}] y) {{ y = Add(x, w) }}", {"w": w})
    bundled = bundle(compile_to(tmp_path / "m.dsc", model.proto()), tmp_path / "m")
    np.testing.assert_array_equal(bundled.run({"x": np.float32([2])}, tmp_path, "--threads", 3)[0], w + np.float32(2))
    path = bundled.folder / "weights.safetensors"
    content = path.read_bytes()
    for place in (BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        for threads in (1, 3):
            message = bundled.command(bundled.folder, "--threads", threads).failed(2)
            assert "weights.safetensors was changed" in message


def test_descriptions_of_all_lengths(copy: Bundled) -> None:
    """Their hash is ours: its last block of 64 bytes is filled up to where the length still fits in, and beyond."""
    for rest in (0, 1, 54, 55, 56, 57, 62, 63):
        edit(copy, lambda text, rest=rest: text.replace("model =m", f"model ={'m' * (1 + (rest - len(text)) % 64)}"))
        assert copy.command(copy.folder).code == 0
        edit(copy, lambda text: re.sub("model =m+", "model =m", text))


@pytest.mark.parametrize("name", ["bundle.txt", "lib.so", "weights.safetensors"])
def test_a_missing_file(copy: Bundled, name: str) -> None:
    (copy.folder / name).unlink()
    assert refusal(copy) == f"cannot read {copy.folder}/{name}: No such file or directory"
    (copy.folder / name).mkdir()
    assert refusal(copy) == f"cannot read {copy.folder}/{name}: it is not a regular file"


def test_another_runtime(copy: Bundled) -> None:
    """The file that the loader took is compared, wherever it is: another version of TVM shows so."""
    path = copy.folder / "libtvm_runtime.so"
    path.write_bytes(path.read_bytes() + b"\0")
    message = refusal(copy)
    assert "libtvm_runtime.so has" in message
    assert "the bundle needs its own libtvm_runtime.so, of apache-tvm 0." in message


def test_another_processor(copy: Bundled) -> None:
    edit(copy, lambda text: text.replace("arch =", "arch =vax-"))
    assert "the bundle was made for vax-" in refusal(copy)
    edit(copy, lambda text: text.replace("arch =vax-", "arch =") + "feature =teleport\nfeature =telepathy\n")
    assert "needs the CPU features teleport, telepathy, which this processor does not have" in refusal(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("dsc bundle 3", "dsc bundle 4"), "is of format 'dsc bundle 4', this library reads"),
        (lambda text: text.replace("dsc bundle 3", "something"), "is not the description of a bundle"),
        (lambda text: text + "novelty =x\n", "says 'novelty', which is unknown"),
        (lambda text: text + "gpu =npu =v1\n", "runs on a device 'npu', which this library does not know"),
        (lambda text: text + "gpu =rocm\n", "has no text where one is expected"),
        (lambda text: text.replace("input =x float32", "input =x float33"), "names a type that is none"),
        (lambda text: text.replace("input =x float32", "input x float32"), "has no text where one is expected"),
        (lambda text: text.replace("input =x float32", "input =%x float32"), "has a text that is not well formed"),
        (lambda text: text.replace("input =x float32", "input =x"), "names a type that is none"),
        (lambda text: text.replace("float32 =n 8", "float32 =n 8x"), "has '8x' for a number"),
        (lambda text: text.replace("float32 =n 8", "float32 =n" + " 8" * 16), "has too many dims"),
        (lambda text: text.replace("symbols 0 0", "symbols 9 0"), "names a dim that no input has"),
        (lambda text: text.replace("file =lib.so", "file =lob.so"), "does not list lib.so"),
        (lambda text: text + "parameter 99999999 float32 4\n", "lies outside of the file of weights"),
        (lambda text: text + "parameter 0 float32 4\n", "takes other inputs than its description says"),
    ],
)
def test_descriptions_that_are_not_well_formed(copy: Bundled, change: Callable[[str], str], said: str) -> None:
    before = (copy.folder / DESCRIPTION).read_text()
    edit(copy, change)
    assert (copy.folder / DESCRIPTION).read_text() != before
    assert said in refusal(copy)


@pytest.mark.parametrize(
    ("words_given", "said"),
    [
        ([], "say in which folder the bundle is"),
        (["{folder}", "--threads", "0"], "--threads 0: expected a number from 1 to 256"),
        (["{folder}", "--repeat", "x"], "--repeat x: expected a number"),
        (["{folder}", "--frobnicate", "1"], "unknown option --frobnicate"),
        (["{folder}", "--input"], "--input needs a value"),
        (["{folder}", "{folder}"], "more than one folder"),
        (["{folder}", "--input", "x.npy"], "say for which, as NAME=FILE; the model has x, ids, z"),
        (["{folder}", "--input", "x=none.npy"], "cannot read none.npy: No such file"),
        (["{folder}", "--input", "x=none.npy", "--input", "x=none.npy"], "x is named twice"),
        (["{folder}", "--output", "q=q.npy"], "--output q=q.npy: say for which"),
        (["{folder}/none"], "cannot read {folder}/none/bundle.txt: No such file"),
    ],
)
def test_wrong_words(words: Bundled, words_given: list[str], said: str) -> None:
    given = [word.format(folder=words.folder) for word in words_given]
    assert said.format(folder=words.folder) in words.command(*given).failed(2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it does not begin as one"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "its header is cut short"),
        (b"\x93NUMPY\x09\x00\x01\x00{}", "unknown version"),
        (b"\x93NUMPY\x01\x00\x02\x00{}", "its header is not numpy's"),
        (np.zeros((2, 8), ">f4"), "holds elements of type >f4, input x takes float32 (<f4); nothing is cast"),
        (np.zeros((2, 8)), "holds elements of type <f8"),
        (np.zeros((8, 2), np.float32).T, "in the order of Fortran"),
        (np.zeros((2, 7), np.float32), "input x: float32[n, 8]: dim 1 must be 8, was given dims [2, 7]"),
        (np.zeros(16, np.float32), "needs 2 dims, was given rank 1"),
    ],
    ids=str,
)
def test_wrong_files(words: Bundled, tmp_path: Path, content: bytes | np.ndarray, said: str) -> None:
    feeds = {"x": np.zeros((2, 8), np.float32), "ids": np.zeros((2, 1), np.int64), "z": np.ones(8, np.float32)}
    assert words.try_run(feeds, tmp_path).code == 0
    file = tmp_path / "in0.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content)
    inputs = [f"{name}={tmp_path / f'in{i}.npy'}" for i, name in enumerate(feeds)]
    (tmp_path / "y.npy").write_text("as it was")
    ran = words.command(words.folder, *(w for i in inputs for w in ("--input", i)), "--output", f"y={tmp_path}/y.npy")
    assert said in ran.failed(2)
    assert (tmp_path / "y.npy").read_text() == "as it was"


def test_an_output_that_cannot_be_written(words: Bundled, tmp_path: Path) -> None:
    feeds = {"x": np.zeros((2, 8), np.float32), "ids": np.zeros((2, 1), np.int64), "z": np.ones(8, np.float32)}
    message = words.try_run(feeds, tmp_path, "--repeat", 0).err
    assert message == ""
    inputs = [w for i, name in enumerate(feeds) for w in ("--input", f"{name}={tmp_path / f'in{i}.npy'}")]
    ran = words.command(words.folder, *inputs, "--output", f"y={tmp_path / 'none' / 'y.npy'}")
    assert ran.failed(2) == f"cannot write {tmp_path / 'none' / 'y.npy'}: No such file or directory"
