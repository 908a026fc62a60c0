"""What the vLLM plug-in hands to vLLM, without vLLM: frames, true times, caps; tests/clients has the real one."""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from clips import gradient_frames, write_clip

from framegate.errors import CapError, ConfigError, FrameError
from framegate.models.tiny import tiny_pair
from framegate.tokenizers.caps import Caps
from framegate.tokenizers.clip.stream import VideoStream
from framegate.tools import vllm
from framegate.tools.vllm.frames import CAPS_VARIABLE, read_video, served_caps

# a clock that no rate tells
TIMES_MS = [0, 100, 150, 700, 1400, 1500, 1550, 2900]
CAPS = served_caps(None)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Eight frames at odd times, as bytes."""
    folder = tmp_path_factory.mktemp("clips")
    frames = gradient_frames(len(TIMES_MS), height_px=64, width_px=96)
    return write_clip(folder / "odd.mp4", frames, times_ms=TIMES_MS).read_bytes()


def test_times_are_the_files_own_and_transformers_writes_them(clip):
    frames, metadata = read_video(clip, {"fps": 1000.0, "max_frames": None}, CAPS)
    assert frames.shape == (8, 64, 96, 3)
    assert metadata["frames_indices"] == TIMES_MS
    _, processor = tiny_pair("qwen3_vl")
    told = {name: value for name, value in metadata.items() if name != "do_sample_frames"}
    text = f"<|vision_start|>{processor.video_token}<|vision_end|>"
    inputs = processor(text=[text], videos=[frames], video_metadata=[told], do_sample_frames=False)
    written = processor.decode(inputs["input_ids"][0])
    middles = [(a + b) / 2000 for a, b in zip(TIMES_MS[::2], TIMES_MS[1::2], strict=True)]
    assert all(f"<{seconds:.1f} seconds>" in written for seconds in middles)


def test_frames_are_those_of_the_plan(clip):
    import framegate

    frames, metadata = read_video(clip, {"sampler": "uniform"}, CAPS, num_frames=3)
    plan = framegate.plan_frames(clip, "uniform", num_frames=3)
    assert np.allclose(np.array(metadata["frames_indices"]) / metadata["fps"], plan.timestamps_seconds)
    with framegate.open_video(clip) as stream:
        want = [frame.pixels for frame in stream.frames(plan)]
    assert np.array_equal(frames, np.stack(want))


@pytest.mark.parametrize(
    ("cap", "most"), [("cap_frames", 2), ("cap_pixels", 100), ("cap_seconds", 1.0), ("cap_bytes", 100)]
)
def test_caps_are_looked_at_before_a_frame_is_decoded_and_requests_only_lower_them(
    clip, cap, most, monkeypatch
):
    monkeypatch.setattr(VideoStream, "frames", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(CapError) as caught:
        read_video(clip, {"fps": 1000.0, cap: most}, CAPS)
    assert caught.value.cap == cap
    with pytest.raises(CapError):
        read_video(clip, {"fps": 1000.0, cap: most * 1000}, Caps(**{cap: most}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backend": "torchcodec"}, "backend"),
        ({"fps": "4"}, "fps"),
        ({"cap_frames": 0}, "cap_frames"),
        ({"sampler": "apollo"}, "apollo"),
    ],
)
def test_what_cannot_be_followed_is_refused(clip, settings, words):
    with pytest.raises(ConfigError, match=words):
        read_video(clip, settings, CAPS)


def test_a_number_of_frames_that_somebody_chose_is_refused_and_vllms_own_is_not(clip):
    assert len(read_video(clip, {"fps": 1.0}, CAPS, num_frames=32)[0]) == len(
        read_video(clip, {"fps": 1.0}, CAPS)[0]
    )
    with pytest.raises(ConfigError, match="max_frames=8"):
        read_video(clip, {}, CAPS, num_frames=8)


def test_a_file_that_is_none_is_a_value_error_which_vllm_answers_with_400():
    with pytest.raises(FrameError, match="cannot be opened as a video"):
        read_video(b"no video", {}, CAPS)


def test_the_servers_caps_stand_in_the_environment():
    assert served_caps('{"cap_seconds": 9, "cap_frames": null}').cap_seconds == 9
    assert served_caps('{"cap_frames": null}').cap_frames is None
    for wrong in ("{", "3", '{"cap_second": 9}', '{"cap_seconds": 0}'):
        with pytest.raises(ConfigError):
            served_caps(wrong)


def test_register_adds_the_loader_and_the_models_and_is_told_of_wrong_caps(monkeypatch):
    """Against a stub of the names that it imports."""
    registered, models = {}, {}

    class Registry:
        def register(self, name):
            return lambda loader: registered.setdefault(name, loader)

    vllm_itself, video = ModuleType("vllm"), ModuleType("vllm.multimodal.video")
    video.VIDEO_LOADER_REGISTRY, video.VideoLoader = Registry(), type("VideoLoader", (), {})
    vllm_itself.ModelRegistry = SimpleNamespace(register_model=models.setdefault)
    for module in (vllm_itself, ModuleType("vllm.multimodal"), video):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "framegate.tools.vllm.loader", raising=False)
    vllm.register()
    assert list(registered) == ["framegate"]
    assert models == vllm.MODELS
    for name, place in models.items():
        path, class_name = place.split(":")
        assert f"class {class_name}(" in Path(find_spec(path).origin).read_text()
        assert class_name == name
    monkeypatch.setenv(CAPS_VARIABLE, "{")
    with pytest.raises(ConfigError):
        vllm.register()
