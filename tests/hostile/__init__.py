"""Hostile and damaged input of all kinds, made here, and a table of how the command answers: `make hostile`.

Each file makes one kind of input. Its `cases()` yields the cases; a case is made when it is run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SEGMENT = ("segment", "{path}", "{good}", "--out", "{out}", "--engine", "onnx")


class Case(NamedTuple):
    """One hostile input, and what is done with it.

    `make` writes it at a path. `command` holds the arguments of lungnb, where {path} is the input, {good} a good film,
    {out} an empty folder and {home} the project folder. `answer` is `mask`, `sentence`, or `either` if both are right.
    """

    name: str  # plain ASCII, for the table
    make: Callable[[Path], object]
    answer: str = "either"
    file: str = ""  # the name on disk, if it is another
    command: tuple[str, ...] = SEGMENT

    @property
    def file_name(self) -> str:
        """Return the name on disk."""
        return self.file or self.name


def of_bytes(
    name: str, content: Callable[..., bytes], *arguments: object, answer: str = "either", **options: object
) -> Case:
    """Return a case whose file holds what `content(*arguments, **options)` returns."""
    return Case(name, lambda path: path.write_bytes(content(*arguments, **options)), answer)


def all_cases() -> dict[str, dict[str, Case]]:
    """Return the cases of every kind, by kind and name."""
    from hostile import archives, bmp, commands, dicom_cases, gif, good, jpeg, mixed, models, nifti, places, png, tiff

    kinds = (good, png, jpeg, bmp, gif, tiff, dicom_cases, nifti, mixed, places, archives, models, commands)
    return {
        kind.__name__.rpartition(".")[2].removesuffix("_cases"): {case.name: case for case in kind.cases()}
        for kind in kinds
    }
