"""The video loader inside of vLLM's own media code, which needs no GPU: found, chosen by name, its times read."""

from importlib.metadata import entry_points

import numpy as np
import pytest

import framegate

pytestmark = pytest.mark.clients
video = pytest.importorskip("vllm.multimodal.video", reason="vllm is not installed")


@pytest.fixture(scope="module")
def media_io():
    """The loader's place in vLLM, after vLLM's own way of loading plug-ins."""
    from vllm.multimodal.media.image import ImageMediaIO
    from vllm.multimodal.media.video import VideoMediaIO
    from vllm.plugins import load_plugins_by_group

    found = load_plugins_by_group("vllm.general_plugins")
    found["framegate"]()
    # again, as in a second process that was forked
    found["framegate"]()

    def make(server, request=None):
        merged = VideoMediaIO.merge_kwargs({"video_backend": "framegate", **server}, request)
        return VideoMediaIO(ImageMediaIO(), **merged)

    return make


def test_the_entry_point_is_the_plug_in():
    (found,) = (one for one in entry_points(group="vllm.general_plugins") if one.name == "framegate")
    assert found.value == "framegate.tools.vllm:register"


def test_vllm_reads_a_file_by_the_frame_plan(media_io, clip):
    frames, metadata = media_io({"fps": 4}).load_file(clip).media
    plan = framegate.plan_frames(clip, "fps", fps=4)
    with framegate.open_video(clip) as stream:
        want = np.stack([frame.pixels for frame in stream.frames(plan)])
    assert np.array_equal(frames, want)
    assert np.allclose(
        np.array(metadata["frames_indices"]) / metadata["fps"], plan.timestamps_seconds, atol=5e-4
    )


def test_a_request_chooses_frames_and_lowers_caps_and_its_mistakes_are_value_errors(media_io, clip):
    frames, _ = media_io({"fps": 4}, {"sampler": "uniform", "num_frames": 3}).load_file(clip).media
    assert len(frames) == 3
    for request, words in (({"cap_frames": 2}, "cap_frames is 2"), ({"backend": "torchcodec"}, "backend")):
        with pytest.raises(ValueError, match=words):
            media_io({"fps": 4}, request).load_file(clip)


def test_vllms_qwen3_vl_writes_the_files_own_times(media_io, clip):
    models = pytest.importorskip("vllm.model_executor.models.qwen3_vl")
    frames, metadata = media_io({"fps": 4}).load_file(clip).media
    info = models.Qwen3VLProcessingInfo.__new__(models.Qwen3VLProcessingInfo)
    times = framegate.plan_frames(clip, "fps", fps=4).timestamps_seconds
    written = info._calculate_timestamps(metadata["frames_indices"], metadata["fps"], 2)
    assert np.allclose(
        written, [(a + b) / 2 for a, b in zip(times[::2], times[1::2], strict=True)], atol=5e-4
    )
