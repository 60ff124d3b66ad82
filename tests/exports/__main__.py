"""`python -m tests.exports`: export, compile, compare; a table, and exit code 1 below the bar."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.exports.apart import EXPORTERS, Case, run_apart
from tests.exports.architectures import ARCHITECTURES
from tests.exports.outcome import Outcome

BAR = 0.95
"""Of what ONNX Runtime runs, this much must compile and agree; the rest must be refused."""


def main() -> int:
    """Run the cases that the command line names, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.exports", description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures or cases (bert, gpt2-past.dynamo); all by default")
    parser.add_argument("--exporter", choices=EXPORTERS, help="one exporter only")
    parser.add_argument("--folder", type=Path, default=Path("build/exports"), help="where files and report.json go")
    parser.add_argument("--level", type=int, default=2, help="optimization level")
    parser.add_argument("--again", action="store_true", help="export again what is in the folder")
    parser.add_argument("--limit", type=float, default=300, help="seconds for an export, and for its comparison")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    exporters = (arguments.exporter,) if arguments.exporter else EXPORTERS
    cases = [
        Case(architecture, exporter, arguments.folder, arguments.level, arguments.again, arguments.limit)
        for architecture in ARCHITECTURES
        for exporter in exporters
    ]
    outcomes: dict[str, Outcome] = {}
    for case in _chosen(cases, arguments.names):
        outcome = outcomes[case.name] = run_apart(case)
        print(f"{case.name:40} {outcome.status:12} {outcome.seconds:6.1f} s  {outcome.detail}", flush=True)
    report = {name: asdict(outcome) for name, outcome in outcomes.items()}
    (arguments.folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return _summary(list(outcomes.values()))


def _chosen(cases: list[Case], names: list[str]) -> list[Case]:
    """The cases in the order of `names`, each of which is a case, an architecture or a model type."""
    if not names:
        return cases
    found = [c for name in names for c in cases if name in (c.name, c.architecture.name, c.architecture.model_type)]
    return list(dict.fromkeys(found))


def _summary(outcomes: list[Outcome]) -> int:
    counts = Counter(outcome.status for outcome in outcomes)
    ran = sum(counts[status] for status in ("equal", "refused", "error", "differs"))
    for status, count in counts.most_common():
        print(f"{status:12} {count:4}")
    if not ran:
        return 1
    print(f"{counts['equal']} of {ran} that ONNX Runtime runs compile and agree: {counts['equal'] / ran:.1%}")
    return 0 if counts["equal"] >= BAR * ran and not counts["error"] and not counts["differs"] else 1


if __name__ == "__main__":
    sys.exit(main())
