"""Steps whose operands are brought to shared memory while those before are computed with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv
from dsc.targets.gpu.launch import synchronize
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.transport import Transport
from dsc.targets.tir.loops import Kind, Loops, when


@dataclass(frozen=True)
class Pipeline:
    """Some steps, of which as many as there are stages are in shared memory or on their way there.

    Every step, threads wait until the oldest has arrived, and meet; then they start what the newest needs, in the place
    of the step before, which nobody reads any more. `run` leaves it to the compiler when operands are read from shared
    memory, `run_ahead` says it.
    """

    machine: Gpu
    steps: Dim
    stages: int
    ways: Sequence[Sequence[Transport]]
    """Of what a step needs; those of several steps in turn, each with registers of its own, where nothing is copied
    without: then loads of one are waited for while those of the next are on their way."""
    loops: Loops
    reading: int = 0
    """Steps before the one that is computed which instructions may still read: their stages wait one step longer."""
    publish: Callable[[], None] = lambda: None
    """What a thread does, before all meet, so that what it has brought to shared memory can be read."""
    kind: Kind = T.serial
    """Of the loop over steps."""

    @property
    def ahead(self) -> int:
        """Steps that are on their way."""
        return self.stored_ahead + len(self.ways) - 1

    @property
    def stored_ahead(self) -> int:
        """Those that go to shared memory before the one that is computed is done with."""
        return self.stages - 1 - self.reading

    def begin(self) -> None:
        """Starts what the first steps need."""
        for first in range(self.ahead):
            number = self.loops.const(first)
            self._load(first, number, number)
            if first < self.stored_ahead:
                self._store(first, number, number)
            self._commit()

    def arrive(self) -> None:
        """Waits until the oldest step is here, with all that was started before it, and threads meet."""
        self._wait(self.ahead - 1)
        self.publish()
        synchronize()

    def run(self, compute: Callable[[Expr, Expr], None]) -> None:
        """All steps, by their number and the stage that they are in. Then nothing is on its way any more; other warps
        may still read."""
        sets, steps = len(self.ways), self.steps
        known = isinstance(steps, int)
        whole = steps // sets if isinstance(steps, int) else ceildiv(steps, sets)
        with self.loops.each(whole, self.kind) as turn:
            for which in range(sets):
                step = turn if sets == 1 else T.Bind(turn * sets + which)
                with when(None if known or sets == 1 else self._is_step(step)):
                    self._run_step(step, which, compute)
        for step in range(whole * sets, steps) if isinstance(steps, int) else ():
            self._run_step(self.loops.const(step), step % sets, compute)

    def _run_step(self, step: Expr, which: int, compute: Callable[[Expr, Expr], None]) -> None:
        """One of them. which: its number, modulo the sets of registers."""
        self.arrive()
        newest, stored = T.Bind(step + self.ahead), T.Bind(step + self.stored_ahead)
        stage = T.Bind(tirx.floormod(stored, self.stages))
        self._load(which + self.ahead, newest, stage)
        self._commit()
        compute(step, T.Bind(tirx.floormod(step, self.stages)))
        self._store(which + self.stored_ahead, stored, stage)

    def _load(self, which: int, step: Expr, stage: Expr) -> None:
        """Starts what a step needs. With several sets of registers the last step is loaded again instead of those that
        there are not: after a branch compilers wait for all loads, those that were started in it included."""
        several = len(self.ways) > 1
        if several:
            step = T.Bind(tirx.min(step, self.loops.const(self.steps) - 1))
        with when(None if several else self._is_step(step)):
            for way in self.ways[which % len(self.ways)]:
                way.begin(step, stage)

    def _store(self, which: int, step: Expr, stage: Expr) -> None:
        """Stores what a step needs, once it has come. What is loaded for none goes where nobody reads any more."""
        with when(None if len(self.ways) > 1 else self._is_step(step)):
            for way in self.ways[which % len(self.ways)]:
                way.finish(stage)

    def run_ahead(self, pieces: int, load: Callable[[Expr, int], None], multiply: Callable[[int], None]) -> None:
        """All steps in so many pieces, each of them loaded from shared memory, by its stage and number, while the one
        before is multiplied: neither waits for the other, not even from step to step.

        Threads meet before the last piece of a step is multiplied, which is in registers then. Behind the last step
        its first piece is loaded once more, which nobody multiplies.
        """
        (ways,) = self.ways
        last = self.loops.const(self.steps) - 1
        self.arrive()
        load(self.loops.const(0), 0)
        with self.loops.each(self.steps) as step:
            newest = T.Bind(step + self.ahead)
            stage, current = (T.Bind(tirx.floormod(number, self.stages)) for number in (newest, step))
            with when(self._is_step(newest)):
                for way in ways:
                    way.begin(newest, stage)
            self._commit()
            for piece in range(pieces - 1):
                load(current, piece + 1)
                multiply(piece)
            with when(self._is_step(newest)):
                for way in ways:
                    way.finish(stage)
            self.arrive()
            load(T.Bind(tirx.floormod(tirx.min(step + 1, last), self.stages)), 0)
            multiply(pieces - 1)

    def finish(self) -> None:
        """Waits until nothing is on its way, and nobody reads any more."""
        self._wait(0)
        synchronize()

    def _is_step(self, step: Expr) -> Expr:
        return step < self.loops.const(self.steps)

    def _commit(self) -> None:
        """What was copied since the last time is one group."""
        if self.machine.copies_to_shared:
            T.evaluate(T.ptx["cp.async.commit_group"]())

    def _wait(self, groups: int) -> None:
        """Until all but so many groups have arrived."""
        if self.machine.copies_to_shared:
            T.evaluate(T.ptx["cp.async.wait_group"](groups))
