"""A bundle for 64-bit ARM: compiled, linked and bundled here, its runner run whole under QEMU."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dsc.bundle.runtime import LIBRARIES
from dsc.targets import target
from tests.bundle.arm import ARCH, launcher
from tests.bundle.bundles import Bundled, bundle, compile_to, tool
from tests.bundle.models import WORDS, words_feeds

TARGET = "arm:cortex-a76"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Bundled:
    tool("aarch64-linux-gnu-g++")
    folder = tmp_path_factory.mktemp("arm")
    artifact = compile_to(folder / "words.dsc", WORDS.proto(), TARGET)
    return bundle(artifact, folder / "words", launcher(target(TARGET).backend()))


def test_all_code_is_for_the_processor(words: Bundled) -> None:
    names = ("lib.so", "libdsc.so", "dsc-run", *LIBRARIES)
    machines = {name: (words.folder / name).read_bytes()[18] for name in names}
    assert set(machines.values()) == {183}  # EM_AARCH64
    assert f"arch ={ARCH}\n" in (words.folder / "bundle.txt").read_text()


@pytest.mark.parametrize(("n", "k", "rows", "threads"), [(1, 1, 1, 1), (7, 3, 7, 2), (33, 2, 1, 2)])
def test_free_sizes_and_several_types(words: Bundled, tmp_path: Path, n: int, k: int, rows: int, threads: int) -> None:
    feeds = words_feeds(n, k, rows, seed=n)
    found = words.run(feeds, tmp_path, "--threads", threads, "--repeat", 2)
    for array, wanted in zip(found, WORDS.reference(feeds), strict=True):
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(array, wanted, rtol=1e-6)  # the same operations, one of them fused


def test_wrong_sizes_and_indices(words: Bundled, tmp_path: Path) -> None:
    feeds = words_feeds(3, 2, 3)
    assert "index 5 is outside" in words.try_run({**feeds, "ids": np.full((3, 2), 5)}, tmp_path).failed(2)
    assert "That does not fit" in words.try_run({**feeds, "z": np.ones(16, np.float32)}, tmp_path).failed(2)


def test_features_that_the_processor_must_have(words: Bundled) -> None:
    """The emulator has all that there are, by the names that Linux gives them, and no others."""
    path = words.folder / "bundle.txt"
    before = path.read_bytes()
    body = before.rpartition(b"sha256 ")[0] + b"feature =asimddp\nfeature =i8mm\nfeature =bf16\nfeature =sve2\n"
    path.write_bytes(body + f"sha256 {hashlib.sha256(body).hexdigest()}\n".encode())
    assert words.command(words.folder).code == 0
    body += b"feature =avx512f\n"
    path.write_bytes(body + f"sha256 {hashlib.sha256(body).hexdigest()}\n".encode())
    assert "needs the CPU features avx512f, which" in words.command(words.folder).failed(2)
    path.write_bytes(before)


def test_a_bundle_for_arm_says_so_elsewhere(words: Bundled, images: Bundled) -> None:
    """The host's own runner on it: told before anything is loaded."""
    if words.launcher:
        message = images.command(words.folder).failed(2)
        assert f"the bundle was made for {ARCH} ({TARGET}), this processor is" in message
