import nbformat
import pytest

import run_notebook


def test_values_are_json_or_text():
    assert run_notebook.value_of('["shenzhen"]') == ["shenzhen"]
    assert run_notebook.value_of("2") == 2 and run_notebook.value_of("full") == "full"
    assert run_notebook.value_of("") is None


@pytest.mark.slow
def test_a_notebook_runs_with_parameters_in_a_folder(tmp_path):
    parameters = nbformat.v4.new_code_cell("A = 1", metadata={"tags": ["parameters"]})
    show = nbformat.v4.new_code_cell("import os\nprint(A, os.environ['LUNGNB_HOME'])")
    notebook = nbformat.v4.new_notebook(
        cells=[parameters, show], metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": ""}}
    )
    nbformat.write(notebook, tmp_path / "a.ipynb")
    run_notebook.main([str(tmp_path / "a.ipynb"), str(tmp_path / "home"), "A=[2]"])
    done = nbformat.read(tmp_path / "home" / "results" / "notebooks" / "a.ipynb", as_version=4)
    assert done.cells[-1].outputs[0].text == f"[2] {tmp_path / 'home'}\n"
