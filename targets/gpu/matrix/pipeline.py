"""Steps whose operands are brought to shared memory while those before are computed with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim
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
    ways: Sequence[Transport]
    """Of what every step needs."""
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
        return self.stages - 1 - self.reading

    def begin(self) -> None:
        """Starts what the first steps need."""
        for stage in range(self.ahead):
            number = self.loops.const(stage)
            with when(self._is_step(number)):
                for way in self.ways:
                    way.begin(number, number)
                    way.finish(number)
            self._commit()

    def arrive(self) -> None:
        """Waits until the oldest step is here, with all that was started before it, and threads meet."""
        self._wait(self.ahead - 1)
        self.publish()
        synchronize()

    def run(self, compute: Callable[[Expr, Expr], None]) -> None:
        """All steps, by their number and the stage that they are in. Then nothing is on its way any more; other warps
        may still read."""
        with self.loops.each(self.steps, self.kind) as step:
            self.arrive()
            newest = T.Bind(step + self.ahead)
            stage = T.Bind(tirx.floormod(newest, self.stages))
            with when(self._is_step(newest)):
                for way in self.ways:
                    way.begin(newest, stage)
            self._commit()
            compute(step, T.Bind(tirx.floormod(step, self.stages)))
            with when(self._is_step(newest)):
                for way in self.ways:
                    way.finish(stage)

    def run_ahead(self, pieces: int, load: Callable[[Expr, int], None], multiply: Callable[[int], None]) -> None:
        """All steps in so many pieces, each of them loaded from shared memory, by its stage and number, while the one
        before is multiplied: neither waits for the other, not even from step to step.

        Threads meet before the last piece of a step is multiplied, which is in registers then. Behind the last step
        its first piece is loaded once more, which nobody multiplies.
        """
        last = self.loops.const(self.steps) - 1
        self.arrive()
        load(self.loops.const(0), 0)
        with self.loops.each(self.steps) as step:
            newest = T.Bind(step + self.ahead)
            stage, current = (T.Bind(tirx.floormod(number, self.stages)) for number in (newest, step))
            with when(self._is_step(newest)):
                for way in self.ways:
                    way.begin(newest, stage)
            self._commit()
            for piece in range(pieces - 1):
                load(current, piece + 1)
                multiply(piece)
            with when(self._is_step(newest)):
                for way in self.ways:
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
