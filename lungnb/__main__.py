"""The command line. `lungnb VERB --help` explains a verb with an example."""

import os
import sys  # import the rest in `main`, because Ctrl-C may come during imports


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit status.

    0: everything succeeded. 1: some input failed. 2: nothing could be done; a sentence says why. 130: Ctrl-C. If a pipe
    closes early, as in `lungnb recipes | head -1`, the work continues and the status stays the same.
    """
    try:
        from lungnb.messages import explain, log_traceback, print_lines, steady_output

        if arguments is None and not any(stream and stream.isatty() for stream in (sys.stdout, sys.stderr)):
            os.environ.setdefault("TQDM_MININTERVAL", "60")  # in a log, a progress bar writes only once a minute
        with steady_output() as output:
            try:
                from lungnb.commands.parser import make_parser

                words = sys.argv[1:] if arguments is None else arguments
                options = make_parser().parse_args(words or ["--help"])
                status = int(options.run(options) or 0)
            except Exception as error:
                log_traceback(error)
                print_lines(f"lungnb: {explain(error)}", file=sys.stderr)
                status = 2
            return output.finish() or status
    except KeyboardInterrupt:
        print("\nlungnb: stopped. Run the same command again to continue.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
