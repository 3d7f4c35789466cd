"""Commands as people type, paste and script them: mistyped verbs, swapped folders, quotes, dashes, odd numbers."""

import contextlib
import io
import os
import shutil
from unittest.mock import patch

from lungnb.__main__ import main
from unusual import Result, cases, film
from unusual.exports import save
from unusual.sets import write_set


def command(folder, *words, **environment):
    """Run a command in a folder; return its exit status and what it printed."""
    said = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(patch.dict(os.environ, {"LUNGNB_HOME": str(folder), "COLUMNS": "200", **environment}))
        stack.enter_context(contextlib.redirect_stdout(said))
        stack.enter_context(contextlib.redirect_stderr(said))
        try:
            status = main([*words])
        except SystemExit as end:  # as argparse ends a command
            status = int(end.code or 0)
    return status, said.getvalue()


def desk(folder):
    """Write what the commands name: a film, a folder of two, a data set, and masks with their ground truth."""
    for name in ("film.png", "films/a.png", "films/b.png"):
        save(folder / name, film())
    write_set(folder)
    for name in ("truth", "masks"):
        shutil.copytree(folder / "set" / "masks", folder / name)
    return folder


def judge_command(folder, words, expected, **environment):
    """Run a command: `expected` are words of its sentence, or the number of masks that it should write into `out`."""
    status, said = command(desk(folder), *words, **environment)
    said = " ".join(said.split())
    if "Traceback" in said:
        return Result("wrong", said)
    if isinstance(expected, int):
        masks = len([*(folder / "out").glob("*_mask.png")])
        return Result("right" if (status, masks) == (0, expected) else "wrong", f"{status}, {masks} masks: {said}")
    is_said = all(word in said for word in expected)
    return Result("explained" if is_said else "wrong", f"{status}: {said}")


SEGMENT = ("segment", "films", "--out")
# The words of the command, and those that its sentence should have.
TYPED = {
    "segmnet": ("segmnet films --out out", ["segmnet", "mean segment?"]),
    "SEGMENT": ("SEGMENT films --out out", ["mean segment?"]),
    "predict": ("predict films --out out", ["segment"]),
    "help": ("help", ["segment"]),
    "help segment": ("help segment", ["no verb", "segment"]),
    "version": ("version", ["--version"]),
    "-v": ("-v", ["--version"]),
    "/?": ("/?", ["no verb"]),
    "--out before the verb": ("--out out segment films", ["no verb", "first word"]),
    "a file in place of a verb": ("film.png", ["no verb", "segment"]),
    "a folder in place of a verb": ("films", ["no verb", "segment"]),
    "no --out": ("segment films out", ["--out"]),
    "-out": ("segment films -out out", ["--out"]),
    "--OUT": ("segment films --OUT out", ["--out"]),
    "--output": ("segment films --output out", ["--out"]),
    "an em dash": ("segment films —out out", ["—out", "two hyphens"]),
    "an en dash": ("segment films –out out", ["–out", "two hyphens"]),
    "--overlay true": ("segment films --out out --overlay true", ["true"]),
    "--overlay=yes": ("segment films --out out --overlay=yes", ["--overlay", "yes"]),
    "--engine ONNX": ("segment films --out out --engine ONNX", ["onnx"]),
    "--engine gpu": ("segment films --out out --engine gpu", ["keras"]),
    "--format ONNX": ("export --format ONNX", ["onnx"]),
    "--model UNET": ("train set --model UNET", ["unet"]),
    "--model unet,resunet": ("train set --model unet,resunet", ["unet,resunet", "'unet'"]),
    "--model unet resunet": ("train set --model unet resunet", ["resunet"]),
    "--profile Full": ("train set --profile Full", ["full"]),
    "--recipe Simple-UNet": ("train --recipe Simple-UNet", ["simple-unet"]),
    "the name of a network to segment": ("segment films --out out --model unet", ["unet is not there yet", "train"]),
    "a data set that is upper-case": ("prepare Montgomery", ["montgomery"]),
    "a data set with blanks": ("prepare Shenzhen-Set", ["shenzhen"]),
    "two data sets": ("prepare montgomery shenzhen", ["shenzhen"]),
    "download of an upper-case name": ("download Montgomery", ["montgomery"]),
    "download of an address": ("download https://example.org/set.zip", ["download the file"]),
    "download of all": ("download all", ["montgomery"]),
    "download of a folder": ("download set", ["no data set", "path of a folder"]),
    "download of a name with a slash": ("download montgomry/", ["montgomry is not there"]),
    "--list": ("download --list", ["--list"]),
    "page without .html": ("page lungs", ["ends in .html"]),
    "page into a folder": ("page films", ["ends in .html"]),
    "notebooks into a folder with files": ("notebooks films", ["films/notebooks"]),
    "runs --remove of a name that is none": ("runs set --remove latest", ["latest"]),
    "--seeds 0": ("report set --seeds 0", ["--seeds"]),
    "--seeds 1,2,3": ("report set --seeds 1,2,3", ["--seeds", "number"]),
}  # fmt: skip


@cases("Typed: {}.", TYPED)
def typed(folder, kind):
    words, expected = kind
    return judge_command(folder, words.split(), expected)


# The arguments, and the words of the sentence, or the number of masks.
PASTED = {
    "curly quotes around a file": (["segment", "“film.png”", "--out", "out"], ["quotation marks"]),
    "single quotes of Windows around a file": (["segment", "'film.png'", "--out", "out"], ["quotation marks"]),
    "double quotes around a folder": (["segment", '"films"', "--out", "out"], ["quotation marks"]),
    "quotes around --out": (["segment", "films", "--out", "'out'"], ["quotation marks"]),
    "a blank at the end of a file": (["segment", "film.png ", "--out", "out"], ["begins or ends with a blank"]),
    "a blank before a file": (["segment", " film.png", "--out", "out"], ["begins or ends with a blank"]),
    "a blank at the end of --out": (["segment", "films", "--out", "out "], ["begins or ends with a blank"]),
    "the carriage return of a script of Windows": (["segment", "film.png\r", "--out", "out"],
        ["begins or ends with a blank"]),
    "the carriage return of a script of Windows in --out": ([*SEGMENT, "out\r"], ["begins or ends with a blank"]),
    "a line break in --out": ([*SEGMENT, "out\n"], ["begins or ends with a blank"]),
    "a no-break space in a file": (["segment", "films/a.png\u00a0", "--out", "out"], ["begins or ends with a blank"]),
    "a zero-width space in a file": (["segment", "film.png\u200b", "--out", "out"], ["begins or ends with a blank"]),
    "the mark of a direction before a file": (["segment", "\u202afilm.png", "--out", "out"],
        ["begins or ends with a blank"]),
    "commas between files": (["segment", "films/a.png,films/b.png", "--out", "out"], ["several files"]),
    "semicolons between files": (["segment", "films/a.png;films/b.png", "--out", "out"], ["several files"]),
    "blanks between files in quotes": (["segment", "films/a.png films/b.png", "--out", "out"], ["several files"]),
    "an address of a file": (["segment", "{here}/film.png", "--out", "out"], ["begins with file:"]),
    "an address of the web": (["segment", "https://example.org/film.png", "--out", "out"], ["download the file"]),
    "an address of a bucket": (["segment", "s3://bucket/film.png", "--out", "out"], ["download the file"]),
    "a variable that the shell did not fill": (["segment", "$HERE/film.png", "--out", "out"], ["$HERE", "variable"]),
    "a variable of Windows": (["segment", "%USERPROFILE%/film.png", "--out", "out"], ["%USERPROFILE%", "variable"]),
    "a variable of PowerShell": (["segment", "films", "--out", "$env:HOME/out"], ["$env:HOME", "variable"]),
    "a variable in --out": (["segment", "films", "--out", "$HERE/out"], ["$HERE", "variable"]),
    "~ in --out=": (["segment", "films", "--out=~/out"], 2),
    "a pattern of upper-case letters": (["segment", "films/*.PNG", "--out", "out"], ["pattern", "capitals"]),
    "a pattern of braces": (["segment", "films/{a,b}.png", "--out", "out"], ["{a,b}"]),
    "a pattern that ends in a slash": (["segment", "*/", "--out", "out"], ["out"]),
    "a pattern of no files": (["segment", "films/*.dcm", "--out", "out"], ["films/*.dcm"]),
    "a slash after a file": (["segment", "film.png/", "--out", "out"], 1),
    "a dash for standard input": (["segment", "-", "--out", "out"], ["file"]),
    "files twice": (["segment", "films", "films/a.png", "./films/", "--out", "out"], 2),
    "a folder twice": (["segment", "films", "films/../films", "--out", "out"], 2),
    "--out in the folder of films": (["segment", "films", "--out", "films/out"], ["2 of 2"]),
    "--out that is the folder of films": (["segment", "films", "--out", "films"], ["2 of 2"]),
    "--out that is a film": (["segment", "films", "--out", "film.png"], ["film.png: is a file, not a folder"]),
    "--out that is called like a film": (["segment", "films", "--out", "new/mask.png"], ["2 of 2", "new/mask.png/"]),
    "--out below a film": (["segment", "films", "--out", "film.png/out"], ["film.png: is a file, not a folder"]),
    "--out of many folders": (["segment", "films", "--out", "a/b/c/d"], ["2 of 2"]),
    "all here into here": (["segment", ".", "--out", "."], ["."]),
    "a list of files": (["segment", "list.txt", "--out", "out"], ["list.txt"]),
    "@ before a list": (["segment", "@list.txt", "--out", "out"], ["@list.txt"]),
    "a missing file beside others": (["segment", "film.png", "gone.png", "--out", "out"], ["gone.png"]),
    "a model of .h5": (["segment", "film.png", "--out", "out", "--model", "old.h5"], ["old.h5"]),
    "a model of PyTorch": (["segment", "film.png", "--out", "out", "--model", "best.pt"], ["best.pt", ".keras"]),
    "a model of ONNX": (["segment", "film.png", "--out", "out", "--model", "net.onnx"], ["net.onnx", ".keras"]),
    "a model that is a data set": (["segment", "film.png", "--out", "out", "--model", "set"], ["set", "model.keras"]),
    "a model that is a film": (["segment", "film.png", "--out", "out", "--model", "film.png"], ["film.png", ".keras"]),
    "score: one folder": (["score", "truth"], ["masks"]),
    "score: one folder twice": (["score", "truth", "truth"], ["is the folder of the ground truth", "Name another"]),
    "score: one folder twice, by two names": (["score", "truth", "set/../truth/"],
        ["is the folder of the ground truth", "Name another"]),
    "score: masks twice": (["score", "truth", "masks", "masks/"], ["masks", "twice"]),
    "score: a file as truth": (["score", "truth/001.png", "masks"], ["truth/001.png", "folder"]),
    "score: two files": (["score", "truth/001.png", "masks/001.png"], ["folder"]),
    "score: a file as masks": (["score", "truth", "masks/001.png"], ["masks/001.png", "folder"]),
    "score: a pattern": (["score", "truth", "masks/*.png"], ["masks/*.png", "folder"]),
    "score: images as masks": (["score", "truth", "set/images"], ["image"]),
    "score: images as truth": (["score", "set/images", "masks"], ["image"]),
    "score: a whole data set as truth": (["score", "set", "masks"], ["equal the ground truth"]),
    "score: an empty folder": (["score", "truth", "empty"], ["empty"]),
    "score: 0,175 mm": (["score", "truth", "masks", "--pixel-mm", "0,175"], ["such as 0.5"]),
    "score: 0.175mm": (["score", "truth", "masks", "--pixel-mm", "0.175mm"], ["number"]),
    "score: 0 mm": (["score", "truth", "masks", "--pixel-mm", "0"], ["pixel_mm", "0.01 to 20"]),
    "score: -1 mm": (["score", "truth", "masks", "--pixel-mm", "-1"], ["pixel_mm", "0.01 to 20"]),
    "score: nan mm": (["score", "truth", "masks", "--pixel-mm", "nan"], ["pixel_mm", "0.01 to 20"]),
    "score: 175 mm": (["score", "truth", "masks", "--pixel-mm", "175"], ["pixel_mm", "0.01 to 20"]),
    "score: labels 1;2": (["score", "truth", "masks", "--labels", "1;2"], ["1,2"]),
    "score: labels 1-5": (["score", "truth", "masks", "--labels", "1-5"], ["1,2"]),
    "score: labels lung": (["score", "truth", "masks", "--labels", "lung"], ["1,2"]),
    "score: labels 1 2": (["score", "truth", "masks", "--labels", "1", "2"], ["1,2"]),
    "score: labels that no mask has": (["score", "truth", "masks", "--labels", "7"], ["Are the labels right?"]),
    "score: labels of a folder that is none": (["score", "truth", "masks", "--labels", "totalseg=1"], ["totalseg"]),
    "score: a folder as --patients": (["score", "truth", "masks", "--patients", "films"], ["films"]),
    "score: --images that is missing": (["score", "truth", "masks", "--images", "gone"], ["gone"]),
    "score: --images that is a file": (["score", "truth", "masks", "--images", "film.png"], ["film.png", "folder"]),
    "score: --images of other films": (["score", "truth", "masks", "--images", "films"],
        ["films: has no image with the name"]),
    "score: --out that is a file": (["score", "truth", "masks", "--out", "film.png"], ["film.png"]),
    "score: --out that is the truth": (["score", "truth", "masks", "--out", "truth"], ["truth"]),
    "score: a pattern of patients with no group": (
        ["score", "truth", "masks", "--patient-pattern", "*"], ["not a regular expression"]),
    "adapt: --out that is the folder": (["adapt", "set", "--out", "set"], ["set"]),
    "adapt: the masks alone": (["adapt", "set/masks", "--out", "mine"], ["image"]),
    "adapt: the images alone": (["adapt", "set/images", "--out", "mine"], ["mask"]),
    "adapt: a file": (["adapt", "film.png", "--out", "mine"], ["film.png", "folder"]),
    "adapt: --out that is a file": (["adapt", "set", "--out", "film.png"], ["film.png"]),
    "adapt: swapped": (["adapt", "mine", "--out", "set"], ["mine"]),
    "adapt: two folders": (["adapt", "set/images", "set/masks", "--out", "mine"], ["set/masks"]),
    "prepare: a file": (["prepare", "film.png"], ["film.png: is a file", "npack"]),
    "prepare: the images alone": (["prepare", "set/images"], ["mask"]),
    "prepare: the masks alone": (["prepare", "set/masks"], ["image"]),
    "prepare: an archive": (["prepare", "set.zip"], ["set.zip", "npack"]),
    "prepare: a folder of this name in another case": (["prepare", "SET"], ["set"]),
    "prepare: quotes": (["prepare", "'set'"], ["quotation marks"]),
    "prepare: a carriage return": (["prepare", "set\r"], ["begins or ends with a blank"]),
    "prepare: ~ that the shell left": (["prepare", "--dataset=~/set"], ["6 pairs"]),
    "prepare: a backslash": (["prepare", ".\\set"], ["set"]),
    "prepare: a manifest": (["prepare", "data/prepared/set/manifest.csv"], ["where lungnb writes"]),
    "prepare: the working folder": (["prepare", "."], ["."]),
    "prepare: the folder above": (["prepare", ".."], ["where lungnb writes"]),
    "prepare: the disk": (["prepare", "/"], ["/"]),
    "prepare: a device": (["prepare", "/dev/null"], ["folder"]),
}  # fmt: skip


@cases("Pasted: {}.", PASTED)
def pasted(folder, kind):
    words, expected = kind
    (folder / "empty").mkdir()
    for name in ("old.h5", "best.pt", "net.onnx", "set.zip"):
        (folder / name).write_bytes(b"PK\3\4" + bytes(99))
    (folder / "list.txt").write_text("films/a.png\nfilms/b.png\n")
    here = folder.resolve().as_uri()
    return judge_command(folder, [w.replace("{here}", here) for w in words], expected, HOME=str(folder), HERE="x")


# The change of a setting, and words of the sentence.
SET = {
    "epochs=2,5": ["epochs"], "epochs=0": ["epochs", "1"], "epochs=-5": ["epochs"], "epochs=ten": ["epochs", "50"],
    "epochs:3": ["NAME=VALUE"], "epochs": ["NAME=VALUE"], "epoch=3": ["epochs"], "EPOCHS=3": ["epochs"],
    "learning_rate=0,001": ["learning_rate", "0.001"], "learning_rate=1e": ["learning_rate"],
    "learning_rate=inf": ["learning_rate"], "dropout=20%": ["dropout"], "seed=-1": ["seed"], "seed=1.5": ["seed"],
    "split_fractions=0,8;0,1;0,1": ["split_fractions", "0.7,0.15,0.15"],
    "split_fractions=80,10,10": ["split_fractions", "1"],
    "split_fractions=0.8,0.2": ["split_fractions", "three"], "split_fractions=0.8,0.1,0.2": ["split_fractions", "1"],
    "split_fractions=0.8 0.1 0.1": ["split_fractions", ","], "split_fractions=-0.1,0.6,0.5": ["split_fractions"],
    "mask_values=1;2": ["mask_values", ","], "mask_values=[1,2]": ["mask_values"], "mask_values=left": ["mask_values"],
    "image_size=256x256": ["image_size"], "image_size=100": ["image_size"],
    "batch_size=0": ["batch_size"], "loss=Dice": ["loss"], "loss=bce+dice": ["loss"],
    "optimizer=Adam": ["optimizer", "adam"], "patient_pattern=*": ["patient_pattern"],
    "patient_pattern=[0-9": ["patient_pattern"], "patient_file=gone.csv": ["gone.csv"], "patient_file=set": ["set"],
    "patient_file=": ["patients.csv"], "window=-600,1500,3": ["window"], "window=-600/1500": ["window"],
    "folds=1": ["folds"], "fold=7": ["fold"], "pixel_mm=0,2": ["pixel_mm"],
    "pixel_mm=-1": ["pixel_mm"], "models=UNet": ["models", "unet"], "models=unet;resunet": ["models"],
    "split_file=gone": ["gone is not there"], "augment=maybe": ["augment"],
    "augment=True": ["augment"], "device=cuda": ["device"], "volume_slices=0": ["volume_slices"],
}  # fmt: skip


@cases("A setting: {}.", {change: (change, words) for change, words in SET.items()})
def changed_setting(folder, kind):
    change, words = kind
    return judge_command(folder, ["prepare", "set", "--set", change], words)


# Variables of the environment, and words of the sentence.
VARIABLES = {
    "LUNGNB_MAX_GB=4GB": ["LUNGNB_MAX_GB"], "LUNGNB_MAX_GB=0,5": ["LUNGNB_MAX_GB"],
    "LUNGNB_MAX_GB=0": ["LUNGNB_MAX_GB"],
    "LUNGNB_MAX_GB=-1": ["LUNGNB_MAX_GB"], "LUNGNB_HOME=film.png": ["film.png: is a file, not a folder"],
    "LUNGNB_HOME=/proc": ["/proc"],
    "LUNGNB_HOME=~/work": ["6 pairs", "work/data/prepared"], "LUNGNB_RAW=gone": ["6 pairs"],
    "LUNGNB_PROFILE=Full": ["profile must be one of", "full"],
    "LUNGNB_SET=epochs": ["LUNGNB_SET"], "LUNGNB_SET=epochs=3;batch_size=2": ["6 pairs"], "TMPDIR=/gone": ["6 pairs"],
    "LUNGNB_CACHE=film.png": ["6 pairs"], "KERAS_BACKEND=torch": ["6 pairs"], "LANG=C": ["6 pairs"],
}  # fmt: skip


@cases("A variable: {}.", {setting: (setting, words) for setting, words in VARIABLES.items()})
def variable(folder, kind):
    setting, words = kind
    name, _, value = setting.partition("=")
    return judge_command(folder, ["prepare", "set"], words, **{"HOME": str(folder), name: value})
