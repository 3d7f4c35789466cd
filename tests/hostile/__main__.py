"""Run lungnb on hostile input, and print and write a table: `make hostile`, or `make hostile CASES='png thin'`.

Each case is run in a process that has its engine loaded, with a good film after it: whatever the hostile file is, the
good film must get its mask. The table holds the seconds, and the memory above that of the process before.
"""

import argparse
import csv
import shutil
import sys
import tempfile
import time
from functools import reduce
from pathlib import Path

from hostile import Case, all_cases
from hostile.answers import RIGHT, judge, over_limits
from hostile.commands import INTO
from hostile.worker import Worker
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom

COLUMNS = ("kind", "input", "kB", "seconds", "CPU s", "MB", "answer", "sentence")
KEPT = ("home/data/prepared/kept/manifest.csv", "home/data/raw/kept/x.png", "home/results/kept/model.keras")


class Sandbox:
    """A temporary folder with a good film, a project folder that holds files, and all that the cases write."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.good = folder, folder / "good.png"
        write_png(self.good, make_phantom(0, size=256).image)
        for name in (*KEPT, "logs/x", "cache/x"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name in KEPT:
                (folder / name).write_bytes(b"kept")
        self.workers = {engine: Worker(folder, engine) for engine in ("onnx", "keras")}

    def run(self, kind: str, case: Case) -> dict:
        """Make a case, run it, and return its row of the table."""
        path, out = self.folder / "in" / case.name / case.file_name, self.folder / "out" / case.name
        path.parent.mkdir(parents=True)
        out.parent.mkdir(exist_ok=True)
        worker = self.workers["keras" if "keras" in case.command else "onnx"]
        worker.start()  # which writes the mask and the journal that cases compare with, or forge
        case.make(path)
        kilobytes, log = _kilobytes(path), self.folder / "logs" / f"{case.name}.txt"
        places = {"{path}": path, "{good}": self.good, "{out}": out, "{home}": self.folder / "home"}
        command = [
            reduce(lambda part, place: part.replace(place, str(places[place])), places, part) for part in case.command
        ]
        mask = (self.folder / f"first_{worker.engine}" / "good_mask.png").read_bytes()
        before = self._names() | {out}
        taken = worker.run(command, log)
        text = log.read_text(errors="replace") if log.exists() else ""
        written = path if case.command == INTO else out
        answer, sentence = judge(case, taken, path, written, text, self.good, mask)
        if strays := self._names() - before:
            answer, sentence = "ESCAPED", ", ".join(map(str, strays))
        if any(not (self.folder / name).exists() for name in KEPT):
            answer = "LOST"
        if answer in RIGHT:
            answer = over_limits(taken, kilobytes) or answer
        numbers = f"{kilobytes:.1f}", f"{taken.seconds:.2f}", f"{taken.cpu_seconds:.2f}", f"{taken.mb:.0f}"
        values = (kind, case.name, *numbers, answer, sentence)
        return dict(zip(COLUMNS, values, strict=True))

    def clear(self, case: Case) -> None:
        """Remove what a case wrote."""
        for part in ("in", "out"):
            shutil.rmtree(self.folder / part / case.name, ignore_errors=True)

    def stop(self) -> None:
        """End the workers."""
        for worker in self.workers.values():
            worker.stop()

    def _names(self) -> set[Path]:
        """Return what lies in the folders into which no command may write."""
        return {file for place in (".", "in", "out", "home") for file in (self.folder / place).iterdir()}


def chosen(words: list[str]) -> list[tuple[str, Case]]:
    """Return the cases of the kinds that are given, or with the given parts of names; all cases for no words."""
    kinds = all_cases()
    parts = [word for word in words if word not in kinds]
    cases = [(kind, case) for kind, cases in kinds.items() for case in cases.values()]
    return [(kind, case) for kind, case in cases if not words or kind in words or any(p in case.name for p in parts)]


def _kilobytes(path: Path) -> float:
    """Return the size of a file, or of the files in a folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size / 1000
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir()) / 1000


def main() -> int:
    """Run the cases; return 1 if the answer to one of them is wrong."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="kinds, or parts of names; default: all cases")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/hostile.csv"), help="the table")
    parser.add_argument("--keep", type=Path, help="work in this new folder, and keep input, masks and logs")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="lungnb-hostile-"))
    folder.mkdir(parents=True, exist_ok=True)
    sandbox, started, wrong = Sandbox(folder.resolve()), time.perf_counter(), []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    cases = chosen(options.cases)
    try:
        with options.out.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            for kind, case in cases:
                row = sandbox.run(kind, case)
                wrong += [] if row["answer"] in RIGHT else [row]
                row["sentence"] = ascii(row["sentence"].replace(str(sandbox.folder), ""))[1:-1]  # names may be hostile
                table.writerow(row)
                file.flush()
                _show(row)
                if not options.keep:
                    sandbox.clear(case)
    finally:
        sandbox.stop()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - started
    print(f"\n{len(cases)} cases in {seconds:.0f} s, {len(wrong)} answered wrongly; see {options.out}")
    for row in wrong:
        _show(row)
    return 1 if wrong else 0


def _show(row: dict) -> None:
    numbers = f"{row['seconds']:>6} s {row['MB']:>5} MB {row['kB']:>9} kB"
    print(f"{row['answer']:14} {numbers}  {row['kind']:8} {row['input']:44} {row['sentence']:.110}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
