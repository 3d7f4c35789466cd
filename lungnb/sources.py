"""The catalogue of data sets (where, licence, citation, checksum, layout) and `download`, which brings one here."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import os
import re
import shutil
import socket
import stat
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
from tqdm import tqdm

from lungnb.files import remove, written
from lungnb.settings import holds_data, home, is_path, raw_folder, raw_root

DRIVE_URL = "https://drive.google.com/uc?id={id}"
KAGGLE_URL = "https://www.kaggle.com/api/v1/datasets/download/{id}"  # public data sets need no account there
TIMEOUT = 60  # seconds without a byte before a server is given up
MAX_FILES, MAX_BYTES = 200_000, 100 * 2**30  # of an unpacked archive
# Real masks shrink a thousandfold (an empty slice is all zeros), so the ratio counts for large files alone.
MAX_RATIO, LARGE = 200, 64 * 2**20


class DownloadError(OSError):
    """A data set could not be brought here; the message says which file to fetch by hand and where to put it."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file, and the addresses it is fetched from, tried in order.

    An address is a URL, `drive:<id>`, `kaggle:<owner>/<data set>` or `kaggle:<competition>`; none means by hand.
    """

    name: str
    addresses: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set: what it is, on which terms, where its files are, and how their names are read."""

    name: str
    title: str
    kind: str  # xray, ct, or own
    licence: str
    citation: str
    homepage: str = ""
    files: tuple[RemoteFile, ...] = ()
    has_masks: bool = True
    mask_values: tuple[int, ...] | None = None  # grey values that mean lung, where a mask marks several organs
    patient_pattern: str = r"(.+)"  # regular expression whose first group, found in an image's name, is the patient
    skip: tuple[str, ...] = ()  # members of the archives, by part of their path, that are left packed
    note: str = ""


_JAEGER = "Jaeger S et al. Automatic tuberculosis screening using chest radiographs. IEEE TMI 2014;33(2):233-245"
_CANDEMIR = (
    "Candemir S et al. Lung segmentation in chest radiographs using anatomical atlases with nonrigid registration. "
    "IEEE TMI 2014;33(2):577-590"
)
_STIRENKO = (
    "Stirenko S et al. Chest X-ray analysis of tuberculosis by deep learning with segmentation and augmentation. "
    "IEEE ELNANO 2018:422-428"
)
_MADER = "Mader K. Finding and measuring lungs in CT data. Kaggle 2017"
_NLM = "attribution to the US National Library of Medicine (NLM/NIH, Bethesda)"
_TUBERCULOSIS = "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/"
_ZENODO = "https://zenodo.org/records/3757476"
_UNTRIED = "The address could not be tried when this was written."

_SOURCES = (
    Source(
        name="phantom",
        title="Synthetic chest X-rays with exact lung masks",
        kind="xray",
        licence="MIT, as lungnb itself",
        citation="None needed: drawn by lungnb, no patient's data",
        patient_pattern=r"(patient_\d+)",
        note="Made on the spot in seconds, without a network; for learning and for tests, not for conclusions.",
    ),
    Source(
        name="montgomery",
        title="Montgomery County chest X-rays (138)",
        kind="xray",
        licence=_NLM,
        citation=f"{_JAEGER}; {_CANDEMIR}",
        homepage=_TUBERCULOSIS,
        files=(
            RemoteFile(
                "NLM-MontgomeryCXRSet.zip", ("https://openi.nlm.nih.gov/imgs/collections/NLM-MontgomeryCXRSet.zip",)
            ),
        ),
        patient_pattern=r"(.+?)_[01]$",
        note=f"Left and right lung in separate masks. {_UNTRIED} No published checksum.",
    ),
    Source(
        name="chest-xray-masks-and-labels",
        title="Montgomery and Shenzhen chest X-rays together",
        kind="xray",
        licence=f"images: {_NLM}; Shenzhen masks: CC BY-NC-SA 4.0",
        citation=f"{_JAEGER}; {_CANDEMIR}; {_STIRENKO}",
        homepage="https://www.kaggle.com/datasets/nikhilpandey360/chest-xray-masks-and-labels",
        files=(
            RemoteFile(
                "chest-xray-masks-and-labels.zip",
                ("drive:1c8dcQiwQgFQ5G0K6-B0tOdxAXB5Mo7qz", "kaggle:nikhilpandey360/chest-xray-masks-and-labels"),
            ),
        ),
        patient_pattern=r"(.+?)_[01]$",
        skip=("data/Lung Segmentation/",),  # Kaggle's archive holds everything twice
        note=f"Some images have no mask. {_UNTRIED}",
    ),
    Source(
        name="finding-lungs-in-ct-data",
        title="Axial CT slices, one a patient",
        kind="ct",
        licence="research use; see the homepage",
        citation=_MADER,
        homepage="https://www.kaggle.com/datasets/kmader/finding-lungs-in-ct-data",
        files=(RemoteFile("finding-lungs-in-ct-data.zip", ("kaggle:kmader/finding-lungs-in-ct-data",)),),
        patient_pattern=r"(ID_\d+)",
        skip=("3d_",),
        note=f"Hounsfield units. The set's few 3D volumes are left packed. {_UNTRIED}",
    ),
    Source(
        name="lung-ct-bmp",
        title="Axial CT slices as 8-bit BMP (89)",
        kind="ct",
        licence="research use",
        citation=_MADER,
        files=(RemoteFile("lung_ct_bmp.zip"),),
        patient_pattern=r"(ID_\d+)",
        note="From the set above, window -1000 to 400 HU. No public address: put the archive in place by hand.",
    ),
    Source(
        name="shenzhen",
        title="Shenzhen chest X-rays (662; masks for 566)",
        kind="xray",
        licence=f"images: {_NLM}; masks: CC BY-NC-SA 4.0",
        citation=f"{_JAEGER}; {_CANDEMIR}; {_STIRENKO}",
        homepage=_TUBERCULOSIS,
        files=(
            RemoteFile("ChinaSet_AllFiles.zip", ("https://openi.nlm.nih.gov/imgs/collections/ChinaSet_AllFiles.zip",)),
            RemoteFile("shcxr-lung-mask.zip", ("kaggle:yoctoman/shcxr-lung-mask",)),
        ),
        patient_pattern=r"(.+?)_[01]$",
        note="3.8 GB. Images and masks come from different publishers; their addresses could not be tried.",
    ),
    Source(
        name="minijsrt",
        title="JSRT chest X-rays, small (247), lung and heart marked",
        kind="xray",
        licence="the JSRT's own terms, research and education; see the homepage",
        citation=(
            "Shiraishi J et al. Development of a digital image database for chest radiographs with and without a lung "
            "nodule. AJR 2000;174(1):71-74"
        ),
        homepage="http://imgcom.jsrt.or.jp/minijsrtdb/",
        files=(
            RemoteFile(
                "segmentation02.zip",
                ("http://imgcom.jsrt.or.jp/imgcom/wp-content/uploads/2019/07/segmentation02.zip",),
                "f1432af4fcbd69342cf1bf2ca3d0d43b9535cdc6b160b86191b5b67de2fdbf3c",
            ),
        ),
        mask_values=(255,),
        skip=("_train/", "_test/", "_train_s/", "/result/"),  # the same films again, split
        note="255 lung, 170 outside the lung, 85 heart. Segmentation01 (60 of the same films) is left out.",
    ),
    Source(
        name="covid19-ct-seg",
        title="CT volumes of COVID-19 patients (20), NIfTI",
        kind="ct",
        licence="CC BY 4.0, as the Zenodo record lists it",
        citation=(
            "Ma J et al. Toward data-efficient learning: a benchmark for COVID-19 CT lung and infection segmentation. "
            "Med Phys 2021;48(3):1197-1210, doi:10.1002/mp.14676"
        ),
        homepage=_ZENODO,
        files=(
            RemoteFile(
                "COVID-19-CT-Seg_20cases.zip",
                (f"{_ZENODO}/files/COVID-19-CT-Seg_20cases.zip?download=1",),
                "a5060480eff9315b069b086312dac4872777901fb80d268a5a83edd9f4e7b440",
            ),
            RemoteFile(
                "Lung_Mask.zip",
                (f"{_ZENODO}/files/Lung_Mask.zip?download=1",),
                "f060b0d0299939a6d95ddefdbfa281de1a779c4d230a5adbd32414711d6d8187",
            ),
        ),
        mask_values=(1, 2),
        patient_pattern=r"(coronacases_\d+|radiopaedia_\d+)",
        note="1.1 GB; left and right lung are 1 and 2. The addresses could not be tried.",
    ),
    Source(
        name="rsna-pneumonia",
        title="RSNA pneumonia challenge, chest X-rays as DICOM",
        kind="xray",
        licence="the competition's rules, to be accepted on Kaggle",
        citation=(
            "Shih G et al. Augmenting the National Institutes of Health chest radiograph dataset with expert "
            "annotations of possible pneumonia. Radiol Artif Intell 2019;1(1):e180041, doi:10.1148/ryai.2019180041"
        ),
        homepage="https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge",
        files=(RemoteFile("rsna-pneumonia-detection-challenge.zip", ("kaggle:rsna-pneumonia-detection-challenge",)),),
        has_masks=False,
        note=f"No lung masks: images to segment, not to train on. Needs a Kaggle account. {_UNTRIED}",
    ),
)
CATALOGUE: dict[str, Source] = {source.name: source for source in _SOURCES}


def catalogue() -> pd.DataFrame:
    """Return the catalogue, a row a data set: what it is, on which terms, how it comes, and whether it is here."""
    rows = [
        {
            "name": source.name,
            "kind": source.kind,
            "title": source.title,
            "licence": source.licence,
            "masks": source.has_masks,
            "comes": _comes(source),
            "here": holds_data(raw_folder(source.name)),
        }
        for source in CATALOGUE.values()
    ]
    return pd.DataFrame(rows)


def find_source(dataset: str) -> Source:
    """Return the catalogue's entry for `dataset`, or a general one for a folder of the reader's own.

    Raises ValueError, with the nearest name, for what is neither.
    """
    if dataset in CATALOGUE:
        return CATALOGUE[dataset]
    if is_path(dataset) or (dataset and raw_folder(dataset).is_dir()):
        return Source(raw_folder(dataset).name, "A folder of your own", "own", "your own", "your own")
    near = difflib.get_close_matches(dataset.lower(), CATALOGUE, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(
        f"there is no data set {dataset!r}: {hint}The catalogue has {', '.join(CATALOGUE)}. For images of your own, "
        "give the path of a folder with images/ and masks/ in it, such as ./my-scans."
    )


def download(dataset: str, progress: bool = True) -> Path:
    """Bring a data set here, unless it is, and return its raw folder.

    What lies whole under LUNGNB_RAW is used there, and nothing is ever written there. Anything else is fetched, or
    taken from an archive put in the raw folder by hand, checked and unpacked to data/raw/<dataset>, which appears
    whole or not at all.

    Raises DownloadError, which says what to fetch by hand and where to put it; ValueError for an unknown name;
    FileNotFoundError for a folder of the reader's own without images.

    Example: `download("montgomery")`.
    """
    source, folder = find_source(dataset), raw_folder(dataset)
    if holds_data(folder):
        return folder
    if source.kind == "own":
        raise FileNotFoundError(f"{folder} holds no images: put them in images/ there, and their masks in masks/.")
    files = [(file, _at_hand(file, source, folder) or _fetch(file, source, folder, progress)) for file in source.files]
    with written(folder) as part:
        if not files:
            from lungnb.phantom import write_phantoms

            write_phantoms(part, progress=progress)
        for file, path in files:
            _place(file, path, part, source, folder, progress)
        for entry in folder.iterdir() if folder.is_dir() else ():
            os.replace(entry, part / entry.name)  # archives put there by hand stay
    remove(_arrivals(folder))
    return folder


def unpack(archive: Path, folder: Path, skip: tuple[str, ...] = (), progress: bool = True) -> None:
    """Unpack a zip archive into `folder`, without the members whose path contains one of `skip`.

    Raises ValueError, before anything is written, for an archive that would write elsewhere, make links, or fill the
    disk.
    """
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            _refuse_hostile(member)
        wanted = [m for m in zipped.infolist() if not any(part in f"/{m.filename}" for part in skip)]
        members = wanted or zipped.infolist()
        size = sum(member.file_size for member in members)
        folder.mkdir(parents=True, exist_ok=True)
        if len(members) > MAX_FILES or size > min(MAX_BYTES, shutil.disk_usage(folder).free):
            raise ValueError(f"it holds {len(members):,} files of {size / 1e9:,.1f} GB, more than there is room for")
        for member in tqdm(members, "Unpacking", unit="file", file=sys.stdout, disable=not progress):
            zipped.extract(member, folder)


def _refuse_hostile(member: zipfile.ZipInfo) -> None:
    """Raise ValueError for a member that leads out of the folder, is no plain file or folder, or is a bomb."""
    parts = member.filename.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or parts[0][1:2] == ":":
        raise ValueError(f"its member {member.filename!r} leads out of the folder")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"its member {member.filename!r} is a link or a device")
    if member.file_size > max(LARGE, MAX_RATIO * member.compress_size):
        raise ValueError(f"its member {member.filename!r} would grow to {member.file_size:,} bytes, as a bomb does")


def _place(file: RemoteFile, path: Path, part: Path, source: Source, folder: Path, progress: bool) -> None:
    """Unpack an archive into `part`, or put another file there; turn whatever goes wrong into a sentence."""
    try:
        if not _is_archive(file):
            part.mkdir(exist_ok=True)
            shutil.copy2(path, part / file.name)
        else:
            # Two archives may use the same names within, one for the images and one for their masks.
            unpack(path, part / Path(file.name).stem if len(source.files) > 1 else part, source.skip, progress)
    except Exception as error:  # zipfile and zlib raise many kinds for a damaged archive
        if path.parent == _arrivals(folder) and not isinstance(error, OSError):
            remove(path)  # so that the next run fetches it anew
        raise DownloadError(f"{path} was not unpacked: {_reason(error)}. {_by_hand(file, source)}") from error


def _at_hand(file: RemoteFile, source: Source, folder: Path) -> Path | None:
    """Return the file where the reader put it, or where LUNGNB_RAW has it, once it has passed the checks."""
    for path in (folder / file.name, raw_root() / source.name / file.name):
        if path.exists():
            if fault := _fault(path, file):
                raise DownloadError(f"{path} {fault}; remove it. {_by_hand(file, source)}")
            return path
    return None


def _fetch(file: RemoteFile, source: Source, folder: Path, progress: bool) -> Path:
    """Fetch a file from the first of its addresses that gives it whole, and return where it lies."""
    target, reasons = _arrivals(folder) / file.name, []
    if target.exists() and not _fault(target, file):
        return target  # of an earlier run that another file stopped
    for fetch, address in _attempts(file):
        remove(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fetch(address, target, progress)
            fault = _fault(target, file)
            fault = fault and f"what came {fault}"
        except (Exception, SystemExit) as error:  # each client raises its own; Kaggle's may try to end the program
            fault = _reason(error)
        if not fault:
            return target
        remove(target)
        reasons.append(f"{urlsplit(address).hostname or 'Kaggle'}: {fault}")
    with contextlib.suppress(OSError):
        target.parent.rmdir()  # unless something of use to the next run is in it
    why = f"could not be fetched ({'; '.join(reasons)})" if reasons else "has no public address"
    raise DownloadError(f"{file.name} {why}. {_by_hand(file, source)}")


def _attempts(file: RemoteFile) -> list[tuple[Callable[[str, Path, bool], None], str]]:
    """Return the ways to fetch a file, in order, each with what it is given."""
    attempts: list[tuple[Callable[[str, Path, bool], None], str]] = []
    for address in file.addresses:
        scheme, _, rest = address.partition(":")
        if scheme == "drive":
            attempts.append((_from_drive, DRIVE_URL.format(id=rest)))
        elif scheme == "kaggle":
            attempts += [(_from_web, KAGGLE_URL.format(id=rest))] if "/" in rest else []
            attempts.append((_from_kaggle, rest))
        else:
            attempts.append((_from_web, address))
    return attempts


def _from_web(url: str, target: Path, progress: bool) -> None:
    """Fetch a URL with Keras, under another name until it is whole."""
    from lungnb.backend import keras

    part = target.with_name(f"{target.name}.part")
    remove(part)  # Keras would take what an interrupted run left for the file
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with contextlib.nullcontext() if progress else contextlib.redirect_stdout(io.StringIO()):
            arrived = keras.utils.get_file(part.name, url, cache_dir=str(part.parent), cache_subdir="")
    finally:
        socket.setdefaulttimeout(timeout)
    os.replace(arrived, target)


def _from_drive(url: str, target: Path, progress: bool) -> None:
    """Fetch a Google Drive file with gdown, which keeps what it has of an interrupted one and goes on from there."""
    import gdown

    begun = {path: path.stat().st_size for path in target.parent.glob(f"{target.name}*.part")}
    try:
        gdown.download(url, str(target), quiet=not progress, resume=True, timeout=TIMEOUT)
    except gdown.exceptions.DownloadError as error:
        for path, size in begun.items():
            # A file that changed at its publisher's cannot be gone on with, and gdown would try so for ever.
            if type(error) is gdown.exceptions.DownloadError and path.exists() and path.stat().st_size == size:
                remove(path)
        raise


def _from_kaggle(name: str, target: Path, progress: bool) -> None:
    """Fetch a data set (`owner/name`) or a competition with Kaggle's client, which names the file after it."""
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi  # importing it signs in
    except ImportError as error:
        raise OSError("its client is not installed (pip install 'lungnb[kaggle]')") from error
    except SystemExit as error:
        raise OSError("no Kaggle account set up here") from error
    api = KaggleApi()
    api.authenticate()
    get = api.dataset_download_files if "/" in name else api.competition_download_files
    get(name, path=str(target.parent), quiet=not progress)


def _fault(path: Path, file: RemoteFile) -> str | None:
    """Return what is wrong with a file that arrived, or None."""
    with path.open("rb") as opened:
        start = opened.read(512).lstrip().lower()
        if start.startswith((b"<!doctype html", b"<html")):
            return "is a web page, not the file (a quota, a permission or a login stands before it)"
        opened.seek(0)
        if file.sha256 and hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            return "is not the published file: its SHA-256 checksum differs"
    if _is_archive(file) and not zipfile.is_zipfile(path):
        return "is not a whole zip archive"
    return None


def _by_hand(file: RemoteFile, source: Source) -> str:
    """Return the sentence that says what to do by hand."""
    pages = " or ".join(dict.fromkeys(_page(address) for address in file.addresses))
    fetch = f"Fetch {file.name} by hand from {pages}, put" if pages else f"Put {file.name}"
    folder = home() / "data" / "raw" / source.name
    it = "it under this name " if pages else ""  # browsers get some of these as archive.zip
    return f"{fetch} {it}in the folder {folder}, then run notebook 01, or `lungnb download {source.name}`, again."


def _page(address: str) -> str:
    """Return the address that a browser opens."""
    scheme, _, rest = address.partition(":")
    if scheme == "drive":
        return DRIVE_URL.format(id=rest)
    if scheme == "kaggle":
        return f"https://www.kaggle.com/{'datasets' if '/' in rest else 'competitions'}/{rest}"
    return address


def _comes(source: Source) -> str:
    """Return how a data set gets here, in a word or two."""
    ways = {"drive": "Google Drive", "kaggle": "Kaggle"}
    found = [ways.get(address.partition(":")[0], "web") for file in source.files for address in file.addresses]
    return ", ".join(dict.fromkeys(found)) or ("by hand" if source.files else "made here")


def _reason(error: BaseException) -> str:
    """Return an error as part of a sentence."""
    if "Connection" in type(error).__name__:
        return "no connection"
    text = " ".join(str(error).split()).rpartition(" -- ")[2].split(". ")[0].rstrip(".") or type(error).__name__
    text = re.sub(r"^\[Errno -?\d+\] ", "", text)
    return text if len(text) < 160 else f"{text[:160]}..."


def _is_archive(file: RemoteFile) -> bool:
    return file.name.lower().endswith(".zip")


def _arrivals(folder: Path) -> Path:
    """Return the hidden folder beside a raw folder where downloads arrive."""
    return folder.with_name(f".{folder.name}.download")
