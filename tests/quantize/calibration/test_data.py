from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from PIL import Image

from dsc.errors import UsageError
from dsc.models import RECIPE, recipe
from dsc.quantize.calibration import Samples, calibrate, find_samples
from tests.compiled import TextModel

RANDOM = np.random.default_rng(2)
TWO = TextModel("(float[n,3] x, int64[2,4] i) => (float[n,3] y) { y = Relu(x) }").proto()
IMAGE = TextModel("(float[1,3,8,6] x) => (float[1,3,8,6] y) { y = Relu(x) }").proto()
RECIPE_TEXT = "crop = [8, 6]\nmean = [10, 20, 30.5]\nstd = [2, 4, 8]\n"


def stacks(count: int) -> dict[str, np.ndarray]:
    return {
        "x": RANDOM.standard_normal((count, 5, 3)).astype(np.float32),
        "i": RANDOM.integers(0, 9, (count, 2, 4)),
    }


def check(samples: Samples, expected: dict[str, list[np.ndarray]]) -> None:
    found = list(samples)
    assert samples.count == len(found) == len(next(iter(expected.values())))
    for name, arrays in expected.items():
        for feed, array in zip(found, arrays, strict=True):
            np.testing.assert_array_equal(feed[name], array)
            assert feed[name].dtype == array.dtype
    assert len(list(samples)) == len(found)  # it can be read again


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_an_archive_of_stacks_is_read_sample_by_sample(tmp_path: Path, save: object) -> None:
    arrays = stacks(7)
    save(tmp_path / "data.npz", **arrays, labels=np.arange(7))  # type: ignore[operator]
    check(find_samples(str(tmp_path / "data.npz"), TWO), {name: list(array) for name, array in arrays.items()})


def test_a_longer_first_dim_is_samples_as_well(tmp_path: Path) -> None:
    x, i = RANDOM.standard_normal((4, 3)).astype(np.float32), RANDOM.integers(0, 9, (8, 4))
    np.savez(tmp_path / "data.npz", x=x, i=i)
    check(
        find_samples(str(tmp_path / "data.npz"), TWO),
        {"x": [x[k : k + 1] for k in range(4)], "i": [i[2 * k : 2 * k + 2] for k in range(4)]},
    )


def test_one_sample_and_a_scalar(tmp_path: Path) -> None:
    model = TextModel("(float s, float[2] v) => (float[2] y) { y = Mul(s, v) }").proto()
    np.savez(tmp_path / "one.npz", s=np.float32(3), v=np.ones(2, np.float32))
    check(find_samples(str(tmp_path / "one.npz"), model), {"s": [np.array(3, "f")], "v": [np.ones(2, "f")]})
    np.savez(tmp_path / "two.npz", s=np.arange(2, dtype="f"), v=np.ones((2, 2), np.float32))
    check(find_samples(str(tmp_path / "two.npz"), model), {"s": [np.array(0, "f"), np.array(1, "f")]})


def test_an_archive_of_bfloat16(tmp_path: Path) -> None:
    model = TextModel("(bfloat16[1,3] x) => (bfloat16[1,3] y) { y = Identity(x) }").proto()
    x = RANDOM.standard_normal((5, 3)).astype(ml_dtypes.bfloat16)
    np.savez(tmp_path / "data.npz", x=x)
    check(find_samples(str(tmp_path / "data.npz"), model), {"x": [x[k : k + 1] for k in range(5)]})


def test_a_folder_of_archives_is_read_by_name(tmp_path: Path) -> None:
    parts = {name: stacks(count) for name, count in (("b", 1), ("a", 3))}
    for name, arrays in parts.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    samples = find_samples(str(tmp_path), TWO)
    check(samples, {name: [*parts["a"][name], *parts["b"][name]] for name in ("x", "i")})
    assert samples.source == f"2 archives in {tmp_path}"
    check(samples.first(2), {"x": list(parts["a"]["x"][:2])})
    assert samples.first(2).source == f"the first 2 of {samples.source}"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for index, size in enumerate([(6, 8), (13, 9), (40, 20)]):
        Image.fromarray(RANDOM.integers(0, 256, (*size[::-1], 3), np.uint8)).save(tmp_path / f"{index}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_a_folder_of_images_by_the_recipe_beside_them(images: Path) -> None:
    (images / "preprocessing.toml").write_text(RECIPE_TEXT)
    samples = find_samples(str(images), IMAGE)
    found = [feed["x"] for feed in samples]
    assert samples.count == 3
    assert {array.shape for array in found} == {(1, 3, 8, 6)}
    pixels = np.asarray(Image.open(images / "0.png"), np.float32)  # is as large as the crop
    np.testing.assert_allclose(found[0][0], ((pixels - [10, 20, 30.5]) / [2, 4, 8]).transpose(2, 0, 1), rtol=1e-6)
    assert calibrate(IMAGE, samples)["minmax"]["x"].high == max(array.max() for array in found)


def test_a_recipe_crops_the_centre_and_orders_channels(images: Path, tmp_path: Path) -> None:
    recipe_file = tmp_path / "mine.toml"
    recipe_file.write_text(
        'resize = [20, 40]\ncrop = [8, 6]\nmean = [0, 0, 0]\nstd = [1, 1, 1]\nchannels = "BGR"\nlayout = "NHWC"'
    )
    model = TextModel("(float[1,8,6,3] x) => (float[1,8,6,3] y) { y = Relu(x) }").proto()
    *_, last = find_samples(str(images), model, recipe_file)
    pixels = np.asarray(Image.open(images / "2.png"), np.float32)  # 20 rows of 40
    np.testing.assert_array_equal(last["x"][0], pixels[6:14, 17:23, ::-1])


def test_models_of_the_zoo_know_their_preprocessing(images: Path) -> None:
    model = TextModel("(float[1,3,224,224] x) => (float[1,3,224,224] y) { y = Relu(x) }").proto()
    onnx.helper.set_model_props(model, {RECIPE: "efficientnet-lite0"})
    how = recipe("efficientnet-lite0").preprocessing
    assert how is not None
    first, *_ = find_samples(str(images), model)
    np.testing.assert_array_equal(first["x"], how.apply(images / "0.png"))


PYTHON = """
import numpy as np
FEEDS = [{"x": np.full((2, 3), i, np.float32), "i": np.zeros((2, 4), np.int64)} for i in range(3)]
def made():
    yield from FEEDS
WORDS = ["a", "b"]
NUMBER = 5
"""


@pytest.mark.parametrize(("name", "count"), [("FEEDS", 3), ("made", None)])
def test_an_iterable_of_a_python_file(tmp_path: Path, name: str, count: int | None) -> None:
    (tmp_path / "my-data.py").write_text(PYTHON)
    samples = find_samples(f"{tmp_path}/my-data.py:{name}", TWO)
    assert samples.count == count
    assert [feed["x"][0, 0] for feed in samples] == [feed["x"][0, 0] for feed in samples] == [0, 1, 2]


def test_a_data_set_of_the_zoo() -> None:
    model = TextModel("(float[n,784] image) => (float[n,784] y) { y = Relu(image) }").proto()
    samples = find_samples("zoo:fashion-mnist", model).first(3)
    assert [feed["image"].shape for feed in samples] == [(1, 784)] * 3
    assert calibrate(model, samples)["minmax"]["image"].high == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 1, 3), "f")}, "holds x; the model takes i too"),
        ({"x": np.zeros((2, 1, 3), "f"), "i": np.zeros((3, 2, 4), int)}, "unequal numbers of samples: 2 of x, 3 of i"),
        ({"x": np.zeros((2, 1, 3), "f"), "i": np.zeros((5, 4), int)}, "'i' has 5 rows, and a sample takes 2 of them"),
        ({"x": np.zeros((1, 3), object), "i": np.zeros((2, 4), int)}, "'x' holds Python's objects"),
        ({"x": np.zeros((3, 1), "f").T.copy("F"), "i": np.asfortranarray(np.zeros((2, 4), int))}, "column by column"),
    ],
    ids=["missing", "heights", "rows", "objects", "fortran"],
)  # fmt: skip
def test_archives_that_do_not_fit_are_said(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(UsageError, match=message):
        find_samples(str(tmp_path / "data.npz"), TWO)


def test_shapes_and_types_are_said_with_the_sample(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 5, 4), np.float32), i=np.zeros((2, 2, 4), np.int64))
    with pytest.raises(UsageError, match=r"sample 1: input x: float32\[n, 3\]: dim 1 must be 3, was given shape"):
        calibrate(TWO, find_samples(str(tmp_path / "data.npz"), TWO))
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 5, 3)), i=np.zeros((2, 2, 4), np.int64))
    with pytest.raises(UsageError, match=r"sample 1: input x.* was given float64; nothing is cast"):
        calibrate(TWO, find_samples(str(tmp_path / "data.npz"), TWO))


@pytest.mark.parametrize("kept", [0, 30, 700])
def test_a_damaged_archive_is_said(tmp_path: Path, kept: int) -> None:
    np.savez(tmp_path / "data.npz", **stacks(3))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "data.npz").read_bytes()[:kept])
    with pytest.raises(UsageError, match=r"cut\.npz cannot be read as an npz archive"):
        find_samples(str(tmp_path / "cut.npz"), TWO)
    whole = bytearray((tmp_path / "data.npz").read_bytes())
    whole[200] ^= 1  # in the data of the first array: its checksum
    (tmp_path / "flipped.npz").write_bytes(whole)
    with pytest.raises(UsageError, match=r"flipped\.npz cannot be read"):
        list(find_samples(str(tmp_path / "flipped.npz"), TWO))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop = 8\nmean = [0, 0, 0]", "does not say std"),
        (RECIPE_TEXT + "size = 4", "size is none of resize, crop"),
        (RECIPE_TEXT + "resize = 0", "resize is 0, expected a number of pixels"),
        (RECIPE_TEXT + 'layout = "CHW"', "layout is 'CHW', expected NCHW or NHWC"),
        (RECIPE_TEXT + "resize = [4, 6]", r"resize is \[4, 6\], expected at least what is cropped"),
        ("crop = 8\nmean = [0, 0, 0]\nstd = [0, 1, 1]", r"std is \[0, 1, 1\], expected three .* none of them 0"),
        ("crop = ", "cannot be read as TOML"),
    ],
)
def test_recipes_that_do_not_say_are_refused(images: Path, text: str, message: str) -> None:
    (images / "preprocessing.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        find_samples(str(images), IMAGE)


def test_images_that_cannot_be_inputs_are_said(images: Path) -> None:
    with pytest.raises(UsageError, match=r"how do the images in .* Say so in .*preprocessing\.toml"):
        find_samples(str(images), IMAGE)
    (images / "preprocessing.toml").write_text(RECIPE_TEXT)
    with pytest.raises(UsageError, match="the model takes 2 inputs"):
        find_samples(str(images), TWO)
    (images / "1.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"1\.png is not an image"):
        list(find_samples(str(images), IMAGE))
    np.savez(images / "x.npz", x=np.zeros(3))
    with pytest.raises(UsageError, match="both archives"):
        find_samples(str(images), IMAGE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("WORDS", "gives a str, expected inputs by name"),
        ("NUMBER", "is a int, expected an iterable"),
        ("feeds", "defines no 'feeds'; it defines np, FEEDS, made, WORDS, NUMBER"),
    ],
)
def test_python_that_gives_no_inputs_is_said(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "data.py").write_text(PYTHON)
    with pytest.raises(UsageError, match=message):
        list(find_samples(f"{tmp_path}/data.py:{name}", TWO))


def test_what_is_no_data_is_said(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    for text, message in {
        str(tmp_path): "neither archives",
        f"{tmp_path}/none.npz": "cannot be read as an npz archive: .*No such file",
        f"{tmp_path}/broken.py:x": "cannot be run: ZeroDivisionError",
        f"{tmp_path}/none.py:x": "there is no Python file",
        f"{tmp_path}/data.csv": "is no calibration data: expected an .npz file",
        "zoo:fashion-mnits": "no data set 'fashion-mnits'; is it fashion-mnist",
    }.items():
        with pytest.raises(UsageError, match=message):
            list(find_samples(text, TWO))
    with pytest.raises(UsageError, match="is no folder of images"):
        find_samples("zoo:fashion-mnist", TWO, tmp_path / "mine.toml")
