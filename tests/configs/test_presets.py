"""Presets, YAML files, dicts and keywords: one configuration, strict about what it is told."""

import dataclasses
import json

import pytest
import yaml

import framegate
from framegate.config import FrontEndConfig
from framegate.errors import BudgetError, ConfigError
from framegate.tokenizers.motion_gate.config import MotionGateConfig


@pytest.mark.parametrize("name", framegate.preset_names())
def test_a_preset_is_valid_named_after_its_file_and_round_trips(name):
    config = framegate.load_config(name)
    assert config.preset == name
    assert FrontEndConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_spelling_gives_the_same(tmp_path):
    config = framegate.load_config("gate", keep_ratio=0.25, threshold=6.0, fps=8)
    assert (config.keep_ratio, config.gate.threshold, config.frames.fps) == (0.25, 6.0, 8)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()))
    assert framegate.load_config(path) == framegate.load_config(str(path)) == config
    assert framegate.load_config(config.to_dict()) == framegate.load_config(config) == config


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        framegate.load_config("gate").keep_ratio = 0.5


@pytest.mark.parametrize(
    ("overrides", "hint"),
    [
        ({"treshold": 3}, "Did you mean 'threshold'"),
        ({"keep_ration": 0.5}, "Did you mean 'keep_ratio'"),
        ({"metric": "psnr"}, "mad"),
        ({"threshold": -1}, "0 or more"),
        ({"threshold": float("nan")}, "0 or more"),
        ({"max_age": 0}, "at least 1"),
        ({"keyframe_fraction": 0}, r"\(0, 1\]"),
        ({"mode": "reuse"}, "motion"),
        ({"fps": 0}, "above 0"),
        ({"sampler": "uniform"}, "num_frames"),
        ({"context": "everything"}, "anchored"),
    ],
)
def test_wrong_settings_name_value_and_remedy(overrides, hint):
    with pytest.raises(ConfigError, match=hint):
        framegate.load_config("gate", **overrides)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan")])
def test_budgets_out_of_range(ratio):
    with pytest.raises(BudgetError, match="keep_ratio"):
        framegate.load_config("gate", keep_ratio=ratio)
    with pytest.raises(BudgetError, match="max_video_tokens"):
        framegate.load_config("gate", max_video_tokens=0)


def test_a_budget_needs_a_stage_that_can_meet_it():
    with pytest.raises(ConfigError, match="preset 'gate'"):
        framegate.load_config("dense", keep_ratio=0.5)
    with pytest.raises(ConfigError, match="does not have"):
        framegate.load_config("dense", threshold=3.0)


def test_nested_keys_and_shapes_of_files_are_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"gate\.treshold.*Did you mean 'threshold'"):
        framegate.load_config({"gate": {"treshold": 3}})
    with pytest.raises(ConfigError, match="gate is 3"):
        framegate.load_config({"gate": 3})
    with pytest.raises(ConfigError, match="Did you mean 'gate'"):
        framegate.load_config("gaet")
    for name, text in (("list.yaml", "- 1"), ("broken.yaml", "{a: ")):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ConfigError, match=name):
            framegate.load_config(path)


def test_identity():
    assert framegate.load_config("dense").is_identity
    assert framegate.load_config("gate", keep_ratio=1.0).is_identity
    assert not framegate.load_config("gate", keep_ratio=1.0, max_video_tokens=10).is_identity
    assert not framegate.load_config("gate").is_identity


def test_thresholds_default_by_metric():
    assert MotionGateConfig(metric="ssim").resolved_threshold == 0.05
    assert MotionGateConfig(threshold=2.5).resolved_threshold == 2.5


def test_files_and_dicts_are_laid_over_the_preset_they_name(tmp_path):
    gate = framegate.load_config("gate")
    assert framegate.load_config({"preset": "gate"}) == framegate.load_config({}) == gate
    assert framegate.load_config({"keep_ratio": 0.25}).gate == gate.gate
    mixed = framegate.load_config({"threshold": 6, "gate": {"max_age": 3}})
    assert mixed.gate == MotionGateConfig(threshold=6, max_age=3)
    assert framegate.load_config({"preset": "dense"}) == framegate.load_config("dense")
    path = tmp_path / "mine.yaml"
    path.write_text("preset: gate\nkeep_ratio: 0.25\nmetric: ssim\n")
    config = framegate.load_config(path)
    assert (config.keep_ratio, config.gate.metric, config.preset) == (0.25, "ssim", "gate")
    path.write_bytes(b"preset: \xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        framegate.load_config(path)
    with pytest.raises(ConfigError, match="Unknown setting '1'"):
        framegate.load_config({1: 2})
