"""Ways to break a kernel, and whether the simulator notices: `python -m tests.simulator.mutations [kernels]`.

One place of the source is changed at a time. A change is noticed by a rule of CUDA that the kernel then breaks, or by a
result that is wrong, in the order in which threads run forward or in reverse.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dsc.simulator import KernelError, simulated_cuda
from tests.simulator.cases import BY_NAME, CASES, Case

_INDEX = re.compile(r"\[(?=[^%\]])")


@dataclass(frozen=True)
class Mutant:
    """A source with one change."""

    kind: str
    line: int
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """All there are of a source."""
    for kind, pattern, replacement in _REPLACED:
        for match in re.finditer(pattern, source):
            changed = source[: match.start()] + match.expand(replacement) + source[match.end() :]
            yield Mutant(kind, source.count("\n", 0, match.start()) + 1, changed)
    yield from _shifted(source)


_REPLACED = (
    ("barrier removed", r"__sync(?:threads|warp)\(\);", ""),
    ("wait removed", r'asm volatile\("cp\.async\.wait_group \d;(?:\\n)?" ::: "memory"\);', ""),
    ("wait too weak", r"cp\.async\.wait_group 0;", "cp.async.wait_group 1;"),
    ("limit one too far", r"(?<=\w) < (?=\w)", " <= "),
)


def _shifted(source: str) -> Iterator[Mutant]:
    """Indices one too far, but not sizes in declarations, nor registers of asm statements."""
    for match in _INDEX.finditer(source):
        line = source[source.rfind("\n", 0, match.start()) + 1 : source.find("\n", match.start())]
        if re.match(r"\s*(?:__shared__|float|half|uint32_t|asm|\"|:|//)", line) and "=" not in line.split("[")[0]:
            continue
        end = _closing(source, match.start())
        inside = source[match.end() : end]
        changed = f"{source[: match.start()]}[({inside}) + 1{source[end:]}"
        yield Mutant("index shifted", source.count("\n", 0, match.start()) + 1, changed)


def _closing(source: str, at: int) -> int:
    depth = 0
    for i in range(at, len(source)):
        depth += (source[i] == "[") - (source[i] == "]")
        if depth == 0:
            return i
    raise ValueError("a bracket is never closed")


def verdict(case: Case, source: str, checks: bool = True) -> str:
    """What is noticed: a rule that is broken, wrong numbers, or nothing."""
    for order in ("forward", "reverse"):
        try:
            with simulated_cuda("sm_80", order=order, checks=checks) as simulation:
                if case.error(simulation, source) > case.tolerance:
                    return "numbers"
        except KernelError as error:
            return f"rule: {error.fault.what}"
    return "nothing"


def main() -> None:
    """Print what is noticed of each kind of change, and all that is not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kernels", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--unchecked", action="store_true")
    arguments = parser.parse_args()
    report(
        (case.name, mutant, verdict(case, mutant.source, not arguments.unchecked))
        for case in (BY_NAME[name] for name in arguments.kernels)
        for mutant in mutants(case.source)
    )


def report(judged: Iterable[tuple[str, Mutant, str]]) -> None:
    """Print the verdicts on mutants of kernels by their kinds, and those that are not noticed."""
    counted: Counter[tuple[str, str]] = Counter()
    for name, mutant, found in judged:
        counted[mutant.kind, found.split(":")[0]] += 1
        if found == "nothing":
            print(f"{name}:{mutant.line}: {mutant.kind}: not noticed", flush=True)
    for kind in sorted({kind for kind, _ in counted}):
        shares = {found: counted[kind, found] for found in ("rule", "numbers", "nothing")}
        print(f"{kind}: {shares['rule']} by a rule, {shares['numbers']} by numbers, {shares['nothing']} not noticed")
    total, missed = sum(counted.values()), sum(n for (_, found), n in counted.items() if found == "nothing")
    print(f"noticed: {total - missed} of {total}")


if __name__ == "__main__":
    main()
