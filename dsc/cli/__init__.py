"""The command line: `dsc VERB ...`, one small file a verb."""

from __future__ import annotations

from dsc.cli.signals import end_although_busy, end_on_signals


def main() -> None:
    """Entry point of the program `dsc`."""
    end_on_signals()  # before anything is imported that takes time
    from dsc.cli.app import app
    from dsc.cli.guard import guarded
    from dsc.cli.streams import open_standard_streams
    from dsc.files import collect_temporary

    open_standard_streams()
    end_although_busy()
    collect_temporary()
    guarded(app)(prog_name="dsc")
