import pytest

from helpers.figures import drawn
from lungnb.lessons import diagrams
from lungnb.networks.models import build_model


def labels(axis):
    return [text.get_text() for text in axis.texts if text.get_text()]


def test_loss_chart_has_a_line_a_loss_over_shift_and_confidence():
    axes = drawn(diagrams.loss_chart())
    assert [len(axis.lines) for axis in axes[1:]] == [4, 4]
    assert axes[1].get_xlabel() == "shift (px)"


def test_the_residual_unit_has_a_shortcut_and_the_plain_stage_none():
    plain, residual = diagrams.residual_diagram().axes
    assert labels(plain).count("conv 3×3") == labels(residual).count("conv 3×3") == 2
    assert "1×1 conv" in labels(residual) and "+" in labels(residual)
    assert not {"1×1 conv", "+"} & {*labels(plain)}


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_the_recurrent_unit_is_unrolled_step_by_step(steps):
    texts = labels(diagrams.recurrent_diagram(steps).axes[0])
    assert texts.count("conv 3×3") == steps + 1 and texts.count("+") == steps
    assert (f"step {steps}" in texts) == (steps > 0) and f"step {steps + 1}" not in texts


def test_the_gate_multiplies_the_skip_connection():
    texts = labels(diagrams.gate_diagram().axes[0])
    assert texts.count("×") == texts.count("+") == 1 and {"skip", "coarse", "sigmoid", "out"} <= {*texts}


@pytest.mark.parametrize("name", ["unet", "resunet", "r2unet"])
def test_architecture_has_a_box_a_stage_and_a_skip_a_level(name):
    axis = diagrams.architecture(build_model(name, size=32, filters=4, depth=2)).axes[0]
    assert len(axis.patches) == 2 * 2 + 1
    texts = [text.get_text() for text in axis.texts]
    assert [text for text in texts if text.isdecimal()] == ["4", "8", "16", "8", "4"]


def test_architecture_without_skips_draws_none():
    with_skips, without = (
        diagrams.architecture(build_model("unet", size=32, filters=4, depth=2, skips=skips)).axes[0].texts
        for skips in (True, False)
    )
    (name,) = (text for text in with_skips if text.get_text() == "skip connections")
    highest_arrow = max(text.xy[1] for text in with_skips if not text.get_text())
    assert 0 < name.get_position()[1] - highest_arrow < 0.2
    assert len(without) == len(with_skips) - 2 - 1  # two arrows and their name


def test_architecture_with_an_encoder_of_another_network_goes_down_and_up(stub_encoder):
    model = build_model("unet", size=32, filters=4, depth=3, encoder="mobilenetv2")
    texts = [text.get_text() for text in diagrams.architecture(model).axes[0].texts]
    assert [text for text in texts if text.endswith("²")] == ["32²", "16²", "8²", "4²", "8²", "16²", "32²"]
