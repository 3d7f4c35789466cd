import os
import subprocess
import sys

import pytest

from lungnb.engines import engines
from lungnb.networks import backend, machine, training
from lungnb.networks.backend import keras


@pytest.mark.parametrize(("wanted", "found"), [("1", 1), ("0", None), ("many", None), ("100000", None)])
def test_cores_are_those_allowed_and_no_more_than_wanted(monkeypatch, wanted, found):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    allowed = machine.cores()
    assert 1 <= allowed <= os.cpu_count()
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert machine.cores() == (found or allowed)


@pytest.mark.parametrize(
    ("maker", "flags", "bf16"),
    [
        ("GenuineIntel", "avx2 avx512f avx512_bf16", False),
        ("GenuineIntel", "avx512_bf16 amx_bf16 amx_tile", True),
        ("AuthenticAMD", "avx2 avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2", False),
        ("", "", False),
    ],
)
def test_bf16_is_for_processors_that_are_faster_in_it(monkeypatch, tmp_path, maker, flags, bf16):
    if maker:
        (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {maker}\nflags\t\t: {flags}\n")
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "cpuinfo")
    found = machine.has_fast_bf16.__wrapped__()  # of a machine that is not this one: not to be remembered
    assert found is bf16
    for module in (engines, backend):
        monkeypatch.setattr(module, "has_fast_bf16", lambda: found)
    assert engines.precisions("openvino") == (("bf16", "f32") if bf16 else ("f32",))
    assert engines.precisions("onnx") == ("f32",)
    assert backend.fastest_precision() == ("mixed_bfloat16" if bf16 or backend.gpus() else "float32")


def test_auto_trains_in_the_fastest_precision(prepared, monkeypatch):
    monkeypatch.setattr(backend, "has_fast_bf16", lambda: True)
    try:
        training.train(prepared.replace(precision="auto", epochs=1), "unet", progress=False)
        run = training.read_run(prepared, "unet")
        assert run["precision"] == "mixed_bfloat16" and run["plan"]["settings"]["precision"] == "auto"
        model = keras.models.load_model(prepared.results / "unet" / "model.keras", compile=False)
        assert model.get_layer("encoder_1_conv_1").compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_the_readers_own_layout_is_not_taken(tmp_path):
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first", "backend": "tensorflow"}')
    script = "from lungnb.networks.models import build_model; print(build_model('unet', size=16, depth=1).output_shape)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | {"KERAS_HOME": str(tmp_path)}
    )
    assert done.stdout.strip() == "(None, 16, 16, 1)", done.stderr
