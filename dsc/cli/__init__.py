"""The command line: `dsc VERB ...`, one small file a verb."""

from __future__ import annotations


def main() -> None:
    """Entry point of the program `dsc`."""
    from dsc.cli.app import app

    app(prog_name="dsc")
