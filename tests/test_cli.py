"""The command line on the shipped clip: what it prints is what the plan and the report say."""

import json
import runpy
import subprocess
import sys
from importlib import resources

import pytest
from clips import cut_in_half, gradient_frames, write_clip
from typer.testing import CliRunner

import framegate
from framegate.cli import app
from framegate.cli.options import parse_settings
from framegate.cli.run import printable
from framegate.errors import ConfigError
from framegate.models.nano.asked import advice_on
from framegate.tools.evaluation.generator.asking import KINDS, ask_about
from framegate.tools.evaluation.generator.script import write_script

CLIP = str(resources.files("framegate") / "assets" / "slides.mp4")
DEMO = str(resources.files("framegate") / "assets" / "codes.mp4")
DEMO_QUESTION, DEMO_ANSWER = "What text stands at 4.9 seconds?", "7HP"
QUICK = ["--fps", "2", "--width-px", "224", "--tube-frames", "1"]


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_is_quick_and_loads_no_torch():
    code = (
        "import sys\nfrom framegate.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'transformers', 'cv2', 'av', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("[]"), done.stdout[-200:] + done.stderr
    for command in ("plan", "view", "run", "batch", "eval", "bench", "doctor"):
        assert command in done.stdout


def test_version():
    assert invoke("--version").stdout.strip() == f"framegate {framegate.__version__}"


def test_plan_json_is_the_plan():
    result = invoke("plan", CLIP, "--keep-ratio", "0.2", *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)["figures"]
    plan = framegate.plan_video(CLIP, "gate", keep_ratio=0.2, fps=2, width_px=224)
    assert (figures["kept_tokens"], figures["dense_tokens"]) == (plan.num_kept, plan.num_cells)
    assert figures["num_tubes"] == len(plan.timestamps_seconds) == 50
    assert figures["kept_patch_bytes"] * plan.num_cells == figures["dense_patch_bytes"] * plan.num_kept
    assert figures["video_seconds"] == pytest.approx(25, abs=0.1)


@pytest.mark.parametrize("command", [("run",), ("agent", "--policy", "love_r1")])
def test_a_missing_file_is_told_before_a_model_is_loaded(command, monkeypatch):
    def load(*_):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("framegate.cli.run.load_pair", load)
    name, *options = command
    result = invoke(name, "nowhere.mp4", DEMO_QUESTION, *options)
    assert result.exit_code == 2
    assert "There is no file at 'nowhere.mp4'" in result.stderr


def test_plan_tells_tower_and_prompt_apart():
    shares = ["--tower-ratio", "0.2", "--keep-ratio", "0.5", "--set", "refill=true", "--preset", "gate"]
    result = invoke("plan", CLIP, *shares, *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)["figures"]
    assert figures["kept_tokens"] == round(0.2 * figures["dense_tokens"])
    assert figures["prompt_tokens"] == round(0.5 * figures["dense_tokens"])
    assert (figures["tower_ratio"], figures["keep_ratio"]) == pytest.approx((0.2, 0.5), abs=1e-3)


def test_plan_table_shows_the_counts():
    result = invoke("plan", CLIP, "--max-video-tokens", "100", *QUICK)
    assert result.exit_code == 0, result.stderr
    assert "slides.mp4: 100 of" in result.stdout
    assert "tokens per second of video" in result.stdout


@pytest.mark.parametrize("name", ["[bold red]x.mp4", "[brack]y.mp4", "2024-01-01T10:30:00 [a/b].mp4"])
def test_names_with_brackets_and_colons_are_printed_as_they_are(name, tmp_path, monkeypatch):
    name = name.replace("/", "-")
    write_clip(tmp_path / name, gradient_frames(4, height_px=56, width_px=84))
    monkeypatch.chdir(tmp_path)
    settings = ["--width-px", "84", "--preset", "gate", "--keep-ratio", "0.5"]
    result = invoke("plan", name, *settings)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].startswith(f"{name}: ")
    result = invoke("view", name, *settings, "--out", "out [b]")
    assert result.exit_code == 0, result.stderr
    assert "out [b]/view.html" in result.stdout
    assert invoke("plan", f"file://{tmp_path}/{name}", *settings).stdout.startswith(f"{name}: ")


def test_reports_print_brackets_as_they_are():
    report = framegate.Report(preset="[red]mine")
    report.stage("stream").note = "read [bold]x.mp4"
    report.note("[brack]y.mp4 is damaged")
    for words in ("[red]mine", "read [bold]x.mp4", "[brack]y.mp4 is damaged"):
        assert words in str(report)


def test_plan_takes_a_window_and_settings():
    result = invoke(
        "plan",
        CLIP,
        "--start",
        "2",
        "--end",
        "5",
        *QUICK,
        "--set",
        "threshold=0",
        "--set",
        "motion=none",
        "--json",
    )
    account = json.loads(result.stdout)
    assert account["figures"]["num_tubes"] == 6
    assert account["settings"]["threshold"] == 0
    assert account["settings"]["window"] == "2 s to 5 s"


def test_plan_writes_the_plan(tmp_path):
    path = tmp_path / "new" / "plan.json"
    result = invoke("plan", CLIP, *QUICK, "--out", path)
    assert result.exit_code == 0, result.stderr
    plan = json.loads(path.read_text())["plan"]
    assert [len(cells) for cells in plan["kept_cells"]] == plan["kept"]
    assert plan["starts_seconds"][:3] == [0.0, 0.5, 1.0]


def test_view_writes_its_files(tmp_path):
    result = invoke("view", CLIP, "--keep-ratio", "0.2", *QUICK, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        "overlay.mp4",
        "sheet.png",
        "timeline.png",
        "frames.png",
        "view.html",
    }
    assert result.stdout.rstrip().endswith(f"Open {tmp_path / 'view.html'}")
    assert "tqdm" not in result.stderr
    assert "%|" not in result.stderr  # no progress bar off a terminal


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "no/such/clip.mp4"], "no/such/clip.mp4"),
        (["plan", CLIP, "--preset", "gaet"], "Did you mean 'gate'?"),
        (["plan", CLIP, "--keep-ratio", "1.5"], "keep_ratio is 1.5"),
        (["plan", CLIP, "--set", "treshold=3"], "Did you mean 'threshold'?"),
        (["plan", CLIP, "--set", "threshold"], "name=value"),
        (["plan", CLIP, "--set", "threshold=high"], "gate.threshold is 'high'; it must be a number or None"),
        (
            ["plan", CLIP, "--set", "max_age_tubes=2.5"],
            "gate.max_age_tubes is 2.5; it must be a whole number or None",
        ),
        (["plan", CLIP, "--set", "fps=yes"], "frames.fps is True; it must be a number"),
        (["plan", CLIP, "--cell-px", "0"], "cell_px is 0"),
        (["view", CLIP, "--preset", "dense", "--keep-ratio", "0.5"], "use preset 'framegate'"),
        (["plan", CLIP, "--query", "a number"], "--scorer is None; give both"),
        (["view", CLIP, "--query", "a number", "--scorer", "tower"], "asks a model, and none is loaded here"),
        (["plan", CLIP, "--query", "a number", "--scorer", "screentext"], "Did you mean 'screen_text'?"),
        (["run", CLIP, "what?", "--scorer", "tweor"], "Did you mean 'tower'?"),
        (["run", CLIP, "what?", "--preset", "gaet"], "Did you mean 'gate'?"),
        (["run", CLIP, "what?", "--family", "qwen9"], "qwen9"),
        (["run", CLIP, "what?", "--family", "qwen3_vl", "--model", "framegate/nano"], "give one of them"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, words):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_folder_without_a_model_is_told(tmp_path):
    result = invoke("run", CLIP, "what?", "--model", tmp_path)
    assert result.exit_code == 2
    assert f"--model {str(tmp_path)!r} cannot be loaded" in result.stderr


def test_bugs_keep_their_traceback(monkeypatch):
    def broken(*arguments, **settings):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("framegate.api.plan_video", broken)
    result = invoke("plan", CLIP)
    assert isinstance(result.exception, RuntimeError)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_run_answers_and_reports(family):
    result = invoke(
        "run", CLIP, "What is on the slide?", "--family", family, "--keep-ratio", "0.25", "--fps", "0.5",
        "--max-new-tokens", "4", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    account = json.loads(result.stdout)
    assert "words mean nothing" in account["warning"]
    report = account["runs"]["framegate"]["report"]
    assert report["kept_tokens"] == round(0.25 * report["dense_tokens"]) > 0


def test_run_chooses_frames_by_the_question():
    arguments = (
        "run",
        CLIP,
        "What is on the slide?",
        "--family",
        "qwen2_5_vl",
        "--keep-ratio",
        "0.25",
        "--json",
    )
    sampler = ("--set", "sampler=tass", "--set", "num_frames=4", "--fps", "0.5", "--max-new-tokens", "1")
    for scorer, is_noted in (([], True), (["--scorer", "tower"], False)):
        result = invoke(*arguments, *sampler, *scorer)
        assert result.exit_code == 0, result.stderr
        notes = " ".join(json.loads(result.stdout)["runs"]["framegate"]["report"]["notes"])
        assert ("no scorer was given" in notes) == is_noted


def test_run_prints_the_report_and_compares():
    result = invoke(
        "run", CLIP, "What?", "--family", "qwen2_5_vl", "--keep-ratio", "0.25", "--fps", "0.25",
        "--max-new-tokens", "2", "--compare",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "dense answers:" in result.stdout
    assert "gate answers:" in result.stdout
    for share in ("tower 25.0%", "prompt 25.0%", "tower 100.0%", "prompt 100.0%"):
        assert share in result.stdout


def test_run_asks_the_model_that_ships_dense_and_compressed():
    result = invoke("run", DEMO, DEMO_QUESTION, "--fps", "4", "--keep-ratio", "0.25", "--json")
    assert result.exit_code == 0, result.stderr
    account = json.loads(result.stdout)
    assert account["warning"] is None
    assert {preset: run["answer"] for preset, run in account["runs"].items()} == {
        "dense": DEMO_ANSWER,
        "framegate": DEMO_ANSWER,
    }
    assert (
        account["runs"]["framegate"]["report"]["kept_tokens"]
        < account["runs"]["dense"]["report"]["kept_tokens"]
    )


def test_nano_says_what_it_cannot_be_asked():
    """Kinds that the generator asks are known; those of the benchmark's headline without a word."""
    asked = {
        one.kind: one.question
        for seed in range(4)
        for one in ask_about(write_script(seed, split="test"), seed, KINDS, 16)
    }
    assert asked.keys() == set(KINDS)
    said = {kind: advice_on(question) for kind, question in asked.items()}
    assert {kind for kind, advice in said.items() if advice is None} == {
        "text_at",
        "grid",
        "order",
        "changed",
    }
    assert all("hardly better" in advice for advice in said.values() if advice is not None)
    assert "never asked this" in advice_on("What happens?")


def test_framegate_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["framegate", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("framegate", run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"framegate {framegate.__version__}\n"


def test_doctor_json():
    result = invoke("doctor", "--json")
    assert result.exit_code == 0, result.stdout
    assert json.loads(result.stdout)["is_healthy"] is True


def test_doctor_exit_code_says_what_is_broken(monkeypatch):
    monkeypatch.setattr("framegate.doctor.CLIP_FRAMES", 251)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "250 of the 251 frames" in " ".join(result.stdout.split())


def test_settings_are_yaml():
    assert parse_settings(["a=4", "b=0.5", "c=null", "d=text", "e=true"]) == {
        "a": 4,
        "b": 0.5,
        "c": None,
        "d": "text",
        "e": True,
    }
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_settings(["a=[1"])


def test_answers_cannot_drive_the_terminal():
    assert printable("a\x1b[2Jb\nc\x00é") == "a\\x1b[2Jb\nc\\x00é"


@pytest.fixture
def broken_off(tmp_path):
    """A file whose second half is gone."""
    path = tmp_path / "broken.mkv"
    write_clip(path, gradient_frames(40, height_px=112, width_px=112))
    return cut_in_half(path)


def test_a_broken_file_gives_its_good_part_and_says_so_everywhere(broken_off, tmp_path):
    """Plan, view, and the report of run: the warning must reach whoever looks."""
    plan = framegate.plan_video(broken_off, "gate", fps=10, width_px=112)
    assert 1 <= len(plan.timestamps_seconds) < 40
    assert any("breaks off" in note for note in plan.notes)
    size = ("--width-px", "112", "--fps", "10")
    for result in (
        invoke("plan", broken_off, *size),
        invoke("view", broken_off, *size, "--out", tmp_path / "out"),
        invoke("run", broken_off, "What?", "--fps", "10", "--max-new-tokens", "2"),
    ):
        assert result.exit_code == 0, result.output
        assert "breaks off" in " ".join(result.output.split())


def test_mistakes_of_the_command_line_are_told_and_exit_2(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments in (
        ("run", CLIP, "What?", "--max-new-tokens", "0"),
        ("plan", CLIP, *QUICK, "--out", tmp_path),
        ("view", CLIP, *QUICK, "--out", tmp_path / "file"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
