"""The catalogue of data sets: address, licence, citation, checksum and layout of each."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lungnb.artefacts import holds_data, raw_folder
from lungnb.settings import refuse_unknown


@dataclass(frozen=True)
class RemoteFile:
    """A published zip archive. Its addresses are tried in order; without one, it must be fetched by hand."""

    name: str
    addresses: tuple[str, ...] = ()  # URL, drive:<id>, kaggle:<owner>/<data set> or kaggle:<competition>
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set: its title, its terms, its files, and how to find patients and masks in them."""

    name: str
    title: str
    kind: str  # xray, ct, wild (phantoms of both), or own (the user's folder)
    licence: str
    citation: str
    homepage: str = ""
    files: tuple[RemoteFile, ...] = ()
    has_masks: bool = True
    mask_values: tuple[int, ...] | None = None  # grey values of lung, if a mask marks several organs
    patient_pattern: str = r"(.+)"  # regular expression that searches an image's name; its first group is the patient
    group_endings: tuple[tuple[str, str], ...] = ()  # ends of images' names and the groups of such images
    skip: tuple[str, ...] = ()  # do not unpack members of the archives with one of these in their path
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
_OPENI = "https://openi.nlm.nih.gov/imgs/collections"
_ZENODO = "https://zenodo.org/records/3757476"
_BY_DIAGNOSIS = (("_0", "normal"), ("_1", "tuberculosis"))
_UNTRIED = "The address could not be tried when this was written."
_ONE_PERSON = (  # judged by eye from the films of different numbers that are nearest to each other
    "Ten films of Montgomery look like those of four persons under several numbers: 0052 and 0053; 0087 and 0142; "
    "0162, 0166 and 0170; 0264, 0313 and 0316. lungnb counts each number as a patient, so one person can be in two "
    "splits, unless a patient_file says otherwise."
)


def _phantom(name: str, title: str, kind: str, note: str) -> Source:
    citation = "None needed: drawn by lungnb, no patient's data"
    return Source(name, title, kind, "MIT, as lungnb itself", citation, patient_pattern=r"(patient_\d+)", note=note)


_SOURCES = (
    _phantom(
        "phantom", "Synthetic chest X-rays with exact lung masks", "xray",
        "Made on the spot in seconds, without a connection; for learning and for tests, not for conclusions.",
    ),
    _phantom(
        "phantom-ct", "Synthetic axial CT slices with exact lung masks (600)", "ct",
        "Hounsfield units, made on the spot in a minute; what encoders are trained on for weights=phantom.",
    ),
    _phantom(
        "phantom-wild", "Synthetic X-rays and CT slices far beyond what is real (16,000)", "wild",
        "Made on the spot in minutes. The network that comes with lungnb learned from these alone.",
    ),
    Source(
        "montgomery", "Montgomery County chest X-rays (138)", "xray",
        licence=_NLM, citation=f"{_JAEGER}; {_CANDEMIR}", homepage=_TUBERCULOSIS,
        files=(RemoteFile("NLM-MontgomeryCXRSet.zip", (f"{_OPENI}/NLM-MontgomeryCXRSet.zip",)),),
        patient_pattern=r"(.+?)_[01]$", group_endings=_BY_DIAGNOSIS,
        note=f"Left and right lung in separate masks. {_ONE_PERSON} {_UNTRIED} No published checksum.",
    ),
    Source(
        "chest-xray-masks-and-labels", "Montgomery and Shenzhen chest X-rays together", "xray",
        licence=f"images: {_NLM}; Shenzhen masks: CC BY-NC-SA 4.0",
        citation=f"{_JAEGER}; {_CANDEMIR}; {_STIRENKO}",
        homepage="https://www.kaggle.com/datasets/nikhilpandey360/chest-xray-masks-and-labels",
        files=(
            RemoteFile(
                "chest-xray-masks-and-labels.zip",
                ("drive:1c8dcQiwQgFQ5G0K6-B0tOdxAXB5Mo7qz", "kaggle:nikhilpandey360/chest-xray-masks-and-labels"),
            ),
        ),
        patient_pattern=r"(.+?)_[01]$", group_endings=_BY_DIAGNOSIS,
        skip=("data/Lung Segmentation/",),  # Kaggle's archive holds everything twice
        note=f"Some images have no mask. {_ONE_PERSON} {_UNTRIED}",
    ),
    Source(
        "finding-lungs-in-ct-data", "Axial CT slices, one a patient", "ct",
        licence="research use; see the homepage", citation=_MADER,
        homepage="https://www.kaggle.com/datasets/kmader/finding-lungs-in-ct-data",
        files=(RemoteFile("finding-lungs-in-ct-data.zip", ("kaggle:kmader/finding-lungs-in-ct-data",)),),
        patient_pattern=r"(ID_\d+)", skip=("3d_",),
        note=f"Hounsfield units. The set's few 3D volumes are left packed. {_UNTRIED}",
    ),
    Source(
        "lung-ct-bmp", "Axial CT slices as 8-bit BMP (89)", "ct",
        licence="research use", citation=_MADER,
        files=(RemoteFile("lung_ct_bmp.zip"),),
        patient_pattern=r"(ID_\d+)",
        note="From finding-lungs-in-ct-data, window -1000 to 400 HU. No public address: place the archive by hand.",
    ),
    Source(
        "shenzhen", "Shenzhen chest X-rays (662; masks for 566)", "xray",
        licence=f"images: {_NLM}; masks: CC BY-NC-SA 4.0",
        citation=f"{_JAEGER}; {_CANDEMIR}; {_STIRENKO}", homepage=_TUBERCULOSIS,
        files=(
            RemoteFile("ChinaSet_AllFiles.zip", (f"{_OPENI}/ChinaSet_AllFiles.zip",)),
            RemoteFile("shcxr-lung-mask.zip", ("kaggle:yoctoman/shcxr-lung-mask",)),
        ),
        patient_pattern=r"(.+?)_[01]$", group_endings=_BY_DIAGNOSIS,
        note="3.8 GB. Images and masks come from different publishers; their addresses could not be tried.",
    ),
    Source(
        "minijsrt", "JSRT chest X-rays, small (247), lung and heart marked", "xray",
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
        "covid19-ct-seg", "CT volumes of COVID-19 patients (20), NIfTI", "ct",
        licence="CC BY 4.0, as the Zenodo record lists it",
        citation=(
            "Ma J et al. Toward data-efficient learning: a benchmark for COVID-19 CT lung and infection segmentation. "
            "Med Phys 2021;48(3):1197-1210, doi:10.1002/mp.14676"
        ),
        homepage=_ZENODO,
        files=(
            RemoteFile(
                "COVID-19-CT-Seg_20cases.zip", (f"{_ZENODO}/files/COVID-19-CT-Seg_20cases.zip?download=1",),
                "a5060480eff9315b069b086312dac4872777901fb80d268a5a83edd9f4e7b440",
            ),
            RemoteFile(
                "Lung_Mask.zip", (f"{_ZENODO}/files/Lung_Mask.zip?download=1",),
                "f060b0d0299939a6d95ddefdbfa281de1a779c4d230a5adbd32414711d6d8187",
            ),
        ),
        mask_values=(1, 2), patient_pattern=r"(coronacases_\d+|radiopaedia_\d+)",
        note=(
            "1.1 GB; left and right lung are 1 and 2. The radiopaedia volumes are greys from 0 to 255 "
            "already (-1250 to 250 HU), and are left out where a window is set. The addresses could not be tried."
        ),
    ),
    Source(
        "rsna-pneumonia", "RSNA pneumonia challenge, chest X-rays as DICOM", "xray",
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
)  # fmt: skip
CATALOGUE: dict[str, Source] = {source.name: source for source in _SOURCES}

# Number of phantoms: X-rays for a first run, slices to train an encoder, wild ones of both to train a whole network.
PHANTOMS = {"xray": 120, "ct": 600, "wild": 16_000}


def catalogue() -> pd.DataFrame:
    """Return the catalogue, one row per data set; `comes` is the way to get it, `here` says if its data are on disk.

    Example:
        >>> table = catalogue()
        >>> table.loc[table["kind"] == "ct", "name"].tolist()
        ['phantom-ct', 'finding-lungs-in-ct-data', 'lung-ct-bmp', 'covid19-ct-seg']
    """
    table = pd.DataFrame(list(CATALOGUE.values())).rename(columns={"has_masks": "masks"})
    table["comes"] = [_comes(source) for source in CATALOGUE.values()]
    table["here"] = [holds_data(raw_folder(name)) for name in CATALOGUE]
    return table[["name", "kind", "title", "licence", "masks", "comes", "here"]]


def find_source(dataset: str) -> Source:
    """Return the catalogue's entry for `dataset`, or a general one for the user's own folder.

    Raises ValueError, with the nearest name, for any other name.

    Example:
        >>> find_source("montgomery").title
        'Montgomery County chest X-rays (138)'
    """
    if dataset in CATALOGUE:
        return CATALOGUE[dataset]
    refuse_unknown(dataset)
    return own_source(raw_folder(dataset))


def own_source(folder: Path) -> Source:
    """Return the general entry for a user's own folder.

    Example:
        >>> own_source(Path("scans/mychest")).name
        'mychest'
    """
    return Source(folder.name, "A folder of your own", "own", "your own", "your own")


def _comes(source: Source) -> str:
    """Return the way to get a data set, in a word or two."""
    sites = {"drive": "Google Drive", "kaggle": "Kaggle"}
    ways = [sites.get(address.partition(":")[0], "web") for file in source.files for address in file.addresses]
    return ", ".join(dict.fromkeys(ways)) or ("by hand" if source.files else "made here")
