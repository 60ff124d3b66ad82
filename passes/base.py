"""The pass contract: a frozen dataclass whose fields are its options, and a record of what it did."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar

from xdsl.ir import Operation
from xdsl.utils.arg_spec import ArgSpecConvertible

from dsc.errors import DscError
from dsc.ir import Graph, describe


class PassError(DscError):
    """A pass or a rule failed: an exception in it, or rewriting that does not end."""


@dataclass(frozen=True)
class NearMiss:
    """A rule that found its ops but was refused: "3 of 53: scale is not constant"."""

    rule: str
    reason: str
    count: int
    candidates: int
    node: str
    """Name of the ONNX node at which it was refused first; "" when it has none."""

    def __str__(self) -> str:
        where = f" (first at {self.node})" if self.node else ""
        return f"{self.rule}: {self.count} of {self.candidates}: {self.reason}{where}"


@dataclass
class PassRecord:
    """What one run of a pass did: which rules fired how often, which nearly did, and how long it took."""

    name: str
    fired: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    _misses: dict[str, dict[Operation, str]] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether any rule fired."""
        return bool(self.fired)

    def fire(self, rule: str, count: int = 1) -> None:
        """Note that a rule fired."""
        self.fired[rule] += count

    def miss(self, rule: str, op: Operation, reason: str) -> None:
        """Note why a rule that found its ops was refused at `op`; the last reason for an op counts."""
        self._misses.setdefault(rule, {})[op] = reason

    def forget_misses(self) -> None:
        """Forget the near misses: rewriting went on, and they are to be found again."""
        self._misses.clear()

    def near_misses(self) -> list[NearMiss]:
        """The refusals by rule and reason, the most frequent first."""
        found: list[NearMiss] = []
        for rule, by_op in self._misses.items():
            candidates = len(by_op) + self.fired[rule]
            for reason, count in Counter(by_op.values()).items():
                op = next(op for op, why in by_op.items() if why == reason)
                found.append(NearMiss(rule, reason, count, candidates, getattr(op, "node", "")))
        return sorted(found, key=lambda miss: -miss.count)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.seconds * 1e3:.0f} ms"]
        lines += [f"  {count:5d} x {rule}" for rule, count in self.fired.most_common()]
        lines += [f"   near miss {miss}" for miss in self.near_misses()]
        return "\n".join(lines)


def _op_at(traceback: TracebackType | None) -> Operation | None:
    """The op that failing code was working on: a local variable of the innermost frame that has one."""
    found: Operation | None = None
    while traceback is not None:
        local = traceback.tb_frame.f_locals
        ops = [v for v in (local.get("op"), *local.values()) if isinstance(v, Operation)]
        found = ops[0] if ops else found
        traceback = traceback.tb_next
    return found


@dataclass(frozen=True)
class Pass(ArgSpecConvertible):
    """A rewrite of a whole graph. Subclasses are frozen dataclasses with a `name`; their fields are options.

    Options are int, float, bool, str, tuples of those, or None; in text they are `name{max-epilogue=8}`.
    """

    name: ClassVar[str]

    @abstractmethod
    def apply(self, graph: Graph, record: PassRecord) -> None:
        """Change the graph in place, and note in `record` which rules fired."""

    def run(self, graph: Graph, *, verify: bool = True) -> PassRecord:
        """Apply the pass, then verify the graph.

        Raises PassError when the pass raises, and VerificationError (pointing at the op) when it leaves wrong
        IR.
        """
        record = PassRecord(str(self))
        start = time.perf_counter()
        try:
            self.apply(graph, record)
        except DscError:
            raise
        except Exception as error:
            op = _op_at(error.__traceback__)
            where = f"\n  at {describe(op)}" if op else ""
            raise PassError(f"pass {self} failed: {type(error).__name__}: {error}{where}") from error
        # of what replaced an output, more may be known
        graph.func.update_function_type()  # type: ignore[no-untyped-call]
        record.seconds = time.perf_counter() - start
        if verify:
            self._verify(graph)
        return record

    def _verify(self, graph: Graph) -> None:
        try:
            graph.verify()
        except DscError as error:
            raise type(error)(f"after pass {self}: {error}") from error

    def __str__(self) -> str:
        spec = self.spec()
        dashed = {name.replace("_", "-"): values for name, values in spec.parameters.items()}
        return str(type(spec)(spec.name, dashed))
