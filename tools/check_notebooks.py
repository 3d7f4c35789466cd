"""Run notebooks and compare them with their stored outputs: a part of `make test`.

With numbers, such as `08 13`, check these notebooks, after the ones that they need. Three run at a time, with one
thread each. With two at a time, the last of the three trainings would leave one of two cores idle.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_ONCE = 3
TRAINED = ("03", "04", "05")
# The first of those that can start is started, so the long ones come first.
NEEDS = {
    "08": ("02",), "05": ("02",), "04": ("02",), "03": ("02",), "10": ("02",), "09": ("02",), "12": ("02",),
    "06": TRAINED, "07": TRAINED, "13": TRAINED, "11": (), "01": (), "02": ("01",), "00": (),
}  # fmt: skip
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-sanitize-with", str(ROOT / "tests" / "nbval.cfg"))


def main() -> int:
    """Check the notebooks that the arguments name, or all; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="lungnb-") as home:
        check = partial(check_notebook, environment=os.environ | ONE_THREAD | {"LUNGNB_NBVAL_HOME": home})
        return 0 if check_in_order(with_needed(sys.argv[1:] or NEEDS), check) else 1


def with_needed(names: Iterable[str]) -> list[str]:
    """Return the numbers of the notebooks, and of all that they need."""
    needed = {*names}
    while more := {other for name in needed for other in NEEDS[name]} - needed:
        needed |= more
    return sorted(needed)


def check_in_order(names: list[str], check: Callable[[str], bool]) -> bool:
    """Check each notebook when those that it needs have passed; start none after one has failed.

    Return whether all passed.
    """
    sorter = TopologicalSorter({name: NEEDS[name] for name in names})
    sorter.prepare()
    ready: list[str] = []
    running: dict[Future[bool], str] = {}
    passed = True
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while running or (passed and sorter.is_active()):
            ready = sorted([*ready, *sorter.get_ready()], key=[*NEEDS].index)
            while passed and ready and len(running) < AT_ONCE:
                name = ready.pop(0)
                running[pool.submit(check, name)] = name
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                sorter.done(running.pop(ended))
                passed = ended.result() and passed
    return passed


def check_notebook(name: str, environment: dict[str, str]) -> bool:
    """Run a notebook under nbval; print how long it took, and what differs. Return whether it passed."""
    start = time.monotonic()
    file = next((ROOT / "notebooks").glob(f"{name}_*.ipynb"))
    # No cache, because two processes would write into the same one.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *NBVAL, str(file)]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    passed = result.returncode == 0
    print(f"{file.name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - start:.0f} s", flush=True)
    if not passed:
        print(result.stdout, flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
