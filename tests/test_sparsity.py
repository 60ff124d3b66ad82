"""Patterns of zeros: their names, their masks, and weights as matrices."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.sparsity import Pattern, matrix_of, sparsity, weight_of

RNG = np.random.default_rng()


@pytest.mark.parametrize("text", ["unstructured", "4x1", "1x4", "4x4", "16x1", "2:4", "1:2", "4x2:4"])
def test_a_name_is_read_and_printed(text: str) -> None:
    assert str(Pattern.parse(text)) == text


@pytest.mark.parametrize("text", ["", "4", "x1", "4x", "0x1", "5:4", "0:4", "4x1x2", "dense", "4x1 "])
def test_what_names_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="sparsity pattern"):
        Pattern.parse(text)


def test_what_is_equal_to_unstructured_is_called_so() -> None:
    assert Pattern.parse("1x1") == Pattern.parse("unstructured") == Pattern()


@pytest.mark.parametrize("text", ["unstructured", "4x1", "1x4", "3x5", "16x1"])
@pytest.mark.parametrize("shape", [(12, 20), (7, 9), (1, 1), (5, 64)])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_a_mask_keeps_the_best_blocks_as_many_as_asked(text: str, shape: tuple[int, int], density: float) -> None:
    pattern, saliency = Pattern.parse(text), RNG.random(shape)
    mask = pattern.keep(saliency, density)
    assert mask.shape == shape
    kept = pattern.occupied(mask)
    assert kept.sum() == round(density * kept.size)
    np.testing.assert_array_equal(pattern.spread(kept, shape), mask)
    mean = pattern.blocks(saliency) / pattern.blocks(np.ones(shape))
    if 0 < kept.sum() < kept.size:
        assert mean[kept].min() >= mean[~kept].max()


@pytest.mark.parametrize("text", ["2:4", "1:4", "4x2:4", "4:4"])
@pytest.mark.parametrize("shape", [(12, 20), (7, 9), (1, 1), (5, 64)])
def test_a_limit_keeps_the_best_of_each_group(text: str, shape: tuple[int, int]) -> None:
    pattern, saliency = Pattern.parse(text), RNG.random(shape) + 1
    mask = pattern.keep(saliency, 0.3)
    assert pattern.limit is not None
    most, among = pattern.limit
    mean = pattern.blocks(saliency) / pattern.blocks(np.ones(shape))
    for row, kept in zip(mean, pattern.occupied(mask), strict=True):
        for start in range(0, row.size, among):
            group, stays = row[start : start + among], kept[start : start + among]
            assert stays.sum() == min(most, group.size)
            assert set(np.flatnonzero(stays)) == set(np.argsort(-group)[:most])
    assert pattern.holds(mask)
    assert pattern.holds(np.ones(shape)) == (most == among or shape[1] <= most)


def test_a_convolution_weight_is_a_matrix_of_channels_and_taps() -> None:
    weight = RNG.standard_normal((6, 3, 2, 5))
    matrix = matrix_of(weight, 0)
    assert matrix.shape == (6, 30)
    np.testing.assert_array_equal(weight_of(matrix, 0, weight.shape), weight)
    product = RNG.standard_normal((3, 7))
    np.testing.assert_array_equal(matrix_of(product, 1), product.T)
    np.testing.assert_array_equal(weight_of(matrix_of(product, 1), 1, product.shape), product)


def test_zeros_are_counted() -> None:
    assert sparsity(np.array([[0.0, -0.0], [1.0, np.nan]])) == 0.5
