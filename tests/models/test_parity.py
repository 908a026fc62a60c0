"""All ways in agree: source x preset x family x way, equal anchors."""

import sys
from dataclasses import replace
from io import StringIO

import av
import numpy as np
import pytest
import torch
from noted import plans_of
from PIL import Image
from tiny import stock_model, stock_processor
from tiny_llava import llava_model, llava_processor

import framegate
from framegate.configs.loader import load_config
from framegate.errors import FrameError, PlanError
from framegate.models.attachment import gating
from framegate.tokenizers.gate.plan import GatePlan

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "llava_onevision")
PRESETS = {
    "gate": {"keep_ratio": 0.6},
    "grt": {},
    "rlt": {"keep_ratio": 0.6},
    "framegate": {"tower_ratio": 0.6, "keep_ratio": 0.6},
}
# frames per second that no file has: all of its frames
EVERY = 1000.0
QUESTION = {"type": "text", "text": "What moves?"}


def shown():
    """uint8 [6, 112, 140, 3]: a block that walks over coarse noise."""
    rng = np.random.default_rng(3)
    ground = rng.integers(40, 200, (7, 10, 3), dtype=np.uint8).repeat(16, 0).repeat(14, 1)
    frames = np.stack([ground] * 6)
    for number, frame in enumerate(frames):
        frame[30:60, 10 + 14 * number : 40 + 14 * number] = 230
    return frames


def written(path, frames):
    """A lossless file of RGB frames, so that its pixels are the array's."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "bgr0"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return str(path)


SOURCES = {
    "file": lambda frames, folder: written(folder / "clip.mkv", frames),
    "uint8": lambda frames, _: frames,
    "float in [0, 1]": lambda frames, _: frames / 255.0,
    "float in [0, 255]": lambda frames, _: torch.from_numpy(frames).float(),
    "pictures": lambda frames, _: [Image.fromarray(frame) for frame in frames],
    "grey": lambda frames, _: frames.mean(-1).round().astype(np.uint8),
}


def pair(family):
    if family == "llava_onevision":
        return llava_model(), llava_processor()
    return stock_model(family), stock_processor(family)


def asked(processor, video, **block):
    messages = [{"role": "user", "content": [{"type": "video", "video": video, **block}, QUESTION]}]
    return processor.apply_chat_template(
        messages,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_sample_frames": False},
    )


def whole(frames):
    """What a stock processor takes: it knows neither greyscale, nor floats by their range, nor this file's reader."""
    return np.stack([frames] * 3, -1) if frames.ndim == 3 else frames


def anchors_by_stock_pixels(model, processor, frames, preset, settings, monkeypatch):
    """The anchors that the gate finds when it stands behind the stock processor."""
    inputs, seen = asked(processor, whole(frames)), []
    read = gating.plan_frames_array
    monkeypatch.setattr(gating, "plan_frames_array", lambda *a, **k: seen.append(read(*a, **k)) or seen[-1])
    with framegate.attach(model, None, preset, **settings), torch.no_grad():
        model(**inputs)
    monkeypatch.undo()
    return seen[0].anchor


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_all_ways_in_agree(family, preset, tmp_path, monkeypatch):
    model, processor = pair(family)
    settings, frames = PRESETS[preset] | {"fps": EVERY}, shown()
    config = load_config(preset, **settings)
    if hasattr(processor.video_processor, "do_sample_frames"):
        processor.video_processor.do_sample_frames = False
    grey = SOURCES["grey"](frames, None)
    stock = {
        name: anchors_by_stock_pixels(model, processor, pixels, preset, settings, monkeypatch)
        for name, pixels in (("colour", frames), ("grey", grey))
    }
    assert (stock["colour"] != stock["colour"][:1]).any()
    front_end = framegate.attach(model, processor, config)
    for name, make in SOURCES.items():
        video = make(frames, tmp_path)
        wanted = stock["grey" if name == "grey" else "colour"]
        planned = framegate.plan_video(video, config, processor=processor)
        np.testing.assert_array_equal(planned.anchor, wanted, err_msg=f"plan_video: {name}")
        content = video if name != "grey" else video[..., None]
        (carried,) = plans_of(asked(processor, content))
        np.testing.assert_array_equal(carried.anchor, wanted, err_msg=f"processor: {name}")
        np.testing.assert_array_equal(carried.keep, planned.keep)
    front_end.detach()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_is_taken_in_a_message(family, tmp_path):
    model, processor = pair(family)
    path = written(tmp_path / "clip.mkv", shown())
    with framegate.attach(model, processor, "gate", keep_ratio=0.6, fps=EVERY) as front_end:
        plan = framegate.plan_video(path, "gate", keep_ratio=0.8, fps=EVERY, processor=processor)
        frames = framegate.plan_frames(path, fps=12)
        fewer = framegate.plan_video(path, "gate", keep_ratio=0.6, processor=processor, frames=frames)
        (carried,) = plans_of(asked(processor, path, plan=plan))
        np.testing.assert_array_equal(carried.anchor, plan.anchor)
        (carried,) = plans_of(asked(processor, shown(), plan=plan))
        np.testing.assert_array_equal(carried.anchor, plan.anchor)
        (carried,) = plans_of(asked(processor, path, plan=frames))
        np.testing.assert_array_equal(carried.anchor, fewer.anchor)
        assert len(carried.keep) * plan.tube_frames >= 3
        with torch.no_grad():
            model(**asked(processor, path, plan=plan))
        assert front_end.report.encoded_cells == plan.num_kept


class Terminal(StringIO):
    def isatty(self):
        return True


def test_a_bar_is_drawn_where_it_is_asked_for(tmp_path, monkeypatch):
    _, processor = pair("qwen2_5_vl")
    path, drawn = written(tmp_path / "clip.mkv", shown()), []
    for whose in ({}, {"processor": processor}):
        for show_progress in (False, True):
            monkeypatch.setattr("sys.stderr", Terminal())
            framegate.plan_video(
                path, "gate", keep_ratio=0.6, fps=EVERY, show_progress=show_progress, **whose
            )
            drawn.append(bool(sys.stderr.getvalue()))
    assert drawn == [False, True] * 2


def test_a_plan_of_something_else_is_refused(tmp_path):
    model, processor = pair("qwen2_5_vl")
    path = written(tmp_path / "clip.mkv", shown())
    other = framegate.plan_video(path, "gate", keep_ratio=0.6, fps=EVERY, width_px=84, tube_frames=2)
    longer = written(tmp_path / "longer.mkv", np.concatenate([shown(), shown()]))
    long_plan = framegate.plan_frames(longer, fps=EVERY)
    with framegate.attach(model, processor, "gate", keep_ratio=0.6, fps=EVERY):
        with pytest.raises(PlanError, match=r"84 x .* px .* here they are 140 x 112 px"):
            asked(processor, path, plan=other)
        with pytest.raises(FrameError, match="names frame 11; .* has 6 frames"):
            asked(processor, path, plan=long_plan)
        plan = framegate.plan_video(longer, "gate", keep_ratio=0.6, fps=EVERY, processor=processor)
        with pytest.raises(FrameError, match="Give the video that was planned"):
            asked(processor, path, plan=plan)
        unpacked = plans_of(asked(processor, longer))[0]
        with pytest.raises(PlanError, match="6 tubes of 2 frames; this clip has 3"):
            asked(processor, path, plan=unpacked)
        with pytest.raises(FrameError, match="plan is a str"):
            asked(processor, path, plan="gate")
        late = framegate.plan_frames(framegate.open_video(shown(), fps=5).info, fps=5)
        with pytest.raises(FrameError, match="it is at 0.042 s"):
            framegate.plan_video(path, "gate", frames=late)


def test_tubes_of_a_stream_join_to_a_plan_that_a_model_takes(tmp_path):
    model, processor = pair("qwen2_5_vl")
    path = written(tmp_path / "clip.mkv", shown())
    with framegate.open_video(path) as stream:
        settings = {"width_px": 140, "cell_px": 28, "tube_frames": 2, "fps": EVERY}
        tubes = list(framegate.gate_stream(stream, "gate", **settings))
    run = GatePlan.concatenate(tubes[1:])
    with framegate.attach(model, processor, "gate", keep_ratio=None) as front_end, torch.no_grad():
        inputs = asked(processor, run.source_frames(), plan=run_from_zero(run))
        model(**inputs)
        assert front_end.report.encoded_cells == run.num_kept


def run_from_zero(run):
    """Frames without times begin at 0: so does the plan that goes with them."""
    return replace(run, timestamps_seconds=run.timestamps_seconds - run.timestamps_seconds[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoints_own_normalisation_holds_on_both_ways_in(family, monkeypatch):
    model, processor = pair(family)
    processor.video_processor.image_mean, processor.video_processor.image_std = (
        [0.1, 0.2, 0.3],
        [0.9, 0.8, 0.7],
    )
    processor.video_processor.do_sample_frames = False
    settings = {"keep_ratio": 0.6}
    inputs, seen = asked(processor, shown()), []
    read = gating.plan_frames_array
    monkeypatch.setattr(gating, "plan_frames_array", lambda *a, **k: seen.append(read(*a, **k)) or seen[-1])
    with framegate.attach(model, processor, "gate", **settings), torch.no_grad():
        (carried,) = plans_of(asked(processor, shown()))
        model(**inputs)
    np.testing.assert_array_equal(seen[0].anchor, carried.anchor)
