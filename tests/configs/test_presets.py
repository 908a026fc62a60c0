"""Presets, YAML files, dicts and keywords: one configuration, strict about what it is told."""

import dataclasses
import json
from dataclasses import replace

import pytest
import yaml

import framegate
from framegate.config import CONFIG_VERSION, SECTIONS, FrontEndConfig
from framegate.errors import BudgetError, ConfigError
from framegate.models.stages.select import SelectConfig
from framegate.settings import names
from framegate.tokenizers.gate.config import GateConfig
from framegate.tokenizers.samplers import FramesConfig


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
        ({"keep_ration": 0.5}, r"Did you mean 'keep_ratio'\?$"),
        ({"metric": "psnr"}, "mad"),
        ({"threshold": -1}, "0 or more"),
        ({"threshold": float("nan")}, "0 or more"),
        ({"max_age_tubes": 0}, "at least 1"),
        ({"keyframe_fraction": 0}, r"\(0, 1\]"),
        ({"mode": "reuse"}, "motion"),
        ({"fps": 0}, "above 0"),
        ({"sampler": "uniform"}, "num_frames"),
        ({"sampler": "tas"}, "Did you mean 'tass'"),
        ({"sampler": "keyframes", "coverage": 7}, r"\(0, 1\]"),
        ({"sampler": "keyframes", "keyframe_source": "film"}, "codec"),
        ({"sampler": "tass", "min_gap_seconds": 0}, "above 0"),
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
    with pytest.raises(ConfigError, match="preset 'framegate'"):
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
    assert GateConfig(metric="ssim").resolved_threshold == 0.05
    assert GateConfig(threshold=2.5).resolved_threshold == 2.5


def test_files_and_dicts_are_laid_over_the_preset_they_name(tmp_path):
    default = framegate.load_config("framegate")
    assert framegate.load_config({"preset": "framegate"}) == framegate.load_config({}) == default
    assert framegate.load_config({"preset": "gate"}) == framegate.load_config("gate") != default
    assert framegate.load_config({"keep_ratio": 0.25}).gate == default.gate
    mixed = framegate.load_config({"threshold": 6, "gate": {"max_age_tubes": 3}})
    assert mixed.gate == replace(default.gate, threshold=6, max_age_tubes=3)
    off = framegate.load_config({"timestamps": None, "condensation": {"light_ratio": 3}})
    assert (off.timestamps, off.condensation.light_ratio, off.condensation.strong_ratio) == (None, 3, 4)
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


def test_sections_may_be_given_made():
    config = framegate.load_config(
        "dense", gate=GateConfig(metric="ssim"), threshold=0.1, frames=FramesConfig()
    )
    assert config.gate == GateConfig(metric="ssim", threshold=0.1)
    assert framegate.load_config("kffocus", frames=FramesConfig(), fps=3).frames == FramesConfig(
        settings={"fps": 3}
    )


def test_sections_are_switched_on_and_off_by_keyword():
    config = framegate.load_config("gate", scene_merge={"recurring": True}, scene_cut_fraction=0.5)
    assert (config.scene_merge.recurring, config.scene_merge.scene_cut_fraction) == (True, 0.5)
    assert framegate.load_config(config, scene_merge=None, keep_ratio=0.5).scene_merge is None
    with pytest.raises(ConfigError, match=r"belongs to the condensation.*condensation=\{"):
        framegate.load_config("gate", light_ratio=3)
    with pytest.raises(ConfigError, match=r"condensation\.light_rati'.*Did you mean 'light_ratio'"):
        framegate.load_config("gate", condensation={"light_rati": 3})


def test_a_version_of_the_future_is_refused_before_its_keys(tmp_path):
    values = framegate.load_config("gate").to_dict() | {"config_version": 3, "holograms": True}
    with pytest.raises(ConfigError, match="config_version is 3.*Update framegate"):
        FrontEndConfig.from_dict(values)
    (tmp_path / "front_end_config.json").write_text(json.dumps(values))
    for spelling in (values, tmp_path, tmp_path / "front_end_config.json"):
        with pytest.raises(ConfigError, match="config_version is 3.*Update framegate"):
            framegate.load_config(spelling)


def test_settings_are_flat_because_no_two_sections_share_a_name():
    spelt = [name for section in SECTIONS.values() for name in names(section)] + list(names(FrontEndConfig))
    assert sorted(spelt) == sorted(set(spelt))


def test_a_saved_folder_is_a_configuration(tmp_path):
    config = framegate.load_config("grt", keep_ratio=0.2)
    (tmp_path / "front_end_config.json").write_text(json.dumps(config.to_dict()))
    assert framegate.load_config(tmp_path) == config
    assert framegate.load_config(str(tmp_path), keep_ratio=0.3).keep_ratio == 0.3


def test_a_setting_that_is_gone_names_what_replaces_it():
    with pytest.raises(ConfigError, match="gate_headroom.*tower_ratio"):
        framegate.load_config("grt", gate_headroom=1.5)
    with pytest.raises(ConfigError, match="gate.search 'quick' is gone.*optimum"):
        framegate.load_config("gate", search="quick")


def test_shares_follow_the_rulings():
    def tower(preset, **settings):
        config = framegate.load_config(preset, **settings)
        return config.tower_budget.keep_ratio, config.tower_budget.max_tokens

    assert tower("gate", keep_ratio=0.25) == (0.25, None)
    assert tower("grt", keep_ratio=0.25) == (0.375, None)
    assert tower("grt", keep_ratio=0.8) == (1.0, None)
    assert tower("grt_released", keep_ratio=0.25) == (None, None)
    assert tower("gate", max_video_tokens=100) == (None, 100)
    assert tower("gate", gate={"refill": True}, tower_ratio=0.5, max_video_tokens=100) == (0.5, None)
    assert framegate.load_config("gate", keep_ratio=1.0).is_identity
    assert not framegate.load_config(
        "gate", keep_ratio=1.0, tower_ratio=0.5, gate={"refill": True}
    ).is_identity


@pytest.mark.parametrize(
    ("preset", "settings", "hint"),
    [
        ("gate", {"tower_ratio": 0.0}, r"tower_ratio is 0.0.*\(0, 1\]"),
        ("gate", {"tower_ratio": 1.5}, r"tower_ratio is 1.5"),
        ("vidcom2", {"tower_ratio": 0.5}, "no gate"),
        ("gate", {"tower_ratio": 0.25, "keep_ratio": 0.5}, "gate.refill"),
    ],
)
def test_shares_that_cannot_be_are_refused(preset, settings, hint):
    with pytest.raises(ConfigError, match=hint):
        framegate.load_config(preset, **settings)


def test_what_was_saved_is_whole_and_takes_nothing_from_todays_default(tmp_path):
    old = {"preset": "mine", "keep_ratio": 0.5, "gate": {"metric": "mad"}}
    (tmp_path / "front_end_config.json").write_text(json.dumps(old))
    config = framegate.load_config(tmp_path)
    assert (config.gate.refill, config.timestamps) == (False, None)


# what framegate 0.1 saved of its presets `grt` and `vidcom2`, the gate's settings cut short
SAVED_BY_1 = {
    "preset": "grt",
    "keep_ratio": 0.2,
    "max_video_tokens": None,
    "gate_headroom": 1.5,
    "context": "kept",
    "backend": "auto",
    "frames": {
        "sampler": "keyframes",
        "fps": 2.0,
        "num_frames": None,
        "max_frames": 768,
        "coverage": 0.1,
        "keyframe_source": "codec",
        "min_gap_seconds": 20.0,
    },
    "down_scaling": False,
    "gate": {
        "metric": "ssim",
        "reference": "previous",
        "motion": "none",
        "mode": "drop",
        "max_age": 9,
        "scales": [1],
    },
    "scene_merge": {"divergence_threshold": 0.0693},
    "condensation": None,
    "pruning": None,
    "spatiotemporal": None,
    "timestamps": None,
    "config_version": 1,
}


@pytest.mark.filterwarnings("error")
def test_what_an_older_framegate_saved_opens_as_it_was(tmp_path):
    (tmp_path / "front_end_config.json").write_text(json.dumps(SAVED_BY_1))
    config = framegate.load_config(tmp_path)
    assert (config.preset, config.config_version, config.tower_ratio) == ("grt", CONFIG_VERSION, None)
    assert config.tower_budget.keep_ratio == pytest.approx(0.3)
    assert config.gate.max_age_tubes == 9
    frames = {"num_frames": None, "max_frames": 768, "coverage": 0.1, "keyframe_source": "codec"}
    assert config.frames.to_dict() == {"sampler": "keyframes", **frames}


@pytest.mark.parametrize(
    ("changes", "note", "expected"),
    [
        ({"gate_headroom": 2.0}, "gate_headroom 2.0 is now tower_ratio 0.4", {"tower_ratio": 0.4}),
        ({"gate_headroom": 9.0}, "is now tower_ratio 1", {"tower_ratio": 1.0}),
        ({"gate_headroom": 2.0, "keep_ratio": None}, "2.0 is gone; tower_ratio sets", {"tower_ratio": None}),
        (
            {"gate": None, "pruning": {"pruner": "vidcom2", "channel_share": 0.4}},
            "pruning.channel_share 0.4 is gone; the rule's own is 0.5",
            {"select": SelectConfig(select_rule="vidcom2")},
        ),
        (
            {"gate": {"metric": "mad", "motion": "none", "scales": [1, 2, 4]}},
            r"gate.scales \[1, 2, 4\] is gone; every token stands for one cell",
            {"gate": GateConfig(motion="none")},
        ),
    ],
)
def test_what_became_of_settings_of_version_1_is_told(tmp_path, changes, note, expected):
    (tmp_path / "front_end_config.json").write_text(json.dumps(SAVED_BY_1 | changes))
    with pytest.warns(UserWarning, match=f"front_end_config.json is of an older framegate: .*{note}"):
        config = framegate.load_config(tmp_path)
    with pytest.warns(UserWarning, match=note):
        assert framegate.load_config(SAVED_BY_1 | changes).frames == config.frames
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("settings", "instead"),
    [
        ({"gate_headroom": 1.5}, "tower_ratio"),
        ({"pruning": {"pruner": "vidcom2"}}, "select"),
        ({"scales": [1, 2, 4]}, "nothing, for every token stands for one cell"),
        ({"gate": {"scales": [1]}}, "nothing, for every token stands for one cell"),
    ],
)
def test_settings_that_are_gone_are_refused_with_what_replaces_them(settings, instead):
    with pytest.raises(ConfigError, match=f"is gone; what replaces it: {instead}"):
        framegate.load_config("gate", **settings)
    with pytest.raises(ConfigError, match=f"is gone; what replaces it: {instead}"):
        framegate.load_config(settings)
