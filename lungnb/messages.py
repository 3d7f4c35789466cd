"""Messages to a person: lines on a terminal, and tracebacks in a log on request."""

import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

LOG = "LUNGNB_LOG"  # the environment variable that names the file for tracebacks
_PACKAGE = str(Path(__file__).parent)
# What to run first, by what is missing.
_FIRST = {
    "raw": "run notebook 01, or `lungnb download {dataset}`,",
    "prepared": "run notebook 02, or `lungnb prepare {dataset}`,",
    "trained": "train it (notebooks 03 to 05, or `lungnb train {dataset} --model {model}`)",
    "encoder": "run `lungnb.fetch_weights(settings)`, or `lungnb train {dataset}`,",
    "any model": "run notebooks 01 to 05, or `lungnb train`,",
    "scored": "score the models (notebook 06, or `lungnb evaluate`)",
    "compared": "compare the models (notebook 06, or `lungnb report`)",
    "searched": "search (notebook 12)",
}
GALLERY = "the gallery of notebook 02"  # which shows the images and masks of a data set
_Item = TypeVar("_Item")


def run_first(missing: str, dataset: str = "", model: str = "") -> str:
    """Return a clause for `files.need`: the notebook or command that makes what is missing.

    Example:
        >>> run_first("prepared", "montgomery")
        'run notebook 02, or `lungnb prepare montgomery`,'
    """
    return _FIRST[missing].format(dataset=dataset, model=model)


def printable(text: object) -> str:
    r"""Return `text` as one line that cannot steer a terminal.

    File names may hold any character. Escape sequences, line breaks and marks that change the writing direction become
    `\x1b`, `\n` or `\u202e`. A byte of a file name that is not UTF-8 becomes `\xff`.

    Example:
        >>> print(printable("film 1.png"), printable("\x1b[31mfilm"))
        film 1.png \x1b[31mfilm
    """
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def print_lines(*lines: object, file: TextIO | None = None) -> None:
    """Print each of `lines` as one `printable` line, on standard output or on `file`."""
    for line in lines:
        print(printable(line), file=file)


def progress_bar(
    items: Iterable[_Item], title: str, unit: str = "image", progress: bool = True, delay_seconds: float = 0
) -> Iterable[_Item]:
    """Return items to loop over. With `progress`, show a bar on standard output after a delay."""
    from tqdm import tqdm  # imported here, because most messages need no bar

    return tqdm(items, printable(title), unit=unit, file=sys.stdout, disable=not progress, delay=delay_seconds)


def explain(error: BaseException) -> str:
    """Return what to print about an error that ends a command: the error's own sentence if lungnb raised it.

    Any other error is a bug in lungnb or in a library. For it, name the kind of the error and the line of lungnb.
    """
    frames = traceback.extract_tb(error.__traceback__)
    has_sentence = isinstance(error, (ValueError, OSError, RuntimeError, ImportError))
    if isinstance(error, OSError) and isinstance(error.filename, (str, bytes)) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}."
    if has_sentence and frames and _is_ours(frames[-1]):
        return str(error)
    place = next((f"{Path(at.filename).name}:{at.lineno}" for at in reversed(frames) if _is_ours(at)), "lungnb")
    what = f": {error}" if has_sentence and str(error) else ""
    log = os.environ.get(LOG)
    hint = f"Its traceback is in {log}." if log else f"Set {LOG}=FILE to keep its traceback in FILE."
    return f"unexpected {type(error).__name__} at {place}{what.rstrip('.')}. {hint}"


def log_traceback(error: BaseException) -> None:
    """Append the traceback of an error and of its causes to the file that LUNGNB_LOG names, if any. Never raises.

    Leave out the messages, because a library's message may repeat a patient's data from a DICOM file.
    """
    if not os.environ.get(LOG):
        return
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    lines = [datetime.now(UTC).isoformat(timespec="seconds")]
    for link in reversed(chain):
        lines.append(f"  {type(link).__module__}.{type(link).__qualname__}")
        frames = traceback.extract_tb(link.__traceback__)
        lines += [printable(f"    {frame.filename}:{frame.lineno} in {frame.name}") for frame in frames]
    with suppress(OSError, ValueError), open(os.environ[LOG], "a", encoding="utf-8", errors="replace") as log:
        log.write("\n".join([*lines, ""]))  # in one call, because threads and processes may share the file


class _Output:
    """A standard stream that drops what it cannot write, instead of raising an error that would end the work.

    A stream cannot be written to if its reader has left, as in `lungnb recipes | head -1`, or if the disk is full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._error: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for a terminal that cannot show all characters

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # it has all that a stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    def finish(self) -> int:
        """Flush; return 0, or 2 and print a sentence if a full disk made it drop something."""
        self.flush()
        if self._error is None or isinstance(self._error, BrokenPipeError):
            return 0
        reason = (self._error.strerror or "").lower()
        print_lines(f"lungnb: standard output: {reason}; not all was printed.", file=sys.stderr)
        return 2

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._error = error
            with open(os.devnull, "w") as nowhere:  # because Python also writes when it exits
                os.dup2(nowhere.fileno(), self._stream.fileno())


@contextmanager
def steady_output() -> Iterator[_Output]:
    """Keep the block running if a stream fails, and print each warning once, as a line; yield standard output."""
    with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
        once = cache(lambda text: print_lines(f"lungnb: {text}", file=sys.stderr))
        warnings.showwarning = lambda message, *_, **__: once(str(message))
        output, errors = (_Output(stream or nowhere) for stream in (sys.stdout, sys.stderr))
        with redirect_stdout(cast(TextIO, output)), redirect_stderr(cast(TextIO, errors)):
            try:
                yield output
            finally:
                output.flush()
                errors.flush()


def _is_ours(frame: traceback.FrameSummary) -> bool:
    """Return whether a line of code is part of lungnb."""
    return frame.filename.startswith(_PACKAGE + os.sep)


def _escape(character: str) -> str:
    r"""Return a character as an escape sequence, such as `\n`; an undecodable byte of a file name as `\xff`."""
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()
