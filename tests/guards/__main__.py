"""All subjects, or those whose names hold one of the arguments."""

from __future__ import annotations

import sys

from tests.guards.drive import outcomes
from tests.guards.subjects import subjects


def main() -> None:
    """Exit code 1 where a subject touches what is not its own."""
    wanted = sys.argv[1:]
    chosen = [s for s in subjects() if not wanted or any(part in s.name for part in wanted)]
    found = outcomes(chosen)
    wrong = {name: outcome for name, outcome in found.items() if outcome not in ("ok", "refused")}
    for name, outcome in wrong.items():
        print(f"{name}: {outcome}")
    refused = sum(outcome == "refused" for outcome in found.values())
    print(f"{len(found)} subjects: {len(wrong)} touch what is not theirs or fail, {refused} are refused")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
