"""Graphs judged in processes of their own, so that a crash is a verdict and not the end."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait

from tests.random_graphs.judge import Verdict, judge

TIMEOUT = 300.0
"""Seconds that one graph may take."""


def verdicts(seeds: Sequence[int], jobs: int) -> Iterator[Verdict]:
    """The verdict on each seed, as they come."""
    queue = list(reversed(seeds))
    workers = [_Worker() for _ in range(min(jobs, len(queue)))]
    try:
        for worker in workers:
            worker.start(queue.pop())
        while busy := [w for w in workers if w.seed is not None]:
            ready = wait([w.connection for w in busy], TIMEOUT)
            for worker in [w for w in busy if w.connection in ready] or busy:
                yield worker.verdict()
                if queue:
                    worker.start(queue.pop())
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that judges one seed after another; a new one after a crash."""

    def __init__(self) -> None:
        self.seed: int | None = None
        self._spawn()

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def start(self, seed: int) -> None:
        self.seed = seed
        self.connection.send(seed)

    def verdict(self) -> Verdict:
        """What was sent back, or that nothing was."""
        seed, self.seed = self.seed, None
        assert seed is not None
        try:
            if self.connection.poll(0):
                return self.connection.recv()
            fault = f"no answer in {TIMEOUT:.0f} s"
        except EOFError:
            self._process.join()
            fault = f"the process ended with {self._process.exitcode}"
        self.stop()
        self._spawn()
        return Verdict(seed, 0, fault=fault)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(connection: Connection) -> None:
    while True:
        try:
            seed = connection.recv()
        except EOFError:
            return
        connection.send(judge(seed))
