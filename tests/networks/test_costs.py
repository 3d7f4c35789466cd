import pytest

from lungnb.networks.costs import stage_names, stage_table
from lungnb.networks.models import MODELS, build_model


@pytest.mark.parametrize("name", ["unet", "resunet", "r2unet", "attention_unet"])
def test_stages_hold_all_parameters(name):
    model = build_model(name, size=32, filters=2, depth=2)
    table = stage_table(model)
    assert [*table.index] == ["encoder_1", "encoder_2", "bridge", "decoder_2", "decoder_1", "lung"]
    assert table["parameters"].sum() == model.count_params()


def test_a_stage_by_hand():
    table = stage_table(build_model("unet", size=32, filters=2, depth=2))
    assert table.loc["bridge"].to_dict() == {
        "height": 8, "width": 8, "channels": 8, "pixels_per_place": 4,
        "parameters": 9 * 4 * 8 + 9 * 8 * 8 + 2 * 4 * 8,  # two convolutions, each with four numbers a channel
    }  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_stages_are_those_of_the_network(name):
    model = build_model(name, size=32, filters=2, depth=3)
    assert {*stage_names(model)} <= {layer.name for layer in model.layers}
    assert len(stage_names(model)) == 5 if name == "compact_unet" else 7
