"""The greedy driver: applies rules until none fires, keeps near misses, and stops rules that do not end."""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence

from xdsl.ir import Attribute, BlockArgument, Operation, Region, SSAValue
from xdsl.traits import is_side_effect_free

from dsc.errors import DscError
from dsc.ir import FusionOp, Graph, OnnxOp, describe, element_of, shape_of
from dsc.ir.onnx.infer import merge_types
from dsc.passes.base import PassError, PassRecord
from dsc.passes.matcher import Matcher
from dsc.passes.pattern import depth, roots
from dsc.passes.rule import Match, Rule, guard

_REWRITES_PER_OP = 8
"""A model whose ops are rewritten more often than this, on average, is taken to be rewritten forever."""


def rewrite(graph: Graph, rules: Sequence[Rule], record: PassRecord) -> None:
    """Apply rules at every op (bodies of control flow included, of fusions not) until none fires.

    At an op the first rule that matches fires. Raises PassError, naming the rules, when rewriting does not
    end, and when a rule raises.
    """
    _Driver(graph, rules, record).run()


class _Driver:
    def __init__(self, graph: Graph, rules: Sequence[Rule], record: PassRecord):
        self.graph = graph
        self.record = record
        self.matcher = Matcher(graph)
        self.by_root: dict[str, list[tuple[Rule, int]]] = defaultdict(list)
        for rule in rules:
            for name in roots(rule.pattern):
                self.by_root[name].append((rule, depth(rule.pattern)))
        self.recent: deque[str] = deque(maxlen=100)
        self.budget = _REWRITES_PER_OP * sum(1 for _ in walk(graph.func.body)) + 1000

    def run(self) -> None:
        changed = True
        while changed:
            self.record.forget_misses()
            changed = self._sweep()
        self.graph.update_signature()

    def _sweep(self) -> bool:
        """Visit each op once, and new ops at once; returns whether a rule fired."""
        changed = False
        pending = list(walk(self.graph.func.body))[::-1]
        while pending:
            op = pending.pop()
            if op.parent is None or not isinstance(op, OnnxOp):
                continue
            new = self._visit(op)
            if new is not None:
                changed = True
                pending.extend(reversed(new))
        return changed

    def _visit(self, op: OnnxOp) -> list[Operation] | None:
        """Fire the first rule that matches at `op`; returns the ops to visit next, or None."""
        for rule, ops in self.by_root.get(op.onnx_name, ()):
            try:
                match = self._match(rule, ops, op)
            except DscError:
                raise
            except Exception as error:
                raise _rule_error(rule, op, error) from error
            if match is not None:
                return self._fire(rule, match)
        return None

    def _match(self, rule: Rule, ops: int, op: OnnxOp) -> Match | None:
        binding = self.matcher.match(rule.pattern, op)
        if binding is None:
            matched, reason = self.matcher.miss
            if matched >= max(ops, 2):
                self.record.miss(rule.name, op, reason)
            return None
        match = Match(self.graph, op, binding)
        refused = guard(rule, match) or rule.check(match)
        if refused:
            self.record.miss(rule.name, op, refused)
            return None
        return match

    def _fire(self, rule: Rule, match: Match) -> list[Operation]:
        root, block = match.root, match.root.parent
        assert block is not None
        before = root.prev_op
        try:
            made = rule.rewrite(match)
            values = [made] if isinstance(made, SSAValue) else list(made)
            replace_op(root, values)
        except Exception as error:
            raise _rule_error(rule, root, error) from error
        new = _between(before, root.next_op) if before else []
        users = [use.operation for value in values for use in value.uses]
        producers = [value.owner for value in root.operands]
        block.erase_op(root)
        for producer in producers:
            if isinstance(producer, Operation):
                erase_if_dead(producer)
        self._spend(rule.name)
        return [*new, *users]

    def _spend(self, rule: str) -> None:
        self.record.fire(rule)
        self.recent.append(rule)
        self.budget -= 1
        if self.budget < 0:
            names = ", ".join(f"{name!r}" for name, _ in Counter(self.recent).most_common(2))
            raise PassError(f"rewriting does not end; it keeps applying {names}")


def walk(region: Region) -> Iterator[Operation]:
    """All ops of a region in order, those of nested control flow included, those of fusions not."""
    for block in region.blocks:
        for op in block.ops:
            yield op
            if op.regions and not isinstance(op, FusionOp):
                for inner in op.regions:
                    yield from walk(inner)


def replace_op(op: Operation, values: Sequence[SSAValue]) -> None:
    """Let `values` stand for the results of an op (which stays, unused). What both types tell is kept.

    Raises PassError where a value has another element type or rank than the result.
    """
    if len(values) != len(op.results):
        raise PassError(f"{len(values)} values cannot replace {len(op.results)} results of\n  {describe(op)}")
    for old, new in zip(op.results, values, strict=True):
        if old is new:
            raise PassError(f"a result cannot replace itself:\n  {describe(op)}")
        if not _compatible(old.type, new.type):
            raise PassError(f"a value of {new.type} cannot replace one of {old.type}:\n  {describe(op)}")
        _retype(new, merge_types(new.type, old.type))
        if new.name_hint is None and old.name_hint:
            new.name_hint = old.name_hint
        old.replace_all_uses_with(new)


def insert_after(value: SSAValue, op: Operation) -> None:
    """Insert an op right after what makes `value`, which it reads, so that all readers can share its result."""
    owner = value.owner
    if isinstance(owner, Operation):
        assert owner.parent is not None
        owner.parent.insert_op_after(op, owner)
    else:
        assert owner.first_op is not None
        owner.insert_op_before(op, owner.first_op)


def _compatible(a: Attribute, b: Attribute) -> bool:
    first, second = shape_of(a), shape_of(b)
    if first is None or second is None:
        return True
    same_sizes = all(x == y or x < 0 or y < 0 for x, y in zip(first, second, strict=False))
    return element_of(a) == element_of(b) and len(first) == len(second) and same_sizes


def _retype(value: SSAValue, type_: Attribute) -> None:
    """Give a value a more specific type, and the arguments of fusions that it feeds; inputs of bodies keep
    theirs."""
    if isinstance(value, BlockArgument) or value.type == type_:
        return
    value._type = type_
    for use in value.uses:
        if isinstance(use.operation, FusionOp):
            use.operation.block.args[use.index]._type = type_


def erase_if_dead(op: Operation) -> None:
    """Erase an op without effect whose results nobody uses, and then the ops that only it used."""
    pending = [op]
    while pending:
        op = pending.pop()
        if op.parent is None or not op.results or any(r.uses for r in op.results) or not is_side_effect_free(op):
            continue
        operands = dict.fromkeys(op.operands)
        op.parent.erase_op(op)
        pending.extend(v.owner for v in operands if isinstance(v.owner, Operation))


def _between(first: Operation, last: Operation | None) -> list[Operation]:
    """The ops after `first` and before `last`, both excluded."""
    found: list[Operation] = []
    op = first.next_op
    while op is not None and op is not last:
        found.append(op)
        op = op.next_op
    return found


def _rule_error(rule: Rule, op: Operation, error: Exception) -> PassError:
    where = inspect.getsourcefile(type(rule)) or "?"
    cause = str(error) if isinstance(error, DscError) else f"{type(error).__name__}: {error}"
    return PassError(f"rule {rule.name!r} ({where}) failed: {cause}\n  at {describe(op)}")
