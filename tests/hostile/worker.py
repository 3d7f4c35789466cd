"""A process that has its engine loaded and runs lungnb's commands; what each takes is told to the process above.

`Worker` starts it and asks; `main` is what it runs. Linux only: memory is read in /proc.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

HANG_SECONDS, KILL_MB = 60, 4000  # when a command is ended
_GROWN_MB = 60  # what a worker may keep of one command before the next gets a fresh one


class Taken(NamedTuple):
    """What a command took, and how it ended."""

    seconds: float
    mb: float  # above the worker with its engine loaded
    status: int | None = None  # of the command; None if it did not end
    error: str = ""  # the traceback, or HANG, LARGE or KILLED
    cpu_seconds: float = 0.0  # of all threads; far from `seconds` on a machine that is busy


class Worker:
    """A worker process, started anew when it was ended, failed or grew."""

    def __init__(self, sandbox: Path, engine: str = "onnx") -> None:
        self.sandbox, self.engine, self.process, self.base_mb = sandbox, engine, None, 0.0

    def run(self, command: list[str], log: Path) -> Taken:
        """Run a command, whose output goes to `log`."""
        self.start()
        started = time.perf_counter()
        self._send([command, str(log)])
        answer = self._answer()
        if isinstance(answer, str):
            peak = _memory_mb(self.process.pid, "VmHWM") or self.base_mb
            taken = Taken(time.perf_counter() - started, peak - self.base_mb, None, answer)
            self.stop()
            return taken
        if answer["error"] or answer["after_mb"] > self.base_mb + _GROWN_MB:
            self.stop()
        mb = answer["peak_mb"] - self.base_mb
        return Taken(answer["seconds"], mb, answer["status"], answer["error"], answer["cpu_seconds"])

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        self.process = None

    def start(self) -> None:
        """Start the process, if there is none."""
        if self.process is not None:
            return
        environment = os.environ | {
            "LUNGNB_HOME": str(self.sandbox / "home"),
            "LUNGNB_CACHE": str(self.sandbox / "cache"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        for name in ("LUNGNB_RAW", "LUNGNB_SET", "LUNGNB_SEEDS", "LUNGNB_DATASET", "LUNGNB_PROFILE"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hostile.worker", self.engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.sandbox,
            env=environment,
            start_new_session=True,
        )
        answer = self._answer()
        if isinstance(answer, str):
            raise RuntimeError(f"the worker did not start: {answer}.")
        self.base_mb = answer["base_mb"]

    def _send(self, request: list) -> None:
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def _answer(self) -> dict | str:
        """Return what the worker answers, or why it does not."""
        started = time.perf_counter()
        while time.perf_counter() - started < HANG_SECONDS:
            if select.select([self.process.stdout], [], [], 0.05)[0]:
                line = self.process.stdout.readline()
                return json.loads(line) if line else "KILLED"
            if _memory_mb(self.process.pid, "VmRSS") > self.base_mb + KILL_MB:
                return "LARGE"
        return "HANG"


def main() -> None:
    """Load the engine on the good film, then run the commands that come in."""
    answers = os.fdopen(os.dup(1), "w")
    answer = lambda **values: (answers.write(json.dumps(values) + "\n"), answers.flush())  # noqa: E731
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    engine = sys.argv[1]
    _run(["segment", "good.png", "--out", f"first_{engine}", "--engine", engine])
    answer(base_mb=_memory_mb("self", "VmRSS"))
    for line in sys.stdin:
        command, log = json.loads(line)
        for number in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak
        started, cpu, status, error = time.perf_counter(), time.process_time(), None, ""
        try:
            status = _run(command)
        except BaseException:
            error = traceback.format_exc()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        sys.stdout.flush()
        peak, after = (_memory_mb("self", name) for name in ("VmHWM", "VmRSS"))
        answer(seconds=seconds, cpu_seconds=cpu, peak_mb=peak, after_mb=after, status=status, error=error)


def _run(command: list[str]) -> int:
    """Run a command of lungnb, or unpack an archive; return the exit status."""
    if command[0] == "unpack":
        return _unpack(Path(command[1]), Path(command[2]))
    from lungnb.__main__ import main as lungnb

    try:
        return lungnb(command)
    except SystemExit as error:  # of wrong arguments
        return int(error.code or 0)


def _unpack(archive: Path, folder: Path) -> int:
    """Unpack an archive as `lungnb download` does, which makes a sentence of what is raised."""
    from lungnb.datasets.archives import find_fault, unpack
    from lungnb.datasets.sources import RemoteFile

    try:
        if fault := find_fault(archive, RemoteFile("x.zip")):
            raise ValueError(fault)
        unpack(archive, folder, progress=False)
    except Exception as error:
        print(f"lungnb: {archive} was not unpacked: {error}", file=sys.stderr)
        return 2
    return 0


def _memory_mb(process: int | str, name: str) -> float:
    """Return the memory of a process that is resident now (VmRSS), or was at most (VmHWM)."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name)), 0.0)


if __name__ == "__main__":
    main()
