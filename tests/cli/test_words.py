"""Shapes, sizes and numbers of threads, as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsc.cli.images import parse_triple
from dsc.cli.source import find_model, parse_shapes, parse_size, parse_threads
from dsc.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "dims"),
    [
        ("input:1x3x224x224", "input", [1, 3, 224, 224]),
        ("input:[1,3,224,224]", "input", [1, 3, 224, 224]),
        ("input:1,3,224,224", "input", [1, 3, 224, 224]),
        ("serving:0:2x8", "serving:0", [2, 8]),
        ("a/b::c:[batch, 128]", "a/b::c", ["batch", 128]),
        ("ids:[axis,max_len]", "ids", ["axis", "max_len"]),
        ("rate:[]", "rate", []),
        ("x:5", "x", [5]),
    ],
)
def test_shapes(text: str, name: str, dims: list[int | str]) -> None:
    assert parse_shapes([text]) == {name: dims}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1x3x224", "expected NAME:DIMS"),
        (":1x3", "expected NAME:DIMS"),
        ("x:batchx3", r"write names as x:\[batch,128\]"),
        ("x:[1,,3]", "'' is neither"),
        ("x:[1,-3]", "'-3' is neither"),
        ("x:", "a dim is a number"),
    ],
)
def test_shapes_that_are_not(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_shapes([text])


def test_shape_given_twice() -> None:
    with pytest.raises(UsageError, match="given twice"):
        parse_shapes(["x:1x2", "x:1x3"])


def test_sizes() -> None:
    assert parse_size("12MB") == 12_000_000
    assert parse_size("1.5 GiB") == 3 << 29
    assert parse_size("800") == 800
    for wrong in ("", "MB", "1e6", "5 bananas", "-1MB"):
        with pytest.raises(UsageError, match="is not a size"):
            parse_size(wrong)


def test_threads() -> None:
    assert parse_threads("1, 2") == [1, 2]
    for wrong in ("", "0", "1,,2", "two"):
        with pytest.raises(UsageError, match="expected numbers of threads"):
            parse_threads(wrong)


def test_triples() -> None:
    assert parse_triple("--mean", "127") == (127.0, 127.0, 127.0)
    assert parse_triple("--mean", "1,2.5,3") == (1.0, 2.5, 3.0)
    with pytest.raises(UsageError, match="one number or three"):
        parse_triple("--std", "1,2")


def test_pinned_shapes_of_the_zoo(model: Path) -> None:
    assert find_model("zoo:light-squeezenet").pinned == {"data_0": [1, 3, 224, 224]}
    assert find_model(str(model)).pinned == {}
    assert find_model(str(model)).name == "small"
