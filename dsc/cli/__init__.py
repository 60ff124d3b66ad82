"""The command line: `dsc VERB ...`, one small file a verb."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the program `dsc`."""
    try:
        from dsc.cli.app import app

        app(prog_name="dsc")
    except KeyboardInterrupt:  # while modules load; later ones are seen by the verb's guard
        print("dsc: error: interrupted", file=sys.stderr)
        sys.exit(130)
