"""Compressed weights: no bit is lost, what is damaged is refused, and nothing but sizes differs."""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from dsc.codegen import CompiledModel
from dsc.elements import ELEMENT_TYPES, stored
from dsc.errors import ArtifactError
from dsc.runtime import inspect, load
from dsc.runtime.compressed import compressed
from dsc.runtime.compression import BLOCK, compress, expand
from dsc.runtime.container import write_artifact
from dsc.runtime.manifest import WEIGHTS
from dsc.runtime.schema import MalformedError
from dsc.runtime.weights import Compressed, Weight, header, parse
from dsc.sparsity import Pattern
from tests.compiled import TextModel
from tests.runtime.artifacts import Sum

RNG = np.random.default_rng(11)
SPECIAL = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 3.4e38])


def packed(array: np.ndarray, threads: int = 2) -> bytes:
    with ThreadPoolExecutor(threads) as pool:
        return compress(array, pool)


def expanded(content: bytes, like: np.ndarray, threads: int = 2) -> np.ndarray:
    out = np.frombuffer(bytearray(b"\xa5" * like.nbytes), like.dtype).reshape(like.shape)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part(), expand(memoryview(content), out)))
    return out


def sparse(array: np.ndarray, kept: float) -> np.ndarray:
    """By multiplying with a mask, as pruners do: half of the zeros are -0.0."""
    return array * (RNG.random(array.shape) < kept).astype(array.dtype)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_no_bit_is_lost(dtype: str, threads: int) -> None:
    """Dense and with zeros; one element, odd numbers, blocks that are whole and one element more."""
    whole = BLOCK // np.dtype(dtype).itemsize
    for size in (0, 1, 7, 1001, whole - 1, whole, whole + 1, 2 * whole + 13):
        for kept in (1.0, 0.8, 0.3, 0.01, 0.0):
            array = sparse((RNG.standard_normal(size) * 50).astype(dtype), kept)
            assert expanded(packed(array, threads), array, threads).tobytes() == array.tobytes()


def test_all_bits_of_floats_survive() -> None:
    """NaN with any payload, both zeros, denormal numbers: bits are compared, not numbers."""
    random = RNG.integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
    for array in (SPECIAL, np.tile(SPECIAL, 300), random, np.repeat(np.float32([-0.0]), 999), SPECIAL[:1]):
        assert expanded(packed(array, 1), array).tobytes() == array.tobytes()


def test_arrays_that_are_no_vectors_are_taken_in_their_order() -> None:
    array = RNG.standard_normal((40, 30)).astype(np.float32)
    for given in (array.T, array[::2, 3:], array.reshape(4, 10, 30)):
        assert expanded(packed(given, 1), np.ascontiguousarray(given)).tobytes() == given.tobytes()


def test_sizes() -> None:
    """Close to what there is to tell: a float of a normal distribution has 26.6 bits, where zeros are 0.47 each."""
    dense = RNG.standard_normal((1024, 768)).astype(np.float32)
    blocks = dense * Pattern.parse("4x1").keep(np.abs(dense), 0.1)
    shares = [
        len(packed(array, 2)) / array.nbytes
        for array in (dense, sparse(dense, 0.1), np.abs(sparse(dense, 0.1)), np.abs(blocks), np.zeros_like(dense))
    ]
    assert [share < most for share, most in zip(shares, [0.86, 0.14, 0.105, 0.096, 0.001], strict=True)] == [True] * 5


def test_what_is_damaged_is_refused() -> None:
    """Every cut, and many changed bytes: an error of ours, or (a frame without checksum) other numbers."""
    array = sparse(RNG.standard_normal(700).astype(np.float32), 0.4)
    array = np.concatenate([array, RNG.standard_normal(900).astype(np.float32)])
    content = packed(array, 1)
    for size in range(len(content)):
        with pytest.raises(MalformedError):
            expanded(content[:size], array)
    with pytest.raises(MalformedError, match="other sizes"):
        expanded(content + b"\0", array)
    for place in (*range(40), *RNG.integers(0, len(content), 300).tolist()):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(RNG.integers(8))
        with suppress(MalformedError):
            expanded(bytes(damaged), array)
    for other in (array[:-1], array.view(np.float64), np.append(array, np.float32(1))):
        with pytest.raises(MalformedError):
            expanded(content, other)


def test_a_frame_that_holds_more_than_a_block_is_not_expanded() -> None:
    huge, small = np.zeros(BLOCK // 4, np.float32), np.zeros(100, np.float32)
    with pytest.raises(MalformedError, match="is none"):
        expanded(packed(huge + 1, 1), small)


# --- in artifacts


@pytest.fixture(scope="module")
def model() -> TextModel:
    """Products with and without zeros, a table of bytes, a constant output and a view of a weight."""
    zeros = sparse(RNG.standard_normal((256, 256)).astype(np.float32), 0.1)
    text = """(float[n,256] x, int64[k] ids) => (float[n,256] y, int8[k,64] rows, float[256,256] whole)
    { a = MatMul(x, zeros) b = MatMul(a, dense) y = Add(b, bias) rows = Gather(table, ids) whole = Identity(zeros) }"""
    weights = {
        "zeros": zeros,
        "dense": RNG.standard_normal((256, 256)).astype(np.float32),
        "bias": RNG.standard_normal(256).astype(np.float32),
        "table": np.clip(RNG.standard_normal((300, 64)) * 20, -128, 127).astype(np.int8),
    }
    return TextModel(text, weights)


@pytest.fixture(scope="module")
def compiled(model: TextModel) -> CompiledModel:
    return model.compile().model


def feeds() -> dict[str, np.ndarray]:
    return {"x": RNG.standard_normal((5, 256)).astype(np.float32), "ids": RNG.integers(0, 300, 9)}


def test_results_are_the_same(model: TextModel, compiled: CompiledModel, tmp_path: Path) -> None:
    plain, small = tmp_path / "plain.dsc", tmp_path / "small.dsc"
    compiled.write(plain)
    small_model = compiled.compressed()
    manifest = small_model.write(small)
    assert manifest.members[WEIGHTS].size < 0.8 * inspect(plain).members[WEIGHTS].size
    assert small_model.size == sum(member.size for member in manifest.members.values())
    assert inspect(small, check=True).members == manifest.members
    given = feeds()
    found, expected = load(small).run(given), load(plain).run(given)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    reference = model.reference(given)
    np.testing.assert_allclose(found["y"], reference[0], rtol=1e-5, atol=1e-4 * np.abs(reference[0]).max())
    np.testing.assert_array_equal(found["rows"], reference[1])


def test_outputs_are_the_callers_own(compiled: CompiledModel) -> None:
    """An output that is a weight is a copy of the memory that it was expanded to."""
    module, given = compiled.compressed().load(), feeds()
    first = module.run(given)
    kept = {name: array.copy() for name, array in first.items()}
    for array in first.values():
        array[:] = 0
    for name, array in module.run(given).items():
        np.testing.assert_array_equal(array, kept[name])


def test_same_content_is_same_bytes_and_one_may_be_saved_again(compiled: CompiledModel, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.dsc", "b.dsc", "c.dsc")]
    small_model = compiled.compressed()
    small_model.write(paths[0])
    small_model.load().save(paths[1])
    compiled.compressed().write(paths[2])
    assert len({path.read_bytes() for path in paths}) == 1


def test_other_readers_of_safetensors_find_bytes_and_what_they_are(compiled: CompiledModel, tmp_path: Path) -> None:
    compiled.compressed().write(tmp_path / "m.dsc")
    with zipfile.ZipFile(tmp_path / "m.dsc") as archive:
        assert archive.testzip() is None
        content = archive.read(WEIGHTS)
    read = pytest.importorskip("safetensors.numpy").load(content)
    entries, start = parse(memoryview(content), "m")
    assert {entry.compressed for entry in entries.values()} == {True, False}  # the bias is too small
    for weight in compiled.weights:
        entry, array = entries[weight.name], stored(np.asarray(weight.load(), order="C"))
        assert (stored(np.empty(0, entry.dtype)).dtype, entry.shape) == (array.dtype, array.shape)
        if entry.compressed:
            assert read[weight.name].dtype == np.uint8
            assert entry.size == read[weight.name].size < 0.95 * array.nbytes
            assert expanded(content[start + entry.offset :][: entry.size], array).tobytes() == array.tobytes()
        else:
            np.testing.assert_array_equal(read[weight.name], array)


def test_types_that_numpy_does_not_have(tmp_path: Path, compiled_sum: Sum) -> None:
    types = [e.dtype for e in ELEMENT_TYPES if e.encoding is not None]
    arrays = {d.name: np.repeat(np.arange(4 * d.itemsize, dtype=np.uint8), 700).view(d) for d in types}
    weights = [Weight(n, a.dtype.name, a.shape, lambda a=a: a) for n, a in arrays.items()]
    path = tmp_path / "narrow.dsc"
    write_artifact(path, compiled_sum.manifest, compiled_sum.library, compressed(weights, lambda done, total: None))
    with zipfile.ZipFile(path) as archive:
        content = archive.read(WEIGHTS)
    entries, start = parse(memoryview(content), "narrow")
    assert ml_dtypes.bfloat16 in {entry.dtype.type for entry in entries.values()}
    for name, array in arrays.items():
        entry = entries[name]
        assert (entry.dtype, entry.shape, entry.compressed) == (array.dtype, array.shape, True)
        held = stored(array)
        assert expanded(content[start + entry.offset :][: entry.size], held).tobytes() == array.tobytes()


def test_weights_that_do_not_shrink_stay_where_they_are_mapped(compiled: CompiledModel) -> None:
    random = RNG.integers(0, 256, 5000).astype(np.uint8)
    weights = [Weight("w", "uint8", random.shape, lambda: random), Weight("e", "float32", (0, 3), lambda: random)]
    assert compressed(weights, lambda done, total: None) == tuple(weights)


def test_every_flipped_bit_is_noticed(compiled: CompiledModel, tmp_path: Path) -> None:
    path = tmp_path / "m.dsc"
    compiled.compressed().write(path)
    content, member = path.read_bytes(), inspect(path).members[WEIGHTS]
    for place in (member.offset, member.offset + member.size - 1, *RNG.integers(0, len(content), 40).tolist()):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(RNG.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"m\.dsc"):
            load(path, threads=1)
    for size in (len(content) - 1, len(content) // 2, member.offset + 100):
        path.write_bytes(content[:size])
        with pytest.raises(ArtifactError, match=r"m\.dsc"):
            load(path)


def test_bytes_that_are_none_of_a_tensor_are_one_message(compiled_sum: Sum, tmp_path: Path) -> None:
    """All hashes are right: what a careless or hostile editor makes."""
    content = packed(compiled_sum.arrays[0], 1)
    good = Compressed(len(content), lambda: memoryview(content))
    weights = [Weight(f"w{i}", "float32", a.shape, lambda a=a: a) for i, a in enumerate(compiled_sum.arrays)]
    path = tmp_path / "sum.dsc"

    def loaded(change: Weight) -> None:
        write_artifact(path, compiled_sum.manifest, compiled_sum.library, [change, *weights[1:]])
        load(path, threads=1)

    loaded(replace(weights[0], compressed=good))  # so the cases below are refused for what they hold
    cut = Compressed(len(content) - 3, lambda: memoryview(content[:-3]))
    said = r"sum\.dsc: weight w0 is damaged: .*; compile the model again"
    for change in (
        replace(weights[0], compressed=cut),
        replace(weights[0], compressed=Compressed(0, lambda: memoryview(b""))),
        replace(weights[0], shape=(65,), compressed=good),
        replace(weights[0], shape=(1 << 20,), compressed=good),
        replace(weights[0], dtype="float64", compressed=good),
    ):
        with pytest.raises(ArtifactError, match=said):
            loaded(change)
    with pytest.raises(ArtifactError, match=r"sum\.dsc: its weights take \d+ bytes, for which there is no memory"):
        loaded(replace(weights[0], shape=(1 << 29, 1 << 29), compressed=good))
    with pytest.raises(ArtifactError, match="no size of a tensor"):
        loaded(replace(weights[0], shape=(1 << 31, 1 << 31), compressed=good))


@pytest.mark.parametrize("text", ["zstd float33 64", "zstd float32 -64", "zstd float32 6x4", "zstd  64", "zstd x"])
def test_descriptions_that_are_none(text: str) -> None:
    array = RNG.standard_normal(64).astype(np.float32)
    content = packed(array, 1)
    weight = Weight("w0", "float32", (64,), lambda: array, Compressed(len(content), lambda: memoryview(content)))
    good = header([weight]) + content
    assert parse(memoryview(good), "m")[0]["w0"].compressed
    changed = good[8:].replace(b'"zstd float32 64"', b'"' + text.encode() + b'"')
    length = int.from_bytes(good[:8], "little") + len(changed) - len(good[8:])
    with pytest.raises(ArtifactError, match=r"__metadata__\.w0"):
        parse(memoryview(length.to_bytes(8, "little") + changed), "m")
