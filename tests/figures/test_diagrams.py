import pytest

from helpers.figures import drawn
from lungnb.figures import diagrams


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
