"""Many random graphs: `python -m tests.random_graphs --count 3000 --seed 1`; `--only SEED --save g.onnx` for one."""

from __future__ import annotations

import argparse
import os
import sys

from tests.random_graphs.judge import judge, save
from tests.random_graphs.workers import verdicts

PROGRESS = 100
"""Graphs after which a line says how many are done."""


def main() -> int:
    """Prints each fault and refusal as it is found; 1 if there was one, as in the tests."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_graphs", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="of the first graph; the others follow (default: random)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", type=int, help="judge this one in this process")
    parser.add_argument("--save", help="with --only: write its ONNX file here")
    options = parser.parse_args()
    if options.only is not None:
        if options.save:
            save(options.only, options.save)
        verdict = judge(options.only)
        print(verdict.fault or verdict.refused or "right")
        return int(bool(verdict.fault or verdict.refused))
    first = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "little")
    print(f"{options.count} graphs from seed {first}", flush=True)
    faults = refused = nodes = 0
    for done, verdict in enumerate(verdicts(range(first, first + options.count), options.jobs), 1):
        nodes += verdict.nodes
        refused += bool(verdict.refused)
        faults += bool(verdict.fault)
        if verdict.fault or verdict.refused:
            print(
                f"seed {verdict.seed} ({verdict.nodes} nodes): {verdict.fault or 'refused: ' + verdict.refused}",
                flush=True,
            )
        if done % PROGRESS == 0:
            print(f"{done} of {options.count}", flush=True)
    print(f"{options.count} graphs, {nodes} nodes: {faults} wrong, {refused} refused")
    return int(bool(faults or refused))


if __name__ == "__main__":
    sys.exit(main())
