"""`framegate doctor --model`: what a checkpoint's files say, and typed errors for those that say too little."""

import json
from importlib import resources

import pytest
from family_cases import FAMILIES, NAMES
from typer.testing import CliRunner

import framegate
from framegate.cli import app
from framegate.errors import ConfigError, UnsupportedModelError, VideoNotFoundError
from framegate.models.families import families
from framegate.models.tiny import tiny_pair
from framegate.tools.checkpoint import examine

CLIP = str(resources.files("framegate") / "assets" / "slides.mp4")
OWN = ["qwen2_vl", "internvl", "llava_onevision"]


def saved(name, folder):
    """Config and processor of a tiny checkpoint; no weights."""
    model, processor = tiny_pair(name)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    return processor


def said(diagnosis):
    return {check.name: check for check in diagnosis.checks}


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("name", OWN)
def test_files_alone_tell_the_family_and_the_tokens(name, tmp_path):
    processor = saved(name, tmp_path)
    diagnosis = examine(tmp_path, CLIP)
    found = said(diagnosis)
    assert diagnosis.is_healthy, found
    assert found["model"].found.startswith(f"{name}: {families()[name].model_class}")
    assert found["processor"].status == "ok"
    plan = framegate.plan_video(CLIP, processor=processor)
    assert f"{plan.num_cells:,} tokens dense" in found["video"].found
    assert f"encodes {plan.num_kept:,} " in found["video"].found
    assert "stages refill, select" in found["front end"].found


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_told_from_its_config(name, tmp_path):
    tiny_pair(name)[0].config.save_pretrained(tmp_path)
    found = said(examine(tmp_path))
    assert found["model"].status == "ok"
    # slices of large frames are refused by some
    assert found["size rule"].status == ("note" if name.startswith("minicpm") else "ok")
    assert found["processor"].status == "note"


def test_what_differs_from_the_class_is_told(tmp_path):
    saved("qwen2_vl", tmp_path)
    changed(
        tmp_path / "config.json", quantization_config={"quant_method": "awq"}, auto_map={"AutoModel": "m.M"}
    )
    files = tmp_path / "processor_config.json"
    video = json.loads(files.read_text())["video_processor"]
    changed(files, video_processor=video | {"size": {"shortest_edge": 784, "longest_edge": 78400}})
    found = said(examine(tmp_path))
    assert found["weights"].found == "quantised by awq"
    assert "without trust_remote_code" in found["code"].remedy
    assert "size {'shortest_edge': 784, 'longest_edge': 78400}" in found["settings"].found
    assert found["size rule"].found.startswith("784 to 78,400 pixels of a frame")


def test_a_front_end_that_was_saved_beside_is_the_one(tmp_path):
    saved("qwen2_vl", tmp_path)
    (tmp_path / "front_end_config.json").write_text('{"preset": "gate", "keep_ratio": 0.3, "gate": {}}')
    assert "preset gate: keep_ratio 0.3" in said(examine(tmp_path))["front end"].found


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("ernie")])
@pytest.mark.parametrize("says", [{"draw_on_frames": True}, {}])
def test_a_setting_that_attach_refuses_is_broken(name, says, tmp_path):
    """ERNIE's class draws times onto frames, also where a file says nothing of it."""
    saved(name, tmp_path)
    assert said(examine(tmp_path))["settings"].status == "note"
    files = tmp_path / "processor_config.json"
    video = json.loads(files.read_text())["video_processor"]
    changed(files, video_processor={k: v for k, v in video.items() if k != "draw_on_frames"} | says)
    found = said(examine(tmp_path))["settings"]
    assert found.status == "broken"
    assert "draw_on_frames=True" in found.found


def test_a_swapped_processor_is_broken(tmp_path):
    saved("llava_onevision", tmp_path)
    tiny_pair("qwen2_vl")[0].config.save_pretrained(tmp_path)
    diagnosis = examine(tmp_path)
    found = said(diagnosis)["processor"]
    assert not diagnosis.is_healthy
    assert "LlavaOnevision" in found.found
    assert found.remedy.startswith("qwen2_vl comes with a Qwen2VLProcessor")


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        (None, ConfigError, "holds no config.json"),
        ("{", ConfigError, "config.json cannot be read"),
        ('{"model_type": "qwen9"}', UnsupportedModelError, "'qwen9' is not supported. Did you mean"),
        ("{}", UnsupportedModelError, "is not supported"),
        ('{"model_type": "nemotron_h_omni"}', UnsupportedModelError, "is not supported: it prunes its own"),
        (
            '{"model_type": "internvl_chat", "auto_map": {"AutoModel": "m.M"}}',
            UnsupportedModelError,
            "trust_remote",
        ),
    ],
)
def test_folders_that_cannot_be_told(config, error, words, tmp_path):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(error, match=words):
        examine(tmp_path)


def test_what_is_asked_wrongly_is_told(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        examine(tmp_path / "nowhere")
    with pytest.raises(VideoNotFoundError):
        examine("framegate/nano", str(tmp_path / "nowhere.mp4"))


def test_the_command_prints_it_and_fails_on_what_is_broken(tmp_path):
    done = CliRunner().invoke(app, ["doctor", "--model", "framegate/nano", "--video", CLIP])
    assert done.exit_code == 0, done.stdout
    assert "tokens dense" in " ".join(done.stdout.split())
    done = CliRunner().invoke(app, ["doctor", "--model", "framegate/nano", "--json"])
    assert [check["name"] for check in json.loads(done.stdout)["checks"]][:2] == ["model", "code"]
    assert CliRunner().invoke(app, ["doctor", "--video", CLIP]).exit_code != 0
    assert CliRunner().invoke(app, ["doctor", "--model", str(tmp_path)]).exit_code != 0
