"""Samplers by name: found by their files, their settings a section that is spelled flat and follows the sampler."""

import copy
import json
import pickle
import timeit

import numpy as np
import pytest
from known_video import steady_video

import framegate
from framegate.errors import ConfigError
from framegate.settings import saved_settings_of, settings_of
from framegate.tokenizers import samplers
from framegate.tokenizers.samplers import FramesConfig, sample_frames, sampler, sampler_names
from framegate.types import VideoInfo


@pytest.mark.parametrize("name", sampler_names())
def test_what_every_sampler_offers(name):
    known, saved = settings_of(sampler(name)), saved_settings_of(sampler(name))
    assert {"start_seconds", "end_seconds"} <= set(known)
    per_call = {"start_seconds", "end_seconds", "query", "scorer", "captioner", "show_progress"}
    assert not (per_call | {"intervals", "between", "current", "selected"}) & set(saved)
    needed = {"num_frames": 8} if name == "uniform" else {}
    config = FramesConfig(sampler=name, settings=needed)
    assert set(config.settings) == set(saved)
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()
    assert FramesConfig.from_settings(config.to_dict()) == config
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    assert isinstance(hash(config), int)


@pytest.mark.parametrize("name", ["apollo", "clip_stride", "local_resample", "slow_fast", "spotlight"])
def test_what_looks_at_no_pixels_plans_an_hour_at_once(name):
    hour = steady_video(3600 * 30, 30)
    settings = {
        "local_resample": {"selected": range(3, 30, 3)},
        "slow_fast": {"intervals": [(60 * minute, 60 * minute + 30) for minute in range(3)]},
        "spotlight": {"between": [(900 * turn, 900 * turn + 300) for turn in range(5)]},
    }
    options = {key: list(value) for key, value in settings.get(name, {}).items()}
    seconds = min(timeit.repeat(lambda: framegate.plan_frames(hour, name, **options), number=1, repeat=5))
    assert seconds <= 0.1


def test_defaults_are_the_samplers_own_and_a_cap():
    assert FramesConfig().to_dict() == {"sampler": "fps", "fps": None, "max_frames": 768}
    assert FramesConfig().fps == 2.0
    assert FramesConfig(settings={"max_frames": None}).settings["max_frames"] is None
    assert FramesConfig(sampler="uniform", settings={"num_frames": 3}).fps == 2.0
    assert FramesConfig(sampler="tass", settings={"fps": 1}).fps == 1.0


def test_presets_keep_their_settings_and_keywords_reach_them():
    kffocus = framegate.load_config("kffocus").frames
    expected = {"num_frames": None, "max_frames": 768, "coverage": 0.05, "keyframe_source": "auto"}
    assert kffocus.to_dict() == {"sampler": "keyframes", **expected}
    assert framegate.load_config("kffocus", coverage=0.1).frames.settings["coverage"] == 0.1
    assert framegate.load_config("date").frames.settings["min_gap_seconds"] == 20.0
    config = framegate.load_config("framegate", fps=8, max_frames=None)
    assert config.frames.to_dict() == {"sampler": "fps", "fps": 8, "max_frames": None}


@pytest.mark.parametrize(
    "overrides",
    [
        {"sampler": "uniform", "num_frames": 32},
        {"num_frames": 32, "sampler": "uniform"},
        {"frames": {"sampler": "uniform", "num_frames": 32}},
        {"frames": {"sampler": "uniform"}, "num_frames": 32},
    ],
)
def test_another_sampler_takes_only_what_it_has_as_well(overrides):
    expected = {"sampler": "uniform", "num_frames": 32, "max_frames": 768}
    assert framegate.load_config("framegate", **overrides).frames.to_dict() == expected
    assert framegate.load_config("kffocus", **overrides).frames.to_dict() == expected
    assert framegate.load_config({"preset": "kffocus", **overrides}).frames.to_dict() == expected
    back = framegate.load_config("kffocus", frames={"sampler": "fps"}).frames
    assert back == FramesConfig()


def test_a_setting_of_another_sampler_is_refused_with_its_owner():
    for preset, overrides, message in (
        (
            "gate",
            {"coverage": 0.1},
            r"frames\.coverage is no setting of .* 'fps', whose settings are fps, max",
        ),
        ("gate", {"coverage": 0.1}, "it belongs to 'keyframes': set sampler='keyframes' as well"),
        (
            "kffocus",
            {"fps": 4},
            r"frames\.fps is no setting .* 'keyframes'.* belongs to 'fps', 'apex'.*='fps' as",
        ),
        ("gate", {"frames": {"query": "who?"}}, r"Unknown setting 'frames\.query'"),
        ("gate", {"frames": {"fsp": 2}}, r"Unknown setting 'frames\.fsp'\. Did you mean 'fps'"),
        ("gate", {"frames": {"sampler": 3}}, "Unknown frame sampler 3"),
        ("gate", {"sampler": "uniform"}, r"frames\.sampler 'uniform' needs frames\.num_frames"),
    ):
        with pytest.raises(ConfigError, match=message):
            framegate.load_config(preset, **overrides)


NEW_SAMPLER = """
from framegate.settings import Count, PerCall, checked
from framegate.tokenizers.clip.window import window_frames
from framegate.types import FramePlan


@checked
def sample(
    info,
    *,
    stride: Count = 2,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
):
    inside = window_frames(info, (start_seconds, end_seconds))
    return FramePlan.from_indices(inside[::stride], info.frame_times_seconds)
"""


def test_a_sampler_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "every_nth.py").write_text(NEW_SAMPLER)
    monkeypatch.setattr(samplers, "__path__", [*samplers.__path__, str(tmp_path)])
    info = VideoInfo(
        source="clip.mp4",
        width_px=8,
        height_px=8,
        frame_times_seconds=np.arange(9) / 10,
        duration_seconds=0.9,
        codec="raw",
    )
    assert "every_nth" in sampler_names()
    assert framegate.plan_frames(info, "every_nth", stride=4).indices.tolist() == [0, 4, 8]
    config = framegate.load_config("gate", sampler="every_nth", stride=3)
    assert config.frames.to_dict() == {"sampler": "every_nth", "stride": 3}
    assert sample_frames(info, config.frames, (0.2, None)).indices.tolist() == [2, 5, 8]
    with pytest.raises(ConfigError, match=r"frames\.stride is 0; it must be at least 1"):
        framegate.load_config("gate", sampler="every_nth", stride=0)


def test_a_rate_left_open_is_not_taken_over_where_it_has_to_be_said():
    assert framegate.load_config("framegate", sampler="tass").frames.settings["fps"] == 2.0
    assert (
        FramesConfig(settings={"max_frames": None}).over(sampler="keyframes").settings["max_frames"] is None
    )


def test_a_copy_with_changes():
    config = framegate.load_config("date").frames.over(sampler="uniform", num_frames=4)
    assert config.to_dict() == {"sampler": "uniform", "num_frames": 4, "max_frames": 256}
    assert FramesConfig().over(fps=4).fps == 4
