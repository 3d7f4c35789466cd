"""Make all published results from one state of the code: `make publish-all`.

Runs the steps of `publish_steps.py` in order. A finished step is repeated if its commands or its code have changed
since. Its code is the modules of lungnb that it imported, the shipped weights, and the benchmarks or notebooks that it
runs. A step that was finished on another machine counts if its results were committed. An interrupted step continues.
Each step works in a folder of its own, results/publish-all/STEP, and changes results/published at its end.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from lungnb.artefacts import raw_root
from lungnb.files import locked, read_json, remove, write_json
from lungnb.networks.machine import cores, processor
from lungnb.networks.records import code_digest, code_digests, file_digest, git_commit
from publish_steps import STEPS, XRAYS, Step, lay_shenzhen

ROOT = Path(__file__).parents[1]
WORK = ROOT / "results" / "publish-all"
PUBLISHED = ROOT / "results" / "published"
RECORDER = ROOT / "tools" / "imports"  # see sitecustomize.py there
IMPORTS = "imports.txt"  # in a step's own folder
MAX_NAMED = 8  # files in one sentence
PROGRAMS = {"python": [sys.executable], "lungnb": [sys.executable, "-m", "lungnb"]}


def words_of(step: Step, command: str) -> list[str]:
    """Return the words of a command, without placeholders."""
    home = WORK / step.name
    first, *others = shlex.split(command)  # before the paths are put in, because these may have spaces
    for name, path in {"{out}": home / "out", "{home}": home, "{raw}": raw_root()}.items():
        others = [word.replace(name, str(path)) for word in others]
    return [*PROGRAMS[first], *others]


def code_of(step: Step) -> dict[str, str]:
    """Return the digest of each file that a step could use: of lungnb, and the scripts and notebooks that it runs."""
    words = {word for command in step.commands for word in shlex.split(command)}
    scripts = _with_imports({ROOT / word for word in words if word.endswith((".py", ".ipynb"))})
    of_lungnb = {f"lungnb/{name}": digest for name, digest in code_digests().items()}
    return of_lungnb | {script.relative_to(ROOT).as_posix(): file_digest(script) for script in sorted(scripts)}


def used(step: Step, code: dict[str, str]) -> dict[str, str]:
    """Return of `code` what a step has used so far, all but the modules of lungnb that it did not import."""
    file = WORK / step.name / IMPORTS
    names = {name.replace(".", "/") for name in file.read_text(encoding="utf-8").split()} if file.exists() else set()
    imported = {f"{name}{ending}" for name in names for ending in (".py", "/__init__.py")}
    return {
        name: digest
        for name, digest in code.items()
        if name in imported or not (name.startswith("lungnb/") and name.endswith(".py"))
    }


def uses_lungnb(step: Step) -> bool:
    """Return whether a command of a step runs lungnb, or a script or notebook of the project."""
    words = [word for command in step.commands for word in shlex.split(command)]
    return "lungnb" in words or any(word.endswith((".py", ".ipynb")) for word in words)


def _with_imports(files: set[Path]) -> set[Path]:
    """Return files and the scripts in their folders that they import, directly or through others."""
    imported = {
        file.with_name(f"{name}.py")
        for file in files if file.suffix == ".py"
        for name in re.findall(r"(?m)^ *(?:from|import) (\w+)", file.read_text(encoding="utf-8"))
    }  # fmt: skip
    new = {file for file in imported - files if file.exists()}
    return _with_imports(files | new) if new else files


def record_of(step: Step) -> dict[str, Any]:
    """Return what is recorded about a step that began, here or where its results were published; else an empty dict."""
    own = read_json(WORK / f"{step.name}.json")
    published = read_json(PUBLISHED / step.folder / f"step_{step.name}.json")
    done = (record for record in (own, published) if record.get("is_done") and is_current(step, record))
    return next(done, own or published)


def is_current(step: Step, record: dict[str, Any]) -> bool:
    """Return whether a record is of the step's present commands, and the code that it used so far is as it was."""
    code = record.get("code", {})
    code = code if record.get("is_done") else used(step, code)
    return record.get("commands") == [*step.commands] and bool(code) and code.items() <= code_of(step).items()


def missing_of(step: Step) -> str:
    """Return what a step lacks, as a sentence, or nothing."""
    folders = [raw_root() / (XRAYS if name == "shenzhen" else name) for name in step.data]
    lacks = [str(folder) for folder in folders if not folder.is_dir() or not any(folder.iterdir())]
    if lacks:
        return f"{step.name} is skipped, because data are missing: {', '.join(dict.fromkeys(lacks))}."
    packages = [name for name in step.packages if not find_spec(name)]
    return f"{step.name} is skipped, because packages are missing: {', '.join(packages)}." if packages else ""


def state_of(step: Step) -> str:
    """Return the state of a step in words."""
    record = record_of(step)
    if record and not is_current(step, record):
        state = "outdated"
    elif record:
        state = "done" if record.get("is_done") else "begun"
    else:
        state = "to do"
    return "missing" if state != "done" and missing_of(step) else state


def minutes_left(step: Step, state: str) -> float:
    """Return the expected minutes of a step: those that it took the last time, or those that are listed."""
    record = record_of(step)
    if state in ("done", "missing"):
        return 0
    return record["seconds"] / 60 if record.get("is_done") else max(step.minutes - record.get("seconds", 0) / 60, 1)


def show(steps: Iterable[Step]) -> None:
    """Print one row per step, and the total of hours left."""
    rows = [(step.name, (state := state_of(step)), minutes_left(step, state), step) for step in steps]
    print(f"{'step':22}{'state':10}{'minutes left':>13}  folder of results/published, source of the minutes")
    for name, state, minutes, step in rows:
        print(f"{name:22}{state:10}{minutes:13.0f}  {step.folder}, {step.basis or 'estimated'}")
    print(f"{sum(row[2] for row in rows) / 60:.1f} hours left.")
    print(*filter(None, (missing_of(step) for _, state, _, step in rows if state == "missing")), sep="\n")


def collect(step: Step, record: dict[str, Any]) -> None:
    """Copy a step's files into its folder of results/published, with its record as step_NAME.json; record their names.

    In the names of `files`, {file} is the name of the file, and {parent} and {above} are the folders that it lies in.
    """
    home, out = WORK / step.name, WORK / step.name / "out"
    for pattern, name in step.files:
        for file in home.glob(pattern):
            places = {"{file}": file.name, "{parent}": file.parent.name, "{above}": file.parent.parent.name}
            target = name
            for placeholder, text in places.items():
                target = target.replace(placeholder, text)
            (out / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, out / target)
    parts = [file for file in sorted(out.glob("*/comparison.csv")) if not (out / "comparison.csv").exists()]
    if parts:  # a folder for each data set
        tables = {file.parent.name: pd.read_csv(file) for file in parts}
        pd.concat(tables, names=["dataset"]).droplevel(1).reset_index().to_csv(out / "comparison.csv", index=False)
    names = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    record["files"] = sorted(names | {own := f"step_{step.name}.json"})
    write_json(out / own, record)
    shutil.copytree(out, PUBLISHED / step.folder, dirs_exist_ok=True)


def run(step: Step) -> str:
    """Run the commands of a step that are not done yet; return what went wrong, as a sentence, or nothing."""
    file, home, log = WORK / f"{step.name}.json", WORK / step.name, WORK / f"{step.name}.log"
    record = record_of(step)
    if not is_current(step, record):
        remove(home)
        record = {"step": step.name, "commands": [*step.commands], "finished": 0, "seconds": 0, "is_done": False}
        record |= {"git_commit": git_commit(), "machine": {"processor": processor(), "cores": cores()}}
    record |= {"code_digest": code_digest(), "code": code_of(step)}
    write_json(file, record)
    (home / "out").mkdir(parents=True, exist_ok=True)
    if "shenzhen" in step.data:
        lay_shenzhen(home)
    here = os.environ | {"LUNGNB_HOME": str(home), "LUNGNB_RAW": str(raw_root()), "PYTHONUNBUFFERED": "1"}
    here |= {"PYTHONPATH": os.pathsep.join([str(RECORDER), here.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    here |= {"LUNGNB_IMPORTS": str(home / IMPORTS)}
    for name in ("LUNGNB_SET", "LUNGNB_SEEDS", "LUNGNB_DATASET", "LUNGNB_PROFILE"):
        here.pop(name, None)
    for command in step.commands[record["finished"] :]:
        start = time.monotonic()
        try:
            with log.open("a", encoding="utf-8") as opened:
                print(f"$ {command}", file=opened, flush=True)
                done = subprocess.run(words_of(step, command), cwd=ROOT, env=here, stdout=opened, stderr=opened)
            if done.returncode:
                return f"{step.name} failed; see {log}. The other steps go on."
            record["finished"] += 1
        finally:  # also if this run is interrupted
            record["seconds"] += round(time.monotonic() - start)
            write_json(file, record)
    if not is_current(step, record):
        return f"{step.name} must be repeated, because its code changed while it ran. Leave the checkout as it is."
    code = used(step, record["code"])
    if uses_lungnb(step) and not any(name.startswith("lungnb/") and name.endswith(".py") for name in code):
        return f"{step.name} is not done: nobody knows which modules it imported, because {home / IMPORTS} is empty."
    record |= {"is_done": True, "code": code}
    collect(step, record)
    write_json(file, record)
    return ""


def say_strangers(folders: Iterable[str]) -> None:
    """Print which files of folders of results/published no finished step made."""
    made = {(step.folder, name) for step in STEPS for name in record_of(step).get("files", ())}
    for folder in sorted(set(folders)):
        names = (file.relative_to(PUBLISHED / folder) for file in (PUBLISHED / folder).rglob("*") if file.is_file())
        if others := sorted(name.as_posix() for name in names if (folder, name.as_posix()) not in made):
            named = ", ".join(others[:MAX_NAMED]) + (
                f", and {len(others) - MAX_NAMED} more" * (len(others) > MAX_NAMED)
            )
            print(f"{PUBLISHED / folder}: no step made {named}. Remove what is of earlier code.")


def chosen(options: argparse.Namespace) -> list[Step]:
    """Return the steps that the options name, in order."""
    names = [step.name for step in STEPS]
    for name in [*(options.only or []), *filter(None, [options.first])]:
        if name not in names:
            sys.exit(f"there is no step {name!r}: the steps are {', '.join(names)}.")
    steps = STEPS[names.index(options.first) if options.first else 0 :]
    return [step for step in steps if not options.only or step.name in options.only]


def main(words: list[str] | None = None) -> int:
    """Run what is to do; return 1 if a step failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="list the steps, and run none")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="run these steps only")
    parser.add_argument("--from", dest="first", metavar="STEP", help="run this step and later ones")
    options = parser.parse_args(words)
    steps = chosen(options)
    show(steps)
    failed = []
    if not options.list:
        with locked(WORK):
            for step in (step for step in steps if state_of(step) not in ("done", "missing")):
                hours = sum(minutes_left(each, state_of(each)) for each in steps if each not in failed) / 60
                print(f"{time.strftime('%H:%M')} {step.name} begins; about {hours:.1f} hours left.", flush=True)
                if problem := run(step):
                    failed.append(step)
                print(
                    f"{time.strftime('%H:%M')} {problem or f'{step.name} is done: {PUBLISHED / step.folder}'}",
                    flush=True,
                )
            say_strangers(step.folder for step in steps if state_of(step) == "done")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the command that runs, too
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted. `make publish-all` continues where it stopped.")
    except (RuntimeError, OSError) as error:  # another run has the lock, or the disk is full
        sys.exit(str(error))
