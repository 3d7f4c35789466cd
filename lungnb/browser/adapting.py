"""Train a network on corrected pairs in a thread, and pass on what the training prints."""

import io
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path

from lungnb.artefacts import MODEL
from lungnb.evaluation.adaptation import adapt_network
from lungnb.messages import explain, log_traceback

_MAX_DOUBTS = 5  # sentences on images, in the status line


def free_folder(place: Path) -> Path:
    """Return the path of a folder in `place` that holds no network yet: `adapted-1`, or the next number.

    It may hold an interrupted training, which then continues.
    """
    folders = (place / f"adapted-{number}" for number in count(1))
    return next(folder for folder in folders if not (folder / MODEL).exists())


def adapt_in_thread(
    folder: Path, out: Path, start: Path | None, on_line: Callable[[str], None],
    on_end: Callable[[Path | None, str], None],
) -> threading.Thread:  # fmt: skip
    """Train a network further on the corrected pairs in `folder`, in a thread; return the thread.

    `start` is the file of the network to start from; None means the one that lungnb ships. `on_line` takes each line
    that is printed. At the end, `on_end` takes the file of the new network, in `out`, and the last sentences, or
    None and a sentence on the error.
    """

    def work() -> None:
        try:
            lines = _Lines(threading.get_ident(), on_line)
            with redirect_stdout(lines):
                adapt_network(folder, out, start)  # without the chart, because drawing is not safe in a thread
                doubts, benefit = lines.sentences[:-1], lines.sentences[-1:]
                more = [f"And {len(doubts) - _MAX_DOUBTS} more."] if len(doubts) > _MAX_DOUBTS else []
                on_end(out / MODEL, " ".join([*doubts[:_MAX_DOUBTS], *more, *benefit]))
        except Exception as error:
            log_traceback(error)
            on_end(None, explain(error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class _Lines(io.TextIOBase):
    """Replace standard output: pass on the lines of one thread. Other threads print as before."""

    def __init__(self, thread: int, on_line: Callable[[str], None]) -> None:
        self._thread, self._on_line, self._others = thread, on_line, sys.stdout
        self.sentences: list[str] = []

    def write(self, text: str) -> int:
        if threading.get_ident() != self._thread:
            return self._others.write(text)
        if lines := [line.strip() for line in text.splitlines() if line.strip()]:
            if not text.startswith("\r"):  # as progress bars do
                self.sentences += lines
            self._on_line(lines[-1])
        return len(text)

    def flush(self) -> None:
        self._others.flush()
