"""Find the image files in a folder and the folders below it."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lungnb.formats.dicom_opening import is_dicom
from lungnb.formats.nifti import is_nifti
from lungnb.formats.rasters import ARCHIVES, IMAGE_SUFFIXES, UNREAD_SUFFIXES, kind_of
from lungnb.settings import counted

# Folders that systems make, in small letters: archives of macOS, network storages, bins, and folders of disks
_OF_SYSTEMS = (
    *("__macosx", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "$recycle.bin", "recycler", "lost+found"),
    "system volume information",
)
_FILES_OF_SYSTEMS = ("thumbs.db", "desktop.ini", ".ds_store")


def image_files(raw: Path) -> list[Path]:
    """Return all files of images and volumes under `raw`, except hidden ones, as sorted paths relative to `raw`.

    Warns of pictures in formats that lungnb does not read, except those that are there in another format, too.
    """
    unread: list[Path] = []
    files = sorted((folder / name).relative_to(raw) for folder, names in image_folders(raw, unread) for name in names)
    stems = {stem_of(file) for file in files}
    if files and (left_out := [str(file.relative_to(raw)) for file in sorted(unread) if file.stem not in stems]):
        what = f"{raw}: left out, because their format is not read: {counted(len(left_out), 'file')}, such as"
        warnings.warn(f"{what} {left_out[0]}. Convert them, or correct their endings.", stacklevel=1)
    return files


def image_folders(raw: Path, unread: list[Path] | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Yield `raw` and each folder below it, with the names of the images and volumes that lie in it.

    Hidden folders and those that systems make are left out. Raises PermissionError if `raw` cannot be read, and warns
    of each folder below it that cannot. `unread` gets the pictures in other formats.
    """
    seen: set[str] = set()  # through links, a folder may contain itself
    for folder, folders, names in os.walk(raw, followlinks=True, onerror=partial(_report, raw)):
        place = os.path.realpath(folder)
        folders[:] = sorted(f for f in folders if place not in seen and f.lower() not in _OF_SYSTEMS and f[0] != ".")
        if place not in seen:
            names = [name for name in names if not name.startswith(".")]
            images = [name for name in names if is_image(Path(folder, name))]
            if unread is not None:
                unread += [path for name in {*names} - {*images} if _is_unread(path := Path(folder, name))]
            yield Path(folder), images
        seen.add(place)


def _report(raw: Path, error: OSError) -> None:
    what = f"{error.filename}: cannot be read: {(error.strerror or '').lower()}."
    if Path(error.filename) != raw:
        warnings.warn(f"{what} Its files are left out.", stacklevel=1)
    elif os.path.isdir(raw):
        raise PermissionError(f"{what} Check its permissions.") from error


def is_image(path: Path) -> bool:
    """Return whether a file is an image or a volume, by its suffix or, if it is DICOM, by its first bytes."""
    return path.suffix.lower() in IMAGE_SUFFIXES or is_nifti(path) or is_dicom(path)


def _is_unread(path: Path) -> bool:
    return path.suffix.lower() in UNREAD_SUFFIXES or bool(kind_of(path))


def stem_of(path: Path) -> str:
    """Return a file's name without the suffix of an image or a volume. Anything else after a dot stays.

    >>> stem_of(Path("chest.v2.nii.gz")), stem_of(Path("1.2.840"))
    ('chest.v2', '1.2.840')
    """
    name = path.name[:-3] if path.name.lower().endswith(".nii.gz") else path.name
    suffix = os.path.splitext(name)[1]
    return name.removesuffix(suffix) if suffix.lower() in (*IMAGE_SUFFIXES, ".nii") else name


def other_files(folder: Path) -> str:
    """Return a sentence, after a space, on the two main kinds of files in a folder that are not read; or ""."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name.lower() not in _FILES_OF_SYSTEMS]
    kinds = Counter(path.suffix.lower() for path in files if path.suffix and not is_image(path))
    nameless = Counter(filter(None, map(kind_of, files)))
    if nameless and nameless.total() > max(kinds.values(), default=0):
        kind, _ = nameless.most_common(1)[0]
        return f" {counted(nameless.total(), 'file')} without an ending cannot be read: end names as in image{kind}."
    parts = [f"{counted(count, 'file')} with the ending {kind}" for kind, count in kinds.most_common(2)]
    remedy = "unpack them" if {*kinds} & {*ARCHIVES} else "convert them"
    return f" {' and '.join(parts)} cannot be read: {remedy}." if parts else ""
