"""Layouts of published data sets, as far as they differ from one another: folders, names, patients and splits."""

import functools
import json
import shutil
import warnings

import nibabel
import numpy as np
from PIL import Image

from lungnb.datasets.check import check_dataset
from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import read_mask
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings
from lungnb.segmentation.batch import segment_files
from unusual import Result, case, cases, ct_slice, explained_by, film, judge, out_folder
from unusual.dicoms import DX, dicom, series
from unusual.exports import judge_check, save
from unusual.hospitals import judge_error, judge_words
from unusual.sets import SIZE, judge_folders, judge_set, judge_volumes, nifti, phantoms, slices, write_set

PEOPLE = 12
CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
HEART = (slice(50, 66), slice(42, 58))


@functools.cache
def films():
    """Return films with the masks of both lungs together."""
    return [(each.image, each.mask) for each in (make_phantom(number, size=SIZE) for number in range(PEOPLE))]


def write_layout(raw, place_of):
    """Write films as `place_of(number)` says: the paths of image and mask, the person, and perhaps the split."""
    expected = {}
    for number, (image, mask) in enumerate(films()):
        image_path, mask_path, *truth = place_of(number)
        save(raw / image_path, image)
        save(raw / mask_path, mask * np.uint8(255))
        expected[image_path] = (*truth, None)[:2]
    return expected


def judge_layout(raw, expected, *words):
    """Prepare a data set: right if each film has its whole lungs, its person, and its split if that is known."""
    try:
        settings = make_settings(str(raw))
        manifest = prepare_dataset(settings, progress=False).set_index("source_image")
    except ValueError as error:
        return explained_by(error, *words) if words else Result("wrong", str(error))
    truth = sum(int(mask.sum()) for _, mask in films()[: len(expected)])
    kept = sum(int(read_mask(settings.prepared / mask).sum()) for mask in manifest["mask"])
    if {*manifest.index} != {*expected} or not 0.97 < kept / truth < 1.03:
        return Result("wrong", f"{len(manifest)} pairs, lungs {kept / truth:.2f}")
    pairs = {(manifest["patient"][file], person) for file, (person, _) in expected.items()}
    is_one = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    are_split = all(split in (None, manifest["split"][file]) for file, (_, split) in expected.items())
    said = f"{sorted({*manifest['patient']})} {dict(manifest['split'])}"
    if is_one and are_split:
        return Result("right", said)
    findings = check_dataset(settings, progress=False)
    found = " ".join(findings.loc[findings["severity"] != "note", "what"])
    return Result("explained" if words and all(word in found for word in words) else "wrong", f"{found} | {said}")


# Right: pairs, people, and the splits that folders name. `{n}` is the number of the film, `{p}` of the person, `{i}` of
# the film among those of the person, `{c}` a class, `{s}` the split. After the names of image and mask: how many films
# a person has, the names of the folders of splits, and the split that the second of them is.
TESTS = ("Train", "Test"), "test"
VALIDATION = ("train", "val"), "validation"
LAYOUTS = {
    "COVID-19 Radiography": ("COVID-19_Radiography_Dataset/{c}/images/{c}-{n}.png",
                             "COVID-19_Radiography_Dataset/{c}/masks/{c}-{n}.png"),
    "COVID-QU-Ex": ("Lung Segmentation Data/Lung Segmentation Data/{s}/Non-COVID/images/non_COVID ({n}).png",
                    "Lung Segmentation Data/Lung Segmentation Data/{s}/Non-COVID/lung masks/non_COVID ({n}).png",
                    1, ("Train", "Val"), "validation"),
    "QaTa-COV19": ("QaTa-COV19-v2/{s} Set/Images/covid_{n}.png",
                   "QaTa-COV19-v2/{s} Set/Ground-truths/mask_covid_{n}.png", 1, *TESTS),
    "miniJSRT's Segmentation01": ("Segmentation01/{s}/org/case{n:03}.bmp", "Segmentation01/{s}/label/case{n:03}.png",
                                  1, *TESTS),
    "Shenzhen, from two sets of Kaggle": ("ChinaSet_AllFiles/ChinaSet_AllFiles/CXR_png/CHNCXR_{n:04}_0.png",
                                          "shcxr-lung-mask/mask/mask/CHNCXR_{n:04}_0_mask.png"),
    "SIIM as PNG": ("siim/png_images/{n}_train_1_.png", "siim/png_masks/{n}_train_1_.png"),
    "Carvana's folders": ("train/{n:03}.jpg", "train_masks/{n:03}_mask.gif"),
    "YOLO's folders": ("images/{s}/{n:03}.jpg", "labels/{s}/{n:03}.png", 1, *VALIDATION),
    "nnU-Net with PNG": ("Dataset501_CXR/images{s}/cxr_{n:03}_0000.png", "Dataset501_CXR/labels{s}/cxr_{n:03}.png",
                         1, ("Tr", "Ts"), "test"),
    "Hugging Face's folders": ("data/{s}/image/{n}.png", "data/{s}/label/{n}.png", 1, ("train", "test"), "test"),
    "MMSegmentation": ("img_dir/{s}/{n:03}.png", "ann_dir/{s}/{n:03}.png", 1, *VALIDATION),
    "CamVid": ("{s}/{n:03}.png", "{s}annot/{n:03}.png", 1, *VALIDATION),
    "CamVid's _labels": ("{s}/{n:03}.png", "{s}_labels/{n:03}_L.png", 1, *VALIDATION),
    "NIH ChestX-ray14, two films each": ("images_001/images/{p:08}_{i:03}.png", "masks/{p:08}_{i:03}_mask.png", 2),
    "BIMCV, two sessions each": ("sub-S03{p}/ses-E0{n}/mod-rx/sub-S03{p}_ses-E0{n}_run-1_dx.png",
                                 "sub-S03{p}/ses-E0{n}/mod-rx/sub-S03{p}_ses-E0{n}_run-1_dx_mask.png", 2),
    "BIMCV, labels apart": ("rawdata/sub-S03{p}/ses-E0{n}/mod-rx/sub-S03{p}_ses-E0{n}_cr.png",
                                    "labels/sub-S03{p}/ses-E0{n}/mod-rx/sub-S03{p}_ses-E0{n}_cr_mask.png", 2),
    "PadChest": ("images/216840111366964012819207061112010{n:04}_04-014-08{n}.png",
                 "masks/216840111366964012819207061112010{n:04}_04-014-08{n}.png"),
    "slices in folders of patients, numbered anew": ("CT/Patient_{p}/{i:04}.png", "Masks/Patient_{p}/{i:04}.png", 3),
    "slices in folders of patients, masks below": ("Patient {p}/CT/{i:04}.png", "Patient {p}/Mask/{i:04}.png", 3),
    "RadiAnt's names in folders of patients": ("Patient{p}/IMG-01-{i:05}.jpg", "Patient{p}/IMG-01-{i:05}_mask.png", 3),
    "Horos' names in folders of series": ("Patient{p}/Thorax_30{p}/IM-0001-{i:04}.jpg",
                                          "Patient{p}/Thorax_30{p}/masks/IM-0001-{i:04}.png", 3),
    "PACS's PAT, STUD and SER": ("DICOM/PAT0000{p}/STUD000{i}/SER00001/IMG00001.png",
                                 "DICOM/PAT0000{p}/STUD000{i}/SER00001/IMG00001_mask.png", 2),
    "PACS's PA, ST and SE": ("DICOM/PA00000{p}/ST00000{i}/SE000000/IM000000.png",
                             "DICOM/PA00000{p}/ST00000{i}/SE000000/IM000000_mask.png", 2),
    "names of patients, one within another": ("{name}/images/{i}.png", "{name}/masks/{i}.png", 3),
    "two patients whose names end alike": ("{smith}/images/{i}.png", "{smith}/masks/{i}.png", 6),
    "New folder (2)": ("{new}/images/{j}.png", "{new}/masks/{j}.png"),
    "X-ray and Mask below a class": ("{c}/X-ray/{k}.png", "{c}/Mask/{k}.png"),
    "masks apart from classes": ("images/{c}/{k}.png", "masks/{c}/{k}.png"),
    "classes, names alike": ("{c}/img_{k}.png", "{c}/img_{k}_mask.png"),
    "Roboflow's copies of three kinds": ("train/f{p}_png.rf.{n:032x}.jpg", "train/f{p}_png.rf.{n:032x}_mask.png", 3),
    "slices after patients": ("images/p{p}_slice{i}.png", "masks/p{p}_slice{i}.png", 3),
    "albumentations' copies": ("images/film{p}_aug_{i}.png", "masks/film{p}_aug_{i}.png", 3),
    "views at the end of names": ("cxr/{n:03}_PA.png", "cxr_mask/{n:03}_PA.png"),
    "unpacked archives": ("images.zip_unpacked/{n:03}.png", "masks.zip_unpacked/{n:03}.png"),
    "segmentations beside radiographs": ("radiographs/{n:03}.png", "segmentations/{n:03}.png"),
    "dates before numbers": ("images/2020-03-{n:02}_{n:03}.png", "masks/2020-03-{n:02}_{n:03}.png"),
    "UIDs of DICOM": ("images/1.2.826.0.1.3680043.{n}.png", "masks/1.2.826.0.1.3680043.{n}.png"),
    "Darwin's masks of all classes": ("images/{n:03}.jpeg", "annotations/semantic-mask/masks/{n:03}.png"),
    "a mask in the folder of each film": ("Case {n}/Thorax PA.jpg", "Case {n}/mask.png"),
}  # fmt: skip
NAMES, SMITHS = ("smith", "anna_smith", "otto_smith", "lee"), ("smith", "anna_smith")  # the second ends like the first
FOLDERS = ("New folder", "New folder (2)", "New folder (3)")


@cases("Published layout: {}.", LAYOUTS)
def layouts(folder, layout):
    image, mask, *more = layout
    each, names, split = (*more, *(1, ("", ""), None)[len(more) :])

    def place_of(number):
        is_other, person = number % 4 == 3, number // each
        fields = {"n": number, "p": person + 1, "i": number % each, "c": CLASSES[number % 4], "k": number // 4,
                  "s": names[is_other], "name": NAMES[person % 4], "smith": SMITHS[person % 2],
                  "new": FOLDERS[number // 4], "j": number % 4}  # fmt: skip
        return image.format(**fields), mask.format(**fields), person, split if is_other else None

    raw = folder / "set"
    result = judge_layout(raw, write_layout(raw, place_of), "taken for a patient")
    return result._replace(verdict="explained") if "2 patients cannot make" in result.said else result


# Sentences that name what is there and what to do.
def darwin(raw):
    for file in (raw / "masks").iterdir():
        save(raw / "images" / f"{file.stem}.jpg", film())
        (raw / "annotations").mkdir(exist_ok=True)
        (raw / "annotations" / f"{file.stem}.json").write_text(json.dumps({"image": {}, "annotations": []}))


def chexmask(raw):
    (raw / "OriginalResolution").mkdir()
    (raw / "OriginalResolution" / "ChestX-Ray8.csv").write_text(
        "Image Index,Dice RCA (Mean),Left Lung,Right Lung,Heart,Height,Width\n001.png,0.9,1 2,3 4,5 6,96,96\n"
    )


def node21(raw):
    for name in ("images/n0001.mha", "metadata.csv"):
        (raw / name).write_bytes(b"ObjectType = Image\n")


def ribs(raw):
    (raw / "VinDr_RibCXR_train_mask.json").write_text(json.dumps({"img": {}, "R1": {}}))


def coco(raw):
    for part in ("train", "valid"):
        save(raw / part / "film.jpg", film())
        (raw / part / "_annotations.coco.json").write_text("{}")


def parquet(raw):
    shutil.rmtree(raw / "images")
    (raw / "data").mkdir()
    (raw / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1" + bytes(99))


def luna16(raw):
    shutil.rmtree(raw / "images")
    for place in ("subset0", "seg-lungs-LUNA16"):
        (raw / place).mkdir()
        for end in ("mhd", "raw"):
            (raw / place / f"1.3.6.1.4.1.14519.5.2.1.6279.6001.1052.{end}").write_bytes(b"ObjectType = Image\n")


WITHOUT_MASKS = {
    "Darwin's JSON (V7)": (darwin, ".json"), "CheXmask's CSV": (chexmask, ".csv"), "NODE21's .mha": (node21, ".mha"),
    "VinDr-RibCXR's JSON": (ribs, ".json"), "Roboflow's COCO": (coco, ".json"),
    "Hugging Face's parquet": (parquet, ".parquet"), "LUNA16's .mhd": (luna16, ".mhd"),
}  # fmt: skip


@cases("Published without masks that can be read: {}.", WITHOUT_MASKS)
def without_masks(folder, kind):
    change, ending = kind
    raw = write_set(folder)
    change(raw)
    shutil.rmtree(raw / "masks")
    return judge_set(raw, ending)


FILES = {"NODE21": "n0001.mha", "LUNA16": "1.3.6.1.4.mhd", "a phone": "IMG_1.heic", "a report": "report.pdf",
         "an ultrasound": "clip.mp4", "an archive": "films.zip"}  # fmt: skip


@cases("A file of {} to segment.", FILES)
def unread_file(folder, name):  # a sentence that says to convert or to unpack it
    (folder / name).write_bytes(b"ObjectType = Image\n" + bytes(500))
    return judge_words(folder / name, name, "Convert it" if "zip" not in name else "Unpack")


@cases("A folder with files of {} only, to segment.", {"NODE21": ".mha", "LUNA16": ".mhd", "a phone": ".heic"})
def unread_folder(folder, ending):  # a sentence that names the ending
    (folder / "all").mkdir()
    for number in range(3):
        (folder / "all" / f"n{number:04}{ending}").write_bytes(b"ObjectType = Image\n")
    return judge_error(folder / "all", ending)


@case
def vindr(folder):
    """VinDr-CXR's films, .dicom."""  # read
    for number in range(3):
        dicom(folder / "train" / f"00{number}a.dicom", film(), DX, number=number, series=f"1.2.{number}")
    return judge(folder / "train", "film", rows=3)


@case
def vindr_with_masks(folder):
    """VinDr-CXR's films, .dicom, with PNG masks."""  # paired
    raw = write_set(folder)
    for number, (image, _, _) in enumerate(phantoms(), 1):
        dicom(raw / "images" / f"{number:03}.dicom", image, DX)
        (raw / "images" / f"{number:03}.png").unlink()
    return judge_set(raw)


@case
def siim(folder):
    """SIIM: a film in two folders of UIDs each."""  # a row for each
    for number in range(3):
        uid = f"1.2.276.0.7230010.3.1.{number}.8323329"
        dicom(folder / "dicom-images-train" / f"{uid}.1" / f"{uid}.2" / f"{uid}.3.dcm", film(), DX, series=uid)
    return judge(folder / "dicom-images-train", "film", rows=3)


@case
def montgomery(folder):
    """Montgomery as published, with readings and a document."""  # the lungs
    raw = folder / "set" / "MontgomerySet"
    for number, (image, left, right) in enumerate(phantoms(), 1):
        name = f"MCUCXR_{number:04}_{number % 2}"
        save(raw / "CXR_png" / f"{name}.png", image)
        save(raw / "ManualMask" / "leftMask" / f"{name}.png", right)
        save(raw / "ManualMask" / "rightMask" / f"{name}.png", left)
        (raw / "ClinicalReadings").mkdir(exist_ok=True)
        (raw / "ClinicalReadings" / f"{name}.txt").write_text("Patient's Sex: F\nPatient's Age: 027Y\nnormal")
    (raw / "NLM-MontgomeryCXRSet-ReadMe.pdf").write_bytes(b"%PDF-1.4")
    return judge_set(folder / "set")


@case
def kaggle_test(folder):
    """Kaggle's Lung Segmentation, with a folder of test images without masks."""  # right, the others are named
    raw = write_set(folder, "Lungs/CXR_png/CHNCXR_{:04}_0.png", "Lungs/masks/CHNCXR_{:04}_0_mask.png")
    for number in range(3):
        save(raw / "Lungs" / "test" / f"CHNCXR_{number + 700:04}_1.png", film())
    return judge_set(raw)


@case
def mini_jsrt(folder):
    """miniJSRT's segmentation02 as a folder of one's own: 255 is lung, 85 heart, 170 the body."""  # a word on labels
    raw = folder / "set" / "segmentation02" / "segmentation"
    for number, (image, left, right) in enumerate(phantoms(), 1):
        part = "test" if number > 4 else "train"
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[4:-4, 8:-8] = 170
        mask[HEART] = 85
        mask[left | right] = 255
        save(raw / f"org_{part}" / f"case{number:03}.bmp", image)
        save(raw / f"label_{part}" / f"case{number:03}.png", mask)
    return judge_check(folder / "set", "label")


def organs(values):
    """Yield films with masks in which left lung, right lung and heart have these colours or values."""
    for number, (image, left, right) in enumerate(phantoms(), 1):
        heart = np.zeros_like(left)
        heart[HEART] = True
        heart &= ~(left | right)
        mask = np.zeros((SIZE, SIZE, *np.shape(values[0])), np.uint8)
        image = np.where(heart, 235, image).astype(np.uint8)
        for part, value in zip((left, right, heart), values, strict=True):
            mask[part] = value
        yield f"{number:03}", image, mask


# A finding or a sentence that labels or colours may be other organs.
ORGANS = {
    "1, 2 and 3": (1, 2, 3), "1, 1 and 2": (1, 1, 2), "255, 255 and 128": (255, 255, 128),
    "red, red and green": ((255, 0, 0), (255, 0, 0), (0, 255, 0)),
    "red, green and blue": ((255, 0, 0), (0, 255, 0), (0, 0, 255)),
    "white, white and red": ((255, 255, 255), (255, 255, 255), (255, 0, 0)),
    "CVAT's colours": ((250, 50, 83), (250, 50, 83), (51, 221, 255)),
    "Pascal VOC's colours": ((128, 0, 0), (128, 0, 0), (0, 128, 0)),
}  # fmt: skip


@cases("Masks of both lungs and the heart: {}.", ORGANS)
def with_heart(folder, values):
    raw = folder / "set"
    for name, image, mask in organs(values):
        save(raw / "images" / f"{name}.png", image)
        save(raw / "masks" / f"{name}.png", mask)
    return judge_check(raw, "label", "colour", "brighter")


@case
def with_heart_in_jpeg(folder):
    """Kaggle's chest-ct-segmentation: JPEG masks of lung, heart and trachea in red, green and blue."""  # a word on it
    raw = folder / "set"
    for name, image, mask in organs(((255, 0, 0), (255, 0, 0), (0, 255, 0))):
        image, mask = (array.repeat(4, axis=0).repeat(4, axis=1) for array in (image, mask))
        save(raw / "images" / "images" / f"ID0000{name}_0.jpg", image)
        save(raw / "masks" / "masks" / f"ID0000{name}_mask_0.jpg", mask, quality=90)
    (raw / "train.csv").write_text("ImageId,MaskId\n")
    return judge_check(raw, "label", "colour", "brighter")


def write_niftis(raw, image_name, masks, more=()):
    """Write volumes; `masks` are names and functions of left and right."""
    for number, (image, left, right) in enumerate(slices(), 1):
        nifti(raw / image_name.format(number), image)
        for name, mask in masks.items():
            nifti(raw / name.format(number), np.asarray(mask(left, right)).astype(np.uint8))
    for name in more:
        (raw / name).write_text("a,b\n")
    return raw


def infected(left, right):
    return left & (np.arange(SIZE) % 5 > 1)[:, None]


def both(left, right):
    return left | right


def two(left, right):
    return left + 2 * right


def with_infection(left, right):
    return np.where(infected(left, right), 3, two(left, right))


def one(left, _):
    return left


def other(_, right):
    return right


# Right: the whole lungs.
VOLUMES = {
    "COVID-19-CT-Seg": ("COVID-19-CT-Seg_20cases/coronacases_{:03}.nii.gz", {
        "Lung_Mask/coronacases_{:03}.nii.gz": two, "Infection_Mask/coronacases_{:03}.nii.gz": infected}),
    "COVID-19-CT-Seg with Lung_and_Infection_Mask": ("COVID-19-CT-Seg_20cases/coronacases_{:03}.nii.gz", {
        "Lung_Mask/coronacases_{:03}.nii.gz": two,
        "Infection_Mask/coronacases_{:03}.nii.gz": infected,
        "Lung_and_Infection_Mask/coronacases_{:03}.nii.gz": with_infection}),
    "Kaggle's covid19-ct-scans": ("ct_scans/coronacases_org_{:03}.nii", {
        "lung_mask/coronacases_{:03}.nii": two, "infection_mask/coronacases_{:03}.nii": infected,
        "lung_and_infection_mask/coronacases_{:03}.nii": with_infection}),
    "MedSeg's rp_im and rp_lung_msk": (
        "rp_im/{}.nii.gz", {"rp_lung_msk/{}.nii.gz": both, "rp_msk/{}.nii.gz": infected}),
    "MosMedData": ("studies/CT-1/study_{:04}.nii.gz", {"masks/study_{:04}_mask.nii.gz": both}),
    "COVID-19-20": ("Train/volume-covid19-A-{:04}_ct.nii.gz", {"Train/volume-covid19-A-{:04}_seg.nii.gz": both}),
    "StructSeg": ("Thoracic_OAR/{}/data.nii.gz", {"Thoracic_OAR/{}/label.nii.gz": two}),
    "SegTHOR's names": ("train/Patient_{0:02}/Patient_{0:02}.nii.gz", {"train/Patient_{:02}/GT.nii.gz": both}),
    "CT-ORG's names": ("volume-{}.nii.gz", {"labels-{}.nii.gz": both}),
    "TotalSegmentator": ("s{:04}/ct.nii.gz", {
        "s{:04}/segmentations/lung_upper_lobe_left.nii.gz": one, "s{:04}/segmentations/trachea.nii.gz": infected,
        "s{:04}/segmentations/lung_lower_lobe_right.nii.gz": other, "s{:04}/segmentations/heart.nii.gz": infected}),
    "TotalSegmentator with lung_vessels": ("s{:04}/ct.nii.gz", {
        "s{:04}/segmentations/lung_upper_lobe_left.nii.gz": one, "s{:04}/segmentations/lung_vessels.nii.gz": infected,
        "s{:04}/segmentations/lung_lower_lobe_right.nii.gz": other}),
    "AMOS's folders": ("imagesTr/amos_{:04}.nii.gz", {"labelsTr/amos_{:04}.nii.gz": both}),
    "3D Slicer, a folder each": ("P{}/2 Thorax.nii.gz", {"P{}/Segmentation.nii.gz": both}),
    "3D Slicer's Segmentation-label": ("P{}/CT.nii.gz", {"P{}/Segmentation-CT-label.nii.gz": both}),
    "a mask .nii beside images .nii.gz": ("images/{}.nii.gz", {"masks/{}.nii": both}),
    "lungmask's output": ("ct/{:03}.nii.gz", {"lungmask/{:03}_lungmask.nii.gz": lambda left, right: 2 * left + right}),
    "MONAI's output": ("ct/{:03}.nii.gz", {"segmentations/{0:03}/{0:03}_trans.nii.gz": both}),
    "dcm2niix and ITK-SNAP": ("sub{0:02}/{0:02}_Thorax_20200101_3.nii.gz", {
        "sub{0:02}/{0:02}_Thorax_20200101_3_seg.nii.gz": both}),
}  # fmt: skip


def judge_volumes_and_patients(raw):
    """Judge volumes as `judge_volumes` does; they are wrong, too, if each is not of a patient of its own."""
    result = judge_volumes(raw)
    if result.verdict != "right":
        return result
    people = prepare_dataset(make_settings(str(raw), volume_slices=2), progress=False)["patient"].nunique()
    return result if people == 4 else Result("wrong", f"{people} patients")


@cases("Published volumes: {}.", VOLUMES)
def volumes(folder, kind):
    raw = write_niftis(folder / "set", *kind)
    result = judge_volumes_and_patients(raw)
    return judge_check(raw, "the nearest is") if "no image with a mask" in result.said else result


@case
def structseg_labels(folder):
    """StructSeg with all its labels: lungs 1 and 2, cord, oesophagus and heart, trachea 6."""  # mask_values=1,2
    for number, (image, left, right) in enumerate(slices()):
        trachea, heart = np.zeros_like(left), np.zeros_like(left)
        trachea[44:49, 44:49], heart[HEART] = True, True
        trachea, heart = trachea & ~(left | right), heart & ~(left | right)
        image = np.where(trachea, -990, np.where(heart, 40, image)).astype(np.int16)
        nifti(folder / "set" / str(number) / "data.nii.gz", image)
        labels = (left + 2 * right + 5 * heart + 6 * trachea).astype(np.uint8)
        nifti(folder / "set" / str(number) / "label.nii.gz", labels)
    return judge_volumes(folder / "set", "mask_values=1,2")


@case
def osic(folder):
    """OSIC: a folder of slices 1.dcm to 12.dcm for each patient, to segment."""  # a volume for each
    for number in range(3):
        place = folder / "train" / f"ID0000763720217741195643{number}"
        series(place, series=f"1.2.{number}.4")
        for file in place.iterdir():
            file.rename(place / f"{int(file.stem[2:])}.dcm")
    return judge(folder / "train", "ct", rows=3)


@case
def lidc(folder):
    """LIDC-IDRI: patient, study and series, with XML beside the slices."""  # a volume for each
    for number in range(2):
        place = folder / "LIDC-IDRI" / f"LIDC-IDRI-000{number}" / "01-01-2000-30178" / f"300056{number}.000000-03192"
        series(place, series=f"1.2.{number}.4")
        (place / "069.xml").write_text("<LidcReadMessage/>")
    return judge(folder / "LIDC-IDRI", "ct", rows=2)


@case
def slices_of_own_series(folder):
    """A series in which an anonymiser gave each slice a series of its own."""  # a sentence that says so
    for number, place in enumerate(range(0, 30, 5), 1):
        series(folder / "ct", [place], series=f"1.2.{number}.4")
        (folder / "ct" / "IM001.dcm").rename(folder / "ct" / f"S{number}.dcm")
    with out_folder() as out, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        segment_files(folder / "ct", out, progress=False)
    said = "; ".join(str(each.message) for each in caught)
    return explained_by(said, "6 CT slices", "a DICOM series of its own", "segmented alone")


@case
def montage(folder):
    """A figure of nine CT slices on one picture."""  # a word that it is no single slice
    grey = np.clip((ct_slice() + 1000.0) / 1400 * 255, 0, 255).astype(np.uint8)[::2, ::2]
    save(folder / "a.png", np.tile(grey, (3, 3)))
    return judge_words(folder / "a.png", "upright")


@case
def phone(folder):
    """A screenshot of a phone: the film between two black bars."""  # the film's mask, or a word
    shot = np.zeros((512, 256), np.uint8)
    shot[128:384] = film()
    save(folder / "a.png", shot)
    return judge_words(folder / "a.png", "uncertain")


# Right, or an explanation: tables that people make.
TABLES = {
    "ids of masks as well": "id,patient\n" + "".join(f"{n:03},P{n}\n{n:03}_mask,P{n}\n" for n in range(1, 7)),
    "ids with .jpg": "id,patient\n" + "".join(f"{n:03}.jpg,P{n}\n" for n in range(1, 7)),
    "columns in capitals": "ID,Patient\n" + "".join(f"{n:03},P{n}\n" for n in range(1, 7)),
    "Image Index and Patient ID": "Image Index,Patient ID\n" + "".join(f"{n:03}.png,{n}\n" for n in range(1, 7)),
    "rows twice": "id,patient\n" + "".join(f"{n:03},P{n}\n" for n in range(1, 7)) * 2,
    "DICOM's ages": "id,patient,age,sex\n" + "".join(f"{n:03},P{n},06{n}Y,M\n" for n in range(1, 7)),
    "words for the sex": "id,patient,sex\n001,P1,male\n002,P2,Male\n003,P3,F\n004,P4,m\n005,P5,w\n006,P6,\n",
    "a row of totals": "id,patient\n" + "".join(f"{n:03},P{n}\n" for n in range(1, 7)) + "Total,6\n",
    "more columns than needed": "id,patient,remark\n" + "".join(f'{n:03},P{n},"old, new"\n' for n in range(1, 7)),
    "single quotation marks": "id,patient\n" + "".join(f"'{n:03}',P{n}\n" for n in range(1, 7)),
}  # fmt: skip


REFUSED_TABLES = ("Image Index and Patient ID", "a row of totals", "single quotation marks")


@cases("A user's table of patients: {}.", TABLES)
def tables(folder, text):  # all others are read, so no sentence may stand for them
    (folder / "patients.csv").write_text(text)
    words = ("patients.csv",) if text in map(TABLES.get, REFUSED_TABLES) else ()
    return judge_set(write_set(folder), *words, patient_file=str(folder / "patients.csv"))


@cases("A table in which patients differ by {}.", {"zeros in front": ("007", "7"), "zeros in names": ("P07", "P7"),
                                                  "a dash": ("P-7", "P7"), "an underscore": ("P_7", "P7"),
                                                  "a blank": ("Case 7", "Case7")})  # fmt: skip
def alike(folder, names):  # a sentence that they may be one patient
    rows = "".join(f"{n:03},{names[n - 5] if n > 4 else n}\n" for n in range(1, 7))
    (folder / "patients.csv").write_text(f"id,patient\n{rows}")
    settings = make_settings(str(write_set(folder)), patient_file=str(folder / "patients.csv"))
    try:
        prepare_dataset(settings, progress=False)
    except ValueError as error:
        return explained_by(error, "patients.csv", *names)
    return Result("wrong", "two patients")


# Right: what people mix by hand.
def both_formats(raw):
    for file in sorted((raw / "images").iterdir())[:2]:
        Image.open(file).save(file.with_suffix(".jpg"))


def copies(raw):
    for folder in ("images", "masks"):
        shutil.copy(raw / folder / "001.png", raw / folder / "001 - Copy.png")


def drive_copies(raw):
    for folder in ("images", "masks"):
        shutil.copy(raw / folder / "001.png", raw / folder / "Copy of 001.png")


def thumbnails(raw):
    for file in sorted((raw / "images").iterdir()):
        save(raw / "thumbnails" / file.name, np.array(Image.open(file))[::4, ::4])


def old_masks(raw):
    shutil.copytree(raw / "masks", raw / "masks_old")


def backup(raw):
    shutil.copytree(raw / "images", raw / "backup" / "images")
    shutil.copytree(raw / "masks", raw / "backup" / "masks")


def lists(raw):
    for name in ("train.txt", "val.txt", "readme.docx", "dataset.json"):
        (raw / name).write_text("001\n")


MIXED = {
    "two formats of a film": (both_formats, "the name is taken"), "a copy by Windows": (copies, "copy of"),
    "a copy by Google Drive": (drive_copies, "copy of"), "thumbnails": (thumbnails, "thumbnails|same mask|copy of"),
    "an older folder of masks": (old_masks, "nearly the same"), "a backup of all": (backup, "copy of"),
    "lists of names": (lists, ""),
}  # fmt: skip


@cases("A folder mixed by hand: {}.", MIXED)
def mixed(folder, kind):
    change, words = kind
    raw = write_set(folder)
    change(raw)
    result = judge_set(raw)
    manifest = prepare_dataset(make_settings(str(raw)), progress=False)
    torn = manifest.groupby(manifest["source_image"].str[-7:])["split"].nunique().max() > 1
    if result.verdict != "right" and len(manifest) == 12 and not torn:
        return Result("right", "one patient for both copies")
    return result if result.verdict == "right" else judge_check(raw, *words.split("|"))


# Scored masks.
def write_scored(folder, truth, masks, change=lambda mask: mask):
    for number, (_, left, right) in enumerate(phantoms(), 1):
        mask = (left | right) * np.uint8(255)
        save(folder / "truth" / truth.format(number), mask)
        save(folder / "masks" / masks.format(number), change(mask))
    return folder


SCORED = {
    "zhixuhao's U-Net": ("{}.png", "{}_predict.png"), "a Keras generator": ("image_{}.png", "image_{}_pred.png"),
    "labels and predictions": ("labels/{:03}.png", "predictions/{:03}.jpg"),
    "lungmask": ("{:03}.png", "{:03}_lungmask.png"), "a segmented suffix": ("{:03}.png", "{:03}_segmented.png"),
    "an output of MedSAM": ("{:03}.png", "medsam_{:03}.png"),
    "result_001_unet": ("{:03}.png", "result_{:03}_unet.png"), "seg_": ("{:03}.png", "seg_{:03}.png"),
    "binary": ("{:03}.png", "{:03}_binary.png"), "thresholded": ("{:03}_mask.png", "{:03}_pred_mask.png"),
}  # fmt: skip


@cases("Scored masks of {}.", SCORED)
def scored(folder, names):  # all pairs, or the nearest names
    return judge_folders(write_scored(folder, *names), 6)


# A sentence on the label or the colour that lies outside the lungs.
@cases("Scored against a ground truth of lungs and heart in colours: {}.", {name: ORGANS[name] for name in ORGANS})
def heart_as_truth(folder, values):
    for name, _, mask in organs(values):
        save(folder / "truth" / f"{name}.png", mask)
    for number, (_, left, right) in enumerate(phantoms(), 1):
        save(folder / "masks" / f"{number:03}.png", (left | right) * np.uint8(255))
    return judge_folders(folder, 6, "outside the lungs", "If that is another organ")


@case
def cut_out_lungs(folder):
    """Masks that are lungs cut out of the films."""  # a word that they are grey
    raw = write_set(folder)
    for number, (image, left, right) in enumerate(phantoms(), 1):
        save(raw / "masks" / f"{number:03}.png", np.where(left | right, image, 0).astype(np.uint8))
    return judge_check(raw, "grey")


@case
def archives(folder):
    """A data set of two archives that nobody unpacked."""  # a word that they must be unpacked
    (folder / "set").mkdir()
    for name in ("images.zip", "masks.zip"):
        (folder / "set" / name).write_bytes(b"PK\3\4" + bytes(99))
    return judge_set(folder / "set", ".zip", "unpack")


@case
def merged_cells(folder):
    """A table of patients with merged cells, which are empty in CSV."""  # a sentence with the row and the remedy
    (folder / "patients.csv").write_text("id,patient\n001,P1\n002,\n003,P2\n004,\n005,P3\n006,\n")
    return judge_set(write_set(folder), "002", "Fill", patient_file=str(folder / "patients.csv"))


AXES = {"rows, columns and slices": (-1, (1, 1, 1)), "slices, rows and columns": (0, (1, 1, 1)),
        "slices first, with their steps": (0, (5, 1.4, 1.4))}  # fmt: skip


@cases("A NIfTI of a plain array: {}.", AXES)
def plain_array(folder, kind):  # a word that it does not look like an upright slice
    axis, steps_mm = kind
    array = np.stack([ct_slice()] * 20, axis)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*steps_mm, 1.0])), folder / "a.nii.gz")
    return judge_words(folder / "a.nii.gz", "upright")


@case
def numbered_anew(folder):
    """Scored masks that a generator numbered from 0, of a ground truth from 1."""  # a word that names do not match
    write_scored(folder, "{}.png", "{}.png")
    for number in range(1, 7):
        (folder / "masks" / f"{number}.png").rename(folder / "masks" / f"{number - 1}.png")
    return judge_folders(folder, 6, "no mask of 1 image")
