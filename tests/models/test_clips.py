"""A plan of several clips in a message: each is a video of its own size and time text, and one prompt holds all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clips import write_clip, write_streams
from known_video import steady_video
from noted import accounts_of
from processor_cases import GATE, chat, text_of
from tiny import moving_frames

import framegate
from framegate.errors import ConfigError, FrameError
from framegate.models.tiny import tiny_pair
from framegate.models.video_processor import attach_processor
from framegate.models.video_processor.clips import planned
from framegate.models.video_processor.message import NOTHING_ASKED
from framegate.tokenizers.clip import file_index, probe
from framegate.tokenizers.scoring import ScoredOnce
from framegate.tokenizers.time_code import burned
from framegate.types import FramePlan


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    frames = moving_frames(80, 336, 448)
    return str(
        write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames, times_ms=range(0, 10_000, 125))
    )


def plan_of(path, parts, *, time_code=None):
    """A plan by hand: (frames, scale) of each group."""
    times = probe(path).frame_times_seconds
    plans = [FramePlan.from_indices(np.array(indices), times) for indices, _ in parts]
    return FramePlan(
        indices=np.concatenate([plan.indices for plan in plans]),
        timestamps_seconds=np.concatenate([plan.timestamps_seconds for plan in plans]),
        scale=np.concatenate(
            [np.full(len(plan), scale) for plan, (_, scale) in zip(plans, parts, strict=True)]
        ),
        group=np.repeat(np.arange(len(plans)), [len(plan) for plan in plans]),
        time_code=time_code,
    )


def attached(family="qwen2_5_vl"):
    processor = tiny_pair(family)[1]
    attach_processor(processor, family, GATE.plan)
    return processor


def test_each_size_is_a_video_of_its_own(path):
    processor = attached()
    inputs = chat(
        processor,
        [{"type": "video", "video": path, "plan": plan_of(path, [(range(0, 8), 1.0), (range(20, 28), 0.5)])}],
    )
    large, small = inputs["video_grid_thw"].tolist()
    assert large[0] == small[0] == 4
    # in whole cells of 2 x 2 patches
    assert all(abs(2 * half - side) <= 2 for half, side in zip(small[1:], large[1:], strict=True))
    assert [one.num_frames for one in accounts_of(inputs)] == [8, 8]


def test_the_common_size_is_that_of_the_whole_plan(path):
    """Clips share the pixels that one video of all their frames would get."""
    processor = attached("qwen3_vl")
    processor.video_processor.size = type(processor.video_processor.size)(
        shortest_edge=1024, longest_edge=32 * 32 * 48
    )
    frames = range(0, 16)
    whole = chat(processor, [{"type": "video", "video": path, "plan": plan_of(path, [(frames, 1.0)])}])
    parts = plan_of(path, [(range(0, 8), 1.0), (range(8, 16), 1.0)], time_code="clip")
    apart = chat(processor, [{"type": "video", "video": path, "plan": parts}])
    assert {tuple(grid[1:]) for grid in apart["video_grid_thw"].tolist()} == {
        tuple(whole["video_grid_thw"][0, 1:].tolist())
    }


def test_a_text_says_from_when_to_when_a_clip_shows(path):
    processor = attached()
    plan = plan_of(path, [(range(0, 8), 1.0), (range(20, 28), 1.0)], time_code="clip")
    text = text_of(processor, chat(processor, [{"type": "video", "video": path, "plan": plan}]))
    first, second = (
        f"{a:.1f} to {b:.1f} seconds:"
        for a, b in (plan.timestamps_seconds[[0, 7]], plan.timestamps_seconds[[8, 15]])
    )
    assert text.index(first) < text.index(second)


def test_groups_alone_stay_one_video(path):
    """KFFocus counts scenes in groups; nobody asked to see them apart."""
    processor = attached()
    plan = plan_of(path, [(range(0, 8), 1.0), (range(20, 28), 1.0)])
    assert len(chat(processor, [{"type": "video", "video": path, "plan": plan}])["video_grid_thw"]) == 1
    apart = chat(processor, [{"type": "video", "video": path, "plan": plan, "time_code": "clip"}])
    assert len(apart["video_grid_thw"]) == 2


def test_a_number_before_every_frame(path):
    processor = attached()
    plan = plan_of(path, [([0, 12, 30], 1.0)], time_code="frame")
    inputs = chat(processor, [{"type": "video", "video": path, "plan": plan}])
    assert inputs["video_grid_thw"][:, 0].tolist() == [1, 1, 1]
    text = text_of(processor, inputs)
    assert text.index("frame 0:") < text.index("frame 12:") < text.index("frame 30:")


@pytest.mark.parametrize("in_memory", [False, True])
def test_burned_seconds_are_in_the_pixels_that_the_tower_reads(path, in_memory):
    processor = attached()
    source = path
    if in_memory:
        with framegate.open_video(path) as stream:
            source = np.stack([frame.pixels for frame in stream.frames()][:16])
    block = {"type": "video", "video": source, "keep_ratio": 1.0} | (
        {"sample_fps": 10.0} if in_memory else {"plan": plan_of(path, [(range(0, 16), 1.0)])}
    )
    plain, drawn = (
        chat(processor, [block | more])["pixel_values_videos"] for more in ({}, {"time_code": "burned"})
    )
    assert plain.shape == drawn.shape
    changed = (plain != drawn).any(1)
    assert 0 < changed.float().mean() < 0.3


def test_a_stamp_is_the_whole_second_in_red():
    grey = np.full((128, 192, 3), 128, np.uint8)
    shown = burned(grey, 7.96)
    assert not np.shares_memory(shown, grey)
    rows, columns = np.nonzero((shown != grey).any(2))
    assert rows.min() > 96
    assert columns.min() > 150
    assert shown[rows, columns, 0].max() == 255
    assert np.array_equal(shown, burned(grey, 7.0))
    assert not np.array_equal(shown, burned(grey, 8.0))


def test_a_sampler_by_name_in_a_message(path):
    processor = attached()
    named = chat(
        processor, [{"type": "video", "video": path, "plan": {"sampler": "uniform", "num_frames": 6}}]
    )
    made = chat(
        processor,
        [{"type": "video", "video": path, "plan": framegate.plan_frames(path, "uniform", num_frames=6)}],
    )
    assert torch.equal(named["pixel_values_videos"], made["pixel_values_videos"])
    with pytest.raises(ConfigError, match="sampler's name"):
        chat(processor, [{"type": "video", "video": path, "plan": {"num_frames": 6}}])
    with pytest.raises(ConfigError, match="Unknown frame sampler 'unifrom'"):
        chat(processor, [{"type": "video", "video": path, "plan": {"sampler": "unifrom"}}])


def test_the_clips_of_a_plan_share_what_is_read_of_the_file(path, monkeypatch):
    seen = []
    read = file_index.read_packets
    monkeypatch.setattr(file_index, "read_packets", lambda *given: seen.append(1) or read(*given))
    plan = {"sampler": "apollo", "fps": 2.0, "max_frames": 16}
    inputs = chat(attached(), [{"type": "video", "video": path, "plan": plan}])
    assert len(inputs["video_grid_thw"]) == 4
    assert len(seen) == 2  # to plan, and to read


def test_a_sampler_by_name_takes_as_many_frames_as_a_configuration():
    hour = steady_video(7200, 2.0)

    def frames_of(**options):
        return planned(replace(NOTHING_ASKED, plan=options), hour, "", None).plan

    for options in (
        {"sampler": "fps"},
        {"sampler": "apollo"},
        {"sampler": "slow_fast", "intervals": [[3, 9]]},
    ):
        found = frames_of(**options)
        assert len(found) == 768
        assert "max_frames 768" in found.notes[0]
    # who names a number, or says that there is no limit, has it
    assert len(frames_of(sampler="uniform", num_frames=900)) == 900
    assert len(frames_of(sampler="fps", max_frames=None)) == 7200
    assert frames_of(sampler="uniform", num_frames=900, max_frames=800).notes == (
        "max_frames 800: fewer than num_frames 900",
    )


def test_the_front_ends_own_sampler_shows_its_clips_one_by_one(path):
    processor = tiny_pair("qwen2_5_vl")[1]
    config = framegate.load_config("gate", sampler="frame_to_clip", num_frames=4, fps=2.0, max_shrinking=2.0)
    attach_processor(processor, "qwen2_5_vl", config.plan)
    plan = framegate.plan_frames(path, "frame_to_clip", num_frames=4, fps=2.0, max_shrinking=2.0)
    inputs = chat(processor, [{"type": "video", "video": path}])
    assert len(inputs["video_grid_thw"]) == len(np.unique(plan.group)) > 1
    assert sum(one.num_frames for one in accounts_of(inputs)) == len(plan)
    # without a message there is one video, of one size
    text = f"{processor.video_token}"
    (account,) = accounts_of(processor(text=[text], videos=[path], return_tensors="pt"))
    assert account.num_frames == len(plan)
    assert ("scale of the plan: not followed" in str(account.notes)) == (len(np.unique(plan.scale)) > 1)


def test_a_plan_of_several_sizes_outside_of_a_message_says_that_it_is_one_video(path):
    processor = tiny_pair("qwen2_5_vl")[1]
    plan = plan_of(path, [(range(0, 8), 0.5), (range(20, 28), 1.0)])
    whole = framegate.plan_video(
        path, "gate", processor=processor, plan=plan_of(path, [(range(0, 8), 1.0), (range(20, 28), 1.0)])
    )
    found = framegate.plan_video(path, "gate", processor=processor, plan=plan)
    assert found.keep.shape == whole.keep.shape
    assert "scale of the plan: not followed" in str(found.notes)
    assert "scale of the plan" not in str(whole.notes)


class Encoder:
    """Scores by the query it was given."""

    def __init__(self):
        self.asked = []

    def encode_frames(self, frames):
        return np.eye(4)[np.arange(len(frames)) % 4].astype(np.float32)

    def encode_text(self, text):
        self.asked.append(text)
        return np.ones(4, np.float32)


def test_the_question_of_the_message_is_the_query(path):
    processor, encoder = attached(), Encoder()
    sampler = {"sampler": "tass", "num_frames": 4, "fps": 2.0, "scorer": encoder}
    chat(processor, [{"type": "video", "video": path, "plan": sampler}])
    chat(processor, [{"type": "video", "video": path, "plan": sampler | {"query": "a cat"}}])
    chat(processor, [{"type": "video", "video": path, "plan": sampler | {"scorer": ScoredOnce(encoder)}}])
    assert encoder.asked == ["What moves?", "a cat", "What moves?"]


def test_slow_clips_come_after_the_fast_stream_that_they_overlap(path):
    processor = attached()
    plan = {"sampler": "slow_fast", "intervals": [[5, 7], [1, 3]]}
    inputs = chat(processor, [{"type": "video", "video": path, "plan": plan}])
    fast, first, second = inputs["video_grid_thw"].tolist()
    assert (fast[0], first[0], second[0]) == (10, 2, 2)
    assert first[1:] == second[1:]
    assert fast[1] < first[1]
    text = text_of(processor, inputs)
    assert text.index("0.0 to 9.9 seconds:") < text.index("1.0 to 3.0") < text.index("5.0 to 7.0")


@pytest.mark.parametrize(("sampler", "text"), [("apollo", "0.0 to 1.5 seconds:"), ("spotlight", "frame 11:")])
def test_samplers_that_tell_clips_apart_do_so_from_a_configuration(path, sampler, text):
    processor = tiny_pair("qwen2_5_vl")[1]
    attach_processor(processor, "qwen2_5_vl", framegate.load_config("gate", sampler=sampler).plan)
    assert text in text_of(processor, chat(processor, [{"type": "video", "video": path}]))


def test_a_window_holds_for_a_sampler_by_name(path):
    processor = attached()
    block = {
        "type": "video",
        "video": path,
        "video_start": 2.0,
        "video_end": 4.0,
        "plan": {"sampler": "fps", "fps": 2.0},
    }
    assert [one.num_frames for one in accounts_of(chat(processor, [block]))] == [4]


def test_towers_of_one_size_say_that_scale_is_not_followed(path):
    processor = attached("llava_onevision")
    plan = plan_of(path, [(range(0, 4), 1.0), (range(20, 24), 0.5)])
    inputs = chat(processor, [{"type": "video", "video": path, "plan": plan}])
    notes = [str(one.notes) for one in accounts_of(inputs)]
    assert "scale" not in notes[0]
    assert "scale 0.5 of the plan: not followed, for this tower takes frames of one size" in notes[1]


@pytest.mark.parametrize("code", ["clip", "frame"])
def test_a_time_code_without_a_plan_of_frames_is_noted(path, code):
    inputs = chat(attached(), [{"type": "video", "video": path, "time_code": code}])
    (account,) = accounts_of(inputs)
    assert f"time_code={code!r} of the message: not followed, for no plan of frames" in str(account.notes)


def test_a_sampler_by_name_looks_at_the_stream_that_the_message_names(tmp_path):
    colours = [((200, 20, 20), 96, 128, 0), ((20, 200, 20), 112, 224, 0)]
    two = str(write_streams(tmp_path / "two.mkv", colours))
    block = {
        "type": "video",
        "video": two,
        "plan": {"sampler": "tass", "num_frames": 1, "fps": 10.0, "scorer": (seen := Greenness())},
    }
    for stream, is_green in ((0, False), (1, True)):
        seen.greens.clear()
        chat(attached(), [block | {"video_stream": stream}])
        assert set(seen.greens) == {is_green}


class Greenness(Encoder):
    """Notes whether the frames that it was shown are green."""

    def __init__(self):
        super().__init__()
        self.greens = []

    def encode_frames(self, frames):
        self.greens += [bool(frame[..., 1].mean() > frame[..., 0].mean()) for frame in frames]
        return super().encode_frames(frames)


def test_frames_that_a_call_asks_for_win_over_the_front_ends_own_clips(path):
    processor = tiny_pair("qwen2_5_vl")[1]
    config = framegate.load_config("gate", sampler="frame_to_clip", num_frames=4, fps=2.0)
    attach_processor(processor, "qwen2_5_vl", config.plan)
    inputs = chat(processor, [{"type": "video", "video": path}], processor_kwargs={"num_frames": 6})
    assert [one.num_frames for one in accounts_of(inputs)] == [6]


def test_an_unknown_time_code_is_refused(path):
    with pytest.raises(FrameError, match="time_code is 'clips'"):
        plan_of(path, [(range(4), 1.0)], time_code="clips")
    with pytest.raises(ConfigError, match="time_code"):
        chat(attached(), [{"type": "video", "video": path, "time_code": "clips"}])


@torch.no_grad()
def test_clips_reach_the_model():
    model, processor = tiny_pair("qwen2_5_vl")
    frames = moving_frames(8)
    with framegate.attach(model, processor, "framegate", keep_ratio=0.5) as front_end:
        content = [
            {"type": "video", "video": frames, "plan": plan_in_memory(8)},
            {"type": "text", "text": "What moves?"},
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        out = model.generate(**inputs, max_new_tokens=2, do_sample=False)
        assert out.shape[1] == inputs["input_ids"].shape[1] + 2
        assert front_end.report.kept_tokens < front_end.report.dense_tokens


def plan_in_memory(count):
    half = count // 2
    return FramePlan(
        indices=np.arange(count),
        timestamps_seconds=np.arange(count) / 24,
        scale=np.array([1.0] * half + [0.5] * half),
        group=np.array([0] * half + [1] * half),
    )
