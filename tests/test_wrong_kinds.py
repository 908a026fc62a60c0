"""Settings of another kind than they should be: the error names the setting, its value and what would work."""

import numpy as np
import pytest
import torch
from clips import gradient_frames, write_clip
from tiny import moving_frames

import framegate
from framegate.errors import FramegateError
from framegate.models.tiny import tiny_pair

FRAMES = gradient_frames(4)
ADDRESS = "http://127.0.0.1:9/none.mp4"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", moving_frames(12))


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (FRAMES, {"fps": "3"}, "fps is '3'; it must be a number or None"),
        (FRAMES, {"fps": True}, "fps is True; it must be a number or None"),
        (FRAMES, {"timestamps_seconds": 5}, "timestamps_seconds is 5; give a number of seconds per frame"),
        (FRAMES, {"timestamps_seconds": "0123"}, "timestamps_seconds is '0123'; give a number"),
        (FRAMES, {"timestamps_seconds": [[0, 1]] * 4}, r"timestamps_seconds is \[\[0, 1\].*; give a number"),
        (FRAMES, {"timestamps_seconds": [None] * 4}, r"timestamps_seconds is \[None.*; give a number"),
        (FRAMES, {"channels_first": "yes"}, "channels_first is 'yes'; it must be true or false or None"),
        ("clip", {"video_stream": "0"}, "video_stream is '0'; it must be a whole number or None"),
        ("clip", {"video_stream": True}, "video_stream is True; it must be a whole number or None"),
        ("clip", {"window_seconds": ("1", "2")}, r"window_seconds is \('1', '2'\); give \(start, end\)"),
        (ADDRESS, {"live_fps": "3"}, "live_fps is '3'; it must be a number or None"),
        (ADDRESS, {"format": 5}, "format is 5; it must be text or None"),
        (ADDRESS, {"options": "a"}, "options is 'a'; it must be a mapping or None"),
        (
            ADDRESS,
            {"options": {"reconnect": [1]}},
            r"options\['reconnect'\] is \[1\]; it must be text or a whole",
        ),
        (ADDRESS, {"options": {1: "a"}}, "options has the key 1; it must be text"),
        (ADDRESS, {"timeout_seconds": "3"}, "timeout_seconds is '3'; it must be a number or None"),
        (ADDRESS, {"timeout_seconds": float("inf")}, "timeout_seconds is inf; it must be above 0 and finite"),
    ],
)
def test_of_open_video(source, settings, message, clip):
    with pytest.raises(FramegateError, match=message):
        framegate.open_video(clip if isinstance(source, str) and source == "clip" else source, **settings)


def test_numbers_among_ffmpegs_options_are_spelled_for_it(clip):
    options = {"probesize": 500_000, "max_delay": 1.0}
    with framegate.open_video(clip, format="mov", options=options) as stream:
        assert len(list(stream.frames())) == 12


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_times_in_any_row_of_numbers(kind):
    with framegate.open_video(FRAMES, timestamps_seconds=kind([0.0, 1.0, 2.0, 3.0])) as stream:
        assert stream.info.frame_times_seconds.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"plan": [0, 1]}, "plan is a list; give a FramePlan"),
        ({"size_px": 5}, r"size_px is 5; it must be \(height, width\)"),
        ({"size_px": ("a", "b")}, r"size_px is \('a', 'b'\); it must be \(height, width\)"),
        ({"size_px": (None, None)}, r"size_px is \(None, None\); it must be \(height, width\)"),
    ],
)
def test_of_frames(settings, message, clip):
    with framegate.open_video(clip) as stream, pytest.raises(FramegateError, match=message):
        stream.frames(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width_px": "640"}, "width_px is '640'; it must be a whole number"),
        ({"width_px": True}, "width_px is True; it must be a whole number"),
        ({"cell_px": 28.5}, "cell_px is 28.5; it must be a whole number"),
        ({"start_seconds": "1"}, "start_seconds is '1'; it must be a number or None"),
        ({"end_seconds": [2]}, r"end_seconds is \[2\]; it must be a number or None"),
        ({"family": 5}, "model_type 5 is not supported"),
        ({"plan": 5}, "plan is a int; give a FramePlan or a GatePlan"),
        ({"fps": "2"}, "frames.fps is '2'; it must be a number or None"),
        ({"keep_ratio": "0.25"}, "keep_ratio is '0.25'; it must be a number or None"),
    ],
)
def test_of_plan_video(settings, message, clip):
    with pytest.raises(FramegateError, match=message):
        framegate.plan_video(clip, **settings)


def test_whole_numbers_of_numpy_are_whole_numbers(clip):
    plan = framegate.plan_video(clip, width_px=np.int64(112), cell_px=np.int32(28))
    assert plan.keep.shape[2] == 4


@pytest.mark.parametrize(
    ("sampler", "settings", "message"),
    [
        ("fps", {"fps": "2"}, "fps.fps is '2'; it must be a number or None"),
        ("uniform", {"num_frames": "3"}, "uniform.num_frames is '3'; it must be a whole number"),
        ("fps", {"start_seconds": "1"}, "fps.start_seconds is '1'; it must be a number or None"),
        (5, {}, "Unknown frame sampler 5"),
    ],
)
def test_of_plan_frames(sampler, settings, message, clip):
    with pytest.raises(FramegateError, match=message):
        framegate.plan_frames(clip, sampler, **settings)


@pytest.mark.parametrize("stream", [5, "clip.mp4", None])
def test_a_stream_is_opened_before_it_is_gated(stream):
    with pytest.raises(FramegateError, match="stream is .*framegate.open_video"):
        framegate.gate_stream(stream)


def test_what_is_no_model_has_no_front_end():
    assert framegate.front_end_of(5) is None


@pytest.mark.parametrize("name", [5, None])
def test_a_checkpoint_is_a_name_or_a_folder(name):
    with pytest.raises(FramegateError, match=f"name_or_path is {name}; give a folder or a hub id"):
        framegate.from_pretrained(name)


@pytest.fixture(scope="module")
def processor():
    model, processor = tiny_pair("qwen2_5_vl")
    framegate.attach(model, processor, keep_ratio=0.5)
    return processor


def call(processor, video, **settings):
    return processor(text=["<|video_pad|>"], videos=[video], return_tensors="pt", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_frames": "4"}, "min_frames is '4'; it must be a whole number"),
        ({"max_frames": 2.5}, "max_frames is 2.5; it must be a whole number"),
        ({"cap_pixels_per_frame": "yes"}, "cap_pixels_per_frame is 'yes'; it must be true or false"),
        ({"max_video_tokens": "5"}, "max_video_tokens is '5'; it must be a whole number"),
        ({"keep_ratio": "0.5"}, "keep_ratio is '0.5'; it must be a number"),
        ({"size": 5}, "size is 5; it needs 'shortest_edge' and 'longest_edge'"),
        ({"resample": "cubic"}, r"resample is 'cubic'; it must be 1 \(lanczos\) or 2"),
    ],
)
def test_of_a_call_of_the_processor(settings, message, processor, clip):
    with pytest.raises(FramegateError, match=message):
        call(processor, str(clip), **settings)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"fps": "3"}, "video_metadata.fps is '3'; it must be a number or None"),
        ({"fps": 0}, "video_metadata.fps is 0.*; it must be above 0"),
        ({"fps": 3, "total_num_frames": "4"}, "video_metadata.total_num_frames is '4'; it must be a whole"),
        (
            {"fps": 3, "frames_indices": 5},
            "video_metadata.frames_indices is 5; give a whole number per frame",
        ),
        (
            {"fps": 3, "frames_indices": ["a"] * 4},
            r"frames_indices is \['a'.*; give a whole number per frame",
        ),
    ],
)
def test_of_the_metadata_of_frames(metadata, message, processor):
    with pytest.raises(FramegateError, match=message):
        call(processor, moving_frames(4), video_metadata=[{"total_num_frames": 4} | metadata])


def test_of_the_layout_of_frames(processor):
    with pytest.raises(FramegateError, match="input_data_format is 'first'. Did you mean 'channels_first'"):
        call(processor, moving_frames(4), input_data_format="first")


@pytest.mark.parametrize("video", [5, True, {}, {"url": "a.mp4"}])
def test_what_is_no_video_is_said_to_be_none(video, processor):
    with pytest.raises(FramegateError, match="which is no video; pass paths"):
        call(processor, video)


def test_whole_numbers_in_a_message_may_be_spelled_as_floats(processor, clip):
    for frames in (4, 4.0, "4", "4.0"):
        block = {"type": "video", "video": str(clip), "nframes": frames}
        messages = [{"role": "user", "content": [block, {"type": "text", "text": "What moves?"}]}]
        inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
        assert inputs["video_grid_thw"][0, 0] == 2
