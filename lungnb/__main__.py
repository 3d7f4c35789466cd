"""The verbs of the notebooks from a terminal: `lungnb VERB --help` shows each with an example."""

from __future__ import annotations

import sys  # nothing else is imported outside `main`, because Ctrl-C may come while imports run


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit status.

    0: all is done. 1: some input failed. 2: nothing could be done, for the reason that is printed. 130: Ctrl-C.
    If the reader of the output leaves early, as in `lungnb recipes | head -1`, neither work nor status change.
    """
    try:
        from lungnb.messages import steady_output

        with steady_output() as output:
            status = _run(arguments)
            return output.finish() or status
    except KeyboardInterrupt:
        print("\nlungnb: stopped. Run the same command again to go on where it was.", file=sys.stderr)
        return 130


def _run(arguments: list[str] | None) -> int:
    """Run one verb and return its exit status; print one sentence on what ends it."""
    from lungnb.messages import explain, log_traceback, say

    try:
        from lungnb.commands import make_parser

        options = make_parser().parse_args(arguments)
        return options.run(options) or 0
    except Exception as error:
        log_traceback(error)
        say(f"lungnb: {explain(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
