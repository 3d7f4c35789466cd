import json
import shutil

import pytest

from lungnb.__main__ import main
from lungnb.evaluation.runs import list_runs, other_settings, remove_runs, say_runs, untrained_models
from lungnb.files import write_json
from lungnb.networks.records import plan_of


@pytest.fixture
def two_runs(trained):
    """The settings of a data set with a run of the U-Net, and an earlier one with another seed and learning rate."""
    earlier = trained.results / "earlier" / "unet-1"
    shutil.copytree(trained.results / "unet", earlier)
    run = json.loads((earlier / "run.json").read_text())
    run["plan"]["settings"]["learning_rate"] = 0.5
    write_json(earlier / "run.json", run)
    return trained


def change_plan(settings, name, **changes):
    run = json.loads((settings.results / name / "run.json").read_text())
    run["plan"] |= {key: value for key, value in changes.items() if key == "data"}
    run["plan"]["settings"] |= {key: value for key, value in changes.items() if key != "data"}
    write_json(settings.results / name / "run.json", run)


def test_runs_are_listed_with_what_differs(two_runs):
    shutil.copytree(two_runs.results / "unet", two_runs.results / "earlier" / "unet-2")
    (two_runs.results / "earlier" / "unet-2" / "run.json").unlink()
    runs = list_runs(two_runs).set_index("run")
    assert runs.index.tolist() == ["unet", "earlier/unet-1", "earlier/unet-2"]
    assert runs.loc["unet", "model"] == "unet" and 0 <= float(runs.loc["unet", "validation_dice"]) <= 1
    assert "learning_rate=0.5" in runs.loc["earlier/unet-1", "changes"]
    assert "learning_rate" not in runs.loc["unet", "changes"]
    assert runs.loc["earlier/unet-2", "changes"] == "unfinished or damaged"


def test_a_network_that_was_trained_with_other_settings_is_named(trained):
    assert other_settings(trained, ["unet"]) == []
    assert other_settings(trained.replace(models=("unet", "resunet"), equivalence_margin=0.1), ["unet"]) == []
    (sentence,) = other_settings(trained.replace(epochs=50, split_fractions=(0.6, 0.2, 0.2)), ["unet"])
    assert sentence.startswith(
        f"unet was trained with split_fractions={trained.split_fractions}, not (0.6, 0.2, 0.2); "
        f"epochs={trained.epochs}, not 50. Its scores are of that training."
    )


def test_the_report_says_which_runs_it_compares(two_runs):
    text = say_runs(two_runs.replace(models=("unet", "resunet")))
    assert text.startswith("Runs compared: U-Net of 20") and "ResUNet" not in text
    assert "Earlier runs, not compared, with their validation Dice: earlier/unet-1 (0." in text
    assert say_runs(two_runs.replace(models=("resunet",))) == ""


@pytest.mark.parametrize(
    "name", ["unet", "earlier", "earlier/unet-2", "../scans/earlier/unet-1", "earlier/unet-1/", ""]
)
def test_what_is_not_an_earlier_run_is_not_removed_and_nothing_else_either(two_runs, name):
    with pytest.raises(ValueError, match="The earlier runs are: earlier/unet-1"):
        remove_runs(two_runs, ["earlier/unet-1", name])
    assert len(list_runs(two_runs)) == 2


def test_the_command_lists_and_removes(two_runs, capsys):
    arguments = ["runs", two_runs.dataset]
    assert main(arguments) == 0 and "earlier/unet-1" in capsys.readouterr().out
    assert main([*arguments, "--remove", "earlier/unet-1"]) == 0 and "earlier" not in capsys.readouterr().out
    assert (two_runs.results / "unet" / "model.keras").exists()
    shutil.rmtree(two_runs.results)
    assert main(arguments) == 0 and "no runs yet" in capsys.readouterr().out


def test_what_is_missing_or_of_other_data_is_to_be_trained_and_a_fine_tuned_network_is_kept(trained):
    settings = trained.replace(models=("unet", "compact_unet"))
    shutil.copytree(trained.results / "unet", trained.results / "compact_unet")
    assert untrained_models(settings) == ["compact_unet"]  # from scratch, so with these settings
    change_plan(settings, "compact_unet", weights="phantom")
    assert untrained_models(settings) == []
    assert untrained_models(settings.replace(weights="phantom")) == ["compact_unet"]
    change_plan(settings, "compact_unet", data="another")
    change_plan(settings, "unet", data="another")
    assert untrained_models(settings) == ["unet", "compact_unet"]
    (trained.results / "unet" / "run.json").unlink()
    assert plan_of(trained.results / "unet") == {} and untrained_models(settings)[0] == "unet"
