"""`framegate demo` without a browser: what it compares, what it says, and what it says without gradio."""

import sys
from importlib import resources
from xml.dom.minidom import parseString

import pytest
from clips import gradient_frames, write_clip
from typer.testing import CliRunner

from framegate.cli import app
from framegate.cli.demo import DemoOptions, _settings
from framegate.cli.run import load_pair
from framegate.errors import CapError
from framegate.tools.demo.compare import Asked, Compared, compare
from framegate.tools.demo.told import account_html, answers_html, told_html
from framegate.tools.evaluation.ask import Answer

CODES = str(resources.files("framegate") / "assets" / "codes.mp4")
SHARES = {"tower_ratio": 0.5, "keep_ratio": 0.25, "fps": 4.0}


@pytest.fixture(scope="module")
def asked():
    model, processor = load_pair(None)
    return Asked(
        model=model,
        processor=processor,
        name="framegate/nano",
        preset="framegate",
        overrides={},
        max_new_tokens=8,
    )


def test_without_gradio_it_says_what_to_install_before_a_model_is_loaded(monkeypatch):
    def load(*_):
        raise AssertionError("a model was loaded")

    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr("framegate.cli.run.load_pair", load)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 2, result.output
    assert 'pip install "framegate[demo]"' in result.stderr


def test_dense_then_compressed_then_the_plan_that_was_read(asked, tmp_path):
    steps = list(compare(asked, CODES, "What text stands at 4.9 seconds?", settings=SHARES, folder=tmp_path))
    assert [(step.compressed is None, step.view is None) for step in steps] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    done = steps[-1]
    assert (done.dense.text, done.compressed.text) == ("7HP", "7HP")
    dense, report = done.dense.report, done.compressed.report
    assert dense.tower_ratio == dense.keep_ratio == 1
    assert (report.dense_tokens, report.tower_ratio, report.keep_ratio) == (dense.dense_tokens, 0.5, 0.25)
    page = done.view.page.read_text()
    assert f'"kept_tokens": {report.encoded_cells}' in page
    told = account_html(done)
    assert "data:image/png;base64," in told
    assert told.index("preset framegate") < told.index("preset dense")
    parseString(f"<div>{answers_html(done)}</div>")


def test_a_video_beyond_the_caps_is_refused_and_the_model_is_stock_again(asked, tmp_path):
    frames = gradient_frames(4, height_px=64, width_px=64)
    clip = write_clip(tmp_path / "long.mp4", frames, times_ms=[0, 2_000_000, 4_000_000, 6_000_000])
    with pytest.raises(CapError, match="cap_seconds"):
        next(compare(asked, str(clip), "?", settings=SHARES, folder=tmp_path))
    import framegate

    assert framegate.front_end_of(asked.model) is None


def test_what_a_model_says_is_text():
    import framegate

    said = Answer(
        text="<script>x</script>",
        report=framegate.Report(preset="<i>"),
        input_tokens=1,
        output_tokens=1,
        input_seconds=0.1,
        first_token_seconds=0.2,
        generate_seconds=0.3,
    )
    page = parseString(f"<div>{answers_html(Compared(dense=said))}</div>")
    assert not page.getElementsByTagName("script")
    assert "<script>x</script>" in page.getElementsByTagName("p")[0].firstChild.data
    assert "role='alert'" in told_html("<b>", is_error=True)
    assert "&lt;b&gt;" in told_html("<b>")


@pytest.mark.parametrize(
    ("preset", "fps", "begins"), [("framegate", None, 4.0), ("framegate", 1.5, 1.5), ("kffocus", None, None)]
)
def test_where_sliders_begin(preset, fps, begins):
    options = DemoOptions(
        model=None,
        preset=preset,
        tower_ratio=1.0,
        keep_ratio=0.5,
        fps=fps,
        overrides={},
        max_new_tokens=8,
        host="",
        port=1,
    )
    settings = _settings(options, is_nano=True)
    assert settings.pop("fps", None) == begins
    assert settings == {"tower_ratio": 1.0, "keep_ratio": 0.5}
