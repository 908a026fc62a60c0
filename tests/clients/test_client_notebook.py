"""The notebook in a Jupyter kernel: what it shows is HTML, and bars are drawn."""

import pytest
from pages import ROOT

pytestmark = pytest.mark.clients

BAR = 'framegate.plan_video(clip, "gate", keep_ratio=0.25, fps=4, show_progress=True).num_kept'


@pytest.fixture(scope="module")
def ran():
    """The notebook, with one cell more, as it is after a run."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    book = nbformat.reads((ROOT / "examples/quickstart.ipynb").read_text(), as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(BAR))
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3").execute()
    return book


def test_report_plan_and_models_are_html(ran):
    outputs = [output for cell in ran.cells for output in cell.get("outputs", ())]
    shown = [output["data"] for output in outputs if output.output_type == "execute_result"][:-1]
    assert shown[0]["text/plain"] == "'7HP'"
    titles = ("tower 25.0%", "96 of 384 cells are encoded", "tower 100.0%", "Qwen3VLForConditionalGeneration")
    assert [title in data["text/html"] for title, data in zip(titles, shown[1:], strict=True)] == [True] * 4


def test_a_bar_is_drawn(ran):
    drawn = "".join(str(output) for output in ran.cells[-1].outputs)
    assert "gating:" in drawn
    assert "0/32" in drawn
