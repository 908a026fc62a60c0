"""What a notebook shows: tables and bars of the numbers that are printed elsewhere, text as text."""

import ast
import json
import re
import sys
from types import SimpleNamespace
from xml.dom.minidom import parseString

import numpy as np
from pages import ROOT

import framegate
from framegate.notebook import html_bars, no_bar
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.types import FramePlan


def parsed(thing):
    """Its HTML, which has to be well-formed."""
    return parseString(f"<div>{thing._repr_html_()}</div>")


def test_a_report_is_a_table_of_its_stages_and_markup_in_it_is_text():
    report = framegate.Report(preset="<b>mine", dense_tokens=8, encoded_cells=2, kept_tokens=2)
    report.stage("tower").patches_in = 1234
    report.stage("stream").note = "<script>x.mp4"
    report.note("<i>y.mp4 is damaged")
    page = parsed(report)
    cells = [
        [cell.firstChild.data if cell.firstChild else "" for cell in row.getElementsByTagName("td")]
        for row in page.getElementsByTagName("tr")[1:]
    ]
    assert cells == [["tower", "1,234", "", "", ""], ["stream", "", "", "", "<script>x.mp4"]]
    words = page.toxml()
    assert "&lt;b&gt;mine: tower 25.0%" in words
    assert "note: &lt;i&gt;y.mp4" in words


def test_a_plan_has_a_bar_for_each_tube_as_high_as_its_share():
    keep = np.zeros((3, 2, 2), bool)
    keep[0], keep[2, 0, 0] = True, True
    plan = GatePlan.still(keep, CellGrid.of(56, 56, cell_px=28, tube_frames=1))
    page = parsed(plan)
    heights = [float(bar.getAttribute("height")) for bar in page.getElementsByTagName("rect")]
    assert heights == [40, 0, 10]
    assert "5 of 12 cells are encoded (41.7%), in 3 tubes of 2 x 2" in page.toxml()


def test_a_frame_plan_shows_its_frames():
    plan = FramePlan.from_indices(np.array([0, 5]), np.arange(6) / 2)
    assert "2 frames, 0.00 to 2.50 s" in parsed(plan).toxml()
    assert [title.firstChild.data for title in parsed(plan).getElementsByTagName("title")] == [
        "frame 0, 0.00 s",
        "frame 5, 2.50 s",
    ]


def test_a_long_plan_is_thinned_out():
    bars = html_bars([0.5] * 10_000, ["t"] * 10_000, "long")
    assert 200 < len(re.findall("<rect", bars)) <= 240


def test_supported_models_are_a_list_of_dicts_and_a_table():
    rows = framegate.supported_models()
    assert isinstance(rows, list)
    table = parsed(rows)
    assert len(table.getElementsByTagName("tr")) == len(rows) + 1
    assert "Qwen3VLForConditionalGeneration" in table.toxml()


def test_bars_are_drawn_in_a_notebook_whose_output_is_no_terminal(monkeypatch):
    assert no_bar(False) is True
    assert no_bar(True) is None  # tqdm asks whether it is a terminal
    kernel = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    assert no_bar(True) is False
    assert no_bar(False) is True


def test_the_notebook_shows_what_it_says():
    """Its code cells one after the other; the last line of each is what a notebook shows."""
    cells = json.loads((ROOT / "examples/quickstart.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells), "commit it without outputs, which would grow old"
    names, shown = {}, []
    for cell in cells:
        if cell["cell_type"] == "code":
            *body, last = ast.parse("".join(cell["source"])).body
            rest = [] if isinstance(last, ast.Expr) else [last]
            exec(compile(ast.Module([*body, *rest], []), "cell", "exec"), names)
            if not rest:
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    answer, report, plan, dense, nothing, models = shown
    assert answer == "7HP"
    assert (report.tower_ratio, report.keep_ratio, dense.tower_ratio, dense.keep_ratio) == (0.25, 0.25, 1, 1)
    assert report.encoded_cells == plan.num_kept
    assert nothing is None
    for thing in (report, plan, dense, models):
        parsed(thing)
