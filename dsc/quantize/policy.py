"""What a user decides of layers: rules, from a TOML file or Python, of which the first that fits a layer counts."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

from dsc.errors import UsageError
from dsc.ir.onnx import OPS
from dsc.quantize.grid import ByteType
from dsc.quantize.halves import HALVES
from dsc.quantize.layers import PRODUCTS, Layer
from dsc.quantize.network import Network
from dsc.quantize.scheme import Rounding, Smoothing, StaticScheme

_OPERATORS = (*PRODUCTS, "Gather")
Kept = Literal["float", "int8", "bf16", "fp16"]
_CHOICES: Mapping[str, tuple[object, ...]] = {
    "activations": get_args(ByteType),
    "weight_bits": (7, 8),
    "smoothing": get_args(Smoothing),
    "rounding": get_args(Rounding),
}
"""The values of details of a scheme that are not true or false."""


@dataclass(frozen=True)
class PolicyRule:
    """Layers, and what they are kept in: "float", or "int8" whatever it costs; or any nodes, in "bf16" or "fp16".

    ops: operators. names: of nodes, with * and ? as in a shell. between: two nodes; a layer is between them where it
    depends on the first and the second depends on it, both included. A layer must fit all that are given.
    """

    keep: Kept
    ops: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    between: tuple[str, str] | None = None

    def __str__(self) -> str:
        parts = [*self.ops, *self.names, *([" to ".join(self.between)] if self.between else [])]
        return " ".join(parts)


class Selection(Protocol):
    """What a rule says of the layers that it is about; see `PolicyRule`."""

    @property
    def ops(self) -> tuple[str, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def between(self) -> tuple[str, str] | None: ...


class Named(NamedTuple):
    """What a rule looks at."""

    name: str
    op: str

    @classmethod
    def of_nodes(cls, network: Network) -> list[Named]:
        return [cls(node.name, node.op_type) for node in network.nodes]


@dataclass(frozen=True)
class Policy:
    """Rules in their order, and the scheme of what they leave."""

    rules: tuple[PolicyRule, ...] = ()
    scheme: StaticScheme = field(default_factory=StaticScheme)

    def decisions(self, network: Network, layers: Sequence[Layer]) -> dict[str, PolicyRule]:
        """The rule that counts for a layer, by the layer's name; those of half precision count for other nodes too.

        Raises UsageError for names that are no layer's, and operators that none is of.
        """
        nodes, products = Named.of_nodes(network), [Named(layer.name, layer.op) for layer in layers]
        for rule in self.rules:
            unknown = [op for op in rule.ops if op not in _OPERATORS]
            if unknown and rule.keep not in HALVES:
                raise UsageError(
                    f"the policy names {unknown[0]}, which is no operator that is quantized; these are {_OPERATORS}"
                )
        return self._found(network, lambda rule: nodes if rule.keep in HALVES else products)

    def node_decisions(self, network: Network) -> dict[str, PolicyRule]:
        """The rule that counts for a node of any operator, by the node's name. Raises UsageError as `decisions`."""
        nodes = Named.of_nodes(network)
        return self._found(network, lambda rule: nodes)

    def _found(self, network: Network, candidates: Callable[[PolicyRule], Sequence[Named]]) -> dict[str, PolicyRule]:
        found: dict[str, PolicyRule] = {}
        for rule in self.rules:
            for name in matched(rule, network, candidates(rule)):
                found.setdefault(name, rule)
        return found


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file: tables `[[rule]]` and `[scheme]`, whose keys are the fields of these classes.

    Raises UsageError for a file that cannot be read, and keys or values that are none of theirs.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"policy {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"policy {path} is no TOML: {error}") from error
    check_keys(path, "the file", content, ("rule", "scheme"))
    rules = content.get("rule", [])
    if not isinstance(rules, list):
        raise UsageError(f"policy {path}: write [[rule]] in double brackets, one table for each rule")
    return Policy(tuple(_rule(path, table) for table in rules), _scheme(path, content.get("scheme", {})))


def _rule(path: Path, table: Mapping[str, Any]) -> PolicyRule:
    check_keys(path, "a rule", table, [known.name for known in fields(PolicyRule)])
    if table.get("keep") not in get_args(Kept):
        raise UsageError(f"policy {path}: keep = {table.get('keep')!r} in a rule; it is one of {get_args(Kept)}")
    for key in ("ops", "names", "between"):
        if not is_texts(table.get(key, [])):
            raise UsageError(f"policy {path}: {key} = {table[key]!r} in a rule; expected a list of texts")
    unknown = [op for op in table.get("ops", []) if op not in OPS]
    if unknown:
        raise UsageError(f"policy {path}: {unknown[0]} is no operator of ONNX; {_near(unknown[0], list(OPS))}")
    between = tuple(table.get("between", []))
    if between and len(between) != 2:
        raise UsageError(f"policy {path}: between = {list(between)!r} in a rule; expected two nodes")
    names, ops = tuple(table.get("names", [])), tuple(table.get("ops", []))
    if not (names or ops or between):
        raise UsageError(f"policy {path}: a rule needs ops, names or between")
    return PolicyRule(table["keep"], ops, names, (between[0], between[1]) if between else None)


def _scheme(path: Path, table: Mapping[str, Any]) -> StaticScheme:
    check_keys(path, "[scheme]", table, [known.name for known in fields(StaticScheme)])
    return detailed(StaticScheme(), table, f"policy {path}, [scheme]")


def detailed(scheme: StaticScheme, details: Mapping[str, Any], where: str) -> StaticScheme:
    """A scheme with some of its fields as a user wrote them. Raises UsageError for values that these do not take."""
    for key, value in details.items():
        known = _CHOICES.get(key, (False, True))
        if value not in known or type(value) is not type(getattr(scheme, key)):
            raise UsageError(f"{where}: {key} = {value!r}; it is one of {known}")
    return replace(scheme, **details)


def check_keys(path: Path, where: str, table: Any, known: Sequence[str]) -> None:
    """Raise UsageError for a key of a table that is none of those known, with the nearest ones."""
    if not isinstance(table, dict):
        raise UsageError(f"policy {path}: {where} is no table")
    unknown = [key for key in table if key not in known]
    if unknown:
        near = get_close_matches(unknown[0], known) or known
        raise UsageError(f"policy {path}: there is no {unknown[0]!r} in {where}; is it {' or '.join(near)}?")


def is_texts(value: object) -> bool:
    """Whether a value of a TOML file is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def matched(rule: Selection, network: Network, layers: Sequence[Named]) -> list[str]:
    """The layers that a rule is about. Raises UsageError for names that none is called by, with near ones."""
    known = [layer.name for layer in layers]
    for glob in rule.names:
        if not any(fnmatchcase(name, glob) for name in known):
            raise UsageError(f"the policy names {glob!r}, and no layer is called so; {_near(glob, known)}")
    inside = None if rule.between is None else _between(network, *rule.between)
    return [
        layer.name
        for layer in layers
        if (not rule.ops or layer.op in rule.ops)
        and (not rule.names or any(fnmatchcase(layer.name, glob) for glob in rule.names))
        and (inside is None or layer.name in inside)
    ]


def _between(network: Network, first: str, last: str) -> set[str]:
    """The nodes that depend on the first and that the last depends on, and these two."""
    known = [node.name for node in network.nodes]
    for name in (first, last):
        if name not in known:
            raise UsageError(f"the policy names the node {name!r}, and there is none; {_near(name, known)}")
    after, before = {first}, {last}
    for node in network.nodes:
        makers = (network.producers.get(name) for name in node.input)
        if any(maker is not None and maker.name in after for maker in makers):
            after.add(node.name)
    for node in reversed(network.nodes):
        readers = (reader for name in node.output for reader in network.consumers[name])
        if any(reader.name in before for reader in readers):
            before.add(node.name)
    if last not in after:
        raise UsageError(f"the policy names a region from {first} to {last}, which does not depend on it")
    return after & before


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, cutoff=0.4) or list(known[:3])
    return f"near are {', '.join(near)}" if near else "the model has none"
