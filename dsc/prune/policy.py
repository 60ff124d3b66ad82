"""What a user decides of layers: how sparse some are, whatever it costs. The first rule that fits a layer counts."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dsc.errors import UsageError
from dsc.prune.weights import Weight
from dsc.quantize.network import Network
from dsc.quantize.policy import Named, check_keys, is_texts, matched


@dataclass(frozen=True)
class SparsityRule:
    """Layers, and the share of their weights that becomes 0; 0 for layers that stay dense.

    ops: operators. names: of nodes, with * and ? as in a shell. between: two nodes; a layer is between them where it
    depends on the first and the second depends on it, both included. A layer must fit all that are given. Tables are
    layers only where Gather is among the operators.
    """

    sparsity: float
    ops: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    between: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise UsageError(f"the policy has a sparsity of {self.sparsity}; expected 0 or more, and less than 1")

    def __str__(self) -> str:
        return " ".join([*self.ops, *self.names, *([" to ".join(self.between)] if self.between else [])])


@dataclass(frozen=True)
class SparsityPolicy:
    """Rules in their order."""

    rules: tuple[SparsityRule, ...] = ()

    def decisions(self, network: Network, weights: Sequence[Weight]) -> dict[str, SparsityRule]:
        """The rule that counts for a weight, by its name. Raises UsageError for names that are no layer's."""
        of_layer = {layer.name: weight.name for weight in weights for layer in weight.layers}
        found: dict[str, SparsityRule] = {}
        for rule in self.rules:
            taken = [weight for weight in weights if not weight.is_table or "Gather" in rule.ops]
            known = [Named(layer.name, layer.op) for weight in taken for layer in weight.layers]
            for name in matched(rule, network, known):
                found.setdefault(of_layer[name], rule)
        return found


def read_policy(path: Path) -> SparsityPolicy:
    """The policy in a TOML file: tables `[[rule]]`, whose keys are the fields of `SparsityRule`.

    Raises UsageError for a file that cannot be read, and keys or values that are none of theirs.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"policy {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"policy {path} is no TOML: {error}") from error
    check_keys(path, "the file", content, ("rule",))
    rules = content.get("rule", [])
    if not isinstance(rules, list):
        raise UsageError(f"policy {path}: write [[rule]] in double brackets, one table for each rule")
    return SparsityPolicy(tuple(_rule(path, table) for table in rules))


def _rule(path: Path, table: Mapping[str, Any]) -> SparsityRule:
    check_keys(path, "a rule", table, [known.name for known in fields(SparsityRule)])
    sparsity = table.get("sparsity")
    if not isinstance(sparsity, int | float) or isinstance(sparsity, bool):
        raise UsageError(f"policy {path}: sparsity = {sparsity!r} in a rule; expected a number, 0 for dense")
    for key in ("ops", "names", "between"):
        if not is_texts(table.get(key, [])):
            raise UsageError(f"policy {path}: {key} = {table[key]!r} in a rule; expected a list of texts")
    between, ops, names = (tuple(table.get(key, [])) for key in ("between", "ops", "names"))
    if between and len(between) != 2:
        raise UsageError(f"policy {path}: between = {list(between)!r} in a rule; expected two nodes")
    if not (ops or names or between):
        raise UsageError(f"policy {path}: a rule needs ops, names or between")
    return SparsityRule(float(sparsity), ops, names, (between[0], between[1]) if between else None)
