"""Tables of rows: pruned only where a policy names Gather, by magnitude, and products make up for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from dsc.errors import UsageError
from dsc.prune.policy import SparsityPolicy, SparsityRule, read_policy
from dsc.prune.prune import prune
from dsc.sparsity import Pattern
from tests.compiled import TextModel
from tests.quantize.nets import weight

WORDS = TextModel(
    """(int64[n] ids, int64[n] places) => (float[n,12] y) {
        [words] a = Gather(table, ids)
        [positions] b = Gather(position, places)
        [sum] c = Add(a, b)
        [project] y = MatMul(c, w)
    }""",
    {"table": weight(50, 16), "position": weight(8, 16, seed=5), "w": weight(16, 12)},
    14,
)
TIED = TextModel(
    """(int64[n] ids) => (float[n,40] y) {
        [words] a = Gather(table, ids)
        [head] y = Gemm<transB=1>(a, table)
    }""",
    {"table": weight(40, 24)},
    14,
)


def rule(sparsity: float, *names: str) -> SparsityRule:
    return SparsityRule(sparsity, ops=("Gather",), names=names)


def arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def samples(count: int = 20) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(3)
    return [{"ids": random.integers(0, 50, 6), "places": random.integers(0, 8, 6)} for _ in range(count)]


def test_the_largest_elements_of_a_table_stay() -> None:
    found = prune(WORDS.proto(), sparsity=0.0, policy=SparsityPolicy((rule(0.9, "words"),)))
    before, after = arrays(WORDS.proto()), arrays(found.model)
    kept = after["table"] != 0
    assert np.mean(kept) == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(after["table"][kept], before["table"][kept])
    assert np.abs(before["table"][kept]).min() >= np.abs(before["table"][~kept]).max()
    assert not np.signbit(after["table"][~kept]).any()
    for name in ("position", "w"):
        np.testing.assert_array_equal(after[name], before[name])
    assert [(layer.name, layer.op, layer.shape) for layer in found.report.layers] == [
        ("words", "Gather", (50, 16)),
        ("project", "MatMul", (16, 12)),
    ]


def test_patterns_have_rows_for_outputs() -> None:
    for text in ("4x1", "2:4"):
        pattern = Pattern.parse(text)
        sparsity = None if pattern.limit else 0.5
        found = prune(WORDS.proto(), sparsity=sparsity, pattern=text, policy=SparsityPolicy((rule(0.5),)))
        for name in ("table", "position"):
            table = arrays(found.model)[name]
            occupied = pattern.spread(pattern.occupied(table), (table.shape[0], table.shape[1]))
            assert pattern.holds(table)
            assert pattern.limit or np.array_equal(occupied, table != 0)
            assert np.mean(table == 0) == pytest.approx(0.5, abs=0.02)


def test_tables_stay_as_they_are_where_no_rule_names_gather() -> None:
    """Not by their names, nor by what they lie between; and the sparsity asked for is not theirs."""
    for policy in ((), (SparsityRule(0.9, names=("*",)),), (SparsityRule(0.9, between=("words", "project")),)):
        found = prune(WORDS.proto(), sparsity=0.5, policy=SparsityPolicy(policy))
        assert [layer.name for layer in found.report.layers] == ["project"]
        np.testing.assert_array_equal(arrays(found.model)["table"], arrays(WORDS.proto())["table"])
    with pytest.raises(UsageError, match="names 'words', and no layer is called so"):
        prune(WORDS.proto(), sparsity=0.5, policy=SparsityPolicy((SparsityRule(0.9, names=("words",)),)))


def test_products_behind_a_table_make_up_for_it() -> None:
    """With data, the product's weights are fitted to the rows that it reads of the pruned table."""
    policy = SparsityPolicy((rule(0.6),))
    blind, fitted = (prune(WORDS.proto(), data, sparsity=0.0, policy=policy) for data in (None, samples()))
    expected = WORDS.reference(samples(1)[0])[0]
    off = []
    for each in (blind, fitted):
        changed = TextModel(WORDS.text, arrays(each.model), 14)
        off.append(np.linalg.norm(changed.reference(samples(1)[0])[0] - expected))
    np.testing.assert_array_equal(arrays(blind.model)["table"], arrays(fitted.model)["table"])
    np.testing.assert_array_equal(arrays(blind.model)["w"], arrays(WORDS.proto())["w"])
    assert off[0] >= off[1] > 0


def test_a_table_that_a_product_reads_is_refused() -> None:
    with pytest.raises(
        UsageError, match="wants zeros in words, which cannot be: head reads its weight too, and is no table"
    ):
        prune(TIED.proto(), sparsity=0.5, policy=SparsityPolicy((rule(0.9),)))


def test_a_policy_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "tables.toml").write_text('[[rule]]\nsparsity = 0.9\nops = ["Gather"]\nnames = ["word*"]\n')
    assert read_policy(tmp_path / "tables.toml").rules == (rule(0.9, "word*"),)
