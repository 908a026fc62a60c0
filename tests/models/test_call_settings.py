"""Settings of a call: each changes what comes out, or is a note, or an error, whatever the family."""

import numpy as np
import pytest
import torch
from clips import gradient_frames, write_clip
from family_cases import FAMILIES
from noted import accounts_of

from framegate.errors import FrameError
from framegate.models.families import families
from framegate.models.video_processor.message import Asked
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.models.video_processor.sources import CarriedVideo
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import FramePlan

pytestmark = pytest.mark.floor

TIMES = np.arange(6) / 10
FRAMES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 98, 130), np.uint8))
SETTINGS = {
    "crop_size": {"height": 28, "width": 28},
    "do_pad": True,
    "data_format": "channels_last",
    "min_pixels": 200 * 200,
    "patch_size": 7,
    "temporal_patch_size": 4,
    "cap_pixels_per_frame": True,
    "do_rescale": False,
    "do_resize": False,
    "fps": 1.0,
    "num_frames": 1,
    "max_frames": 1,
}
# binds long videos alone
UNSEEN = {"cap_pixels_per_frame"}


def reader_of(name):
    return GatedVideoProcessor(name, None, PlanConfig(preset="dense"), replaced=object())


def processed(reader, video=FRAMES, **call):
    """The pixels of a video, and its notes."""
    call = {"video_metadata": [{"fps": 4.0, "total_num_frames": 2}], "do_sample_frames": False} | call
    out = reader.preprocess([video], return_tensors="pt", **call)
    pixels = out["pixel_values_videos" if "pixel_values_videos" in out else "pixel_values"]
    return pixels, " ".join(accounts_of(out)[0].notes)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_setting_of_a_call_is_followed_or_noted_or_refused(name):
    reader, own = reader_of(name), families()[name].recipe.video_values
    plain, notes = processed(reader)
    assert "not followed" not in notes
    silent = []
    for setting, value in SETTINGS.items():
        if own.get(setting) == value or (setting in own and setting in UNSEEN):
            continue
        try:
            pixels, notes = processed(reader, **{setting: value})
        except FrameError:
            continue
        if torch.equal(pixels, plain) == (f"{setting}=" not in notes):
            silent.append(setting)
    # which its stock processor does not read either
    assert silent == ["do_resize"] * name.startswith("minicpm")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "short.mp4", gradient_frames(len(TIMES)))


@pytest.mark.parametrize(
    ("name", "call", "note"),
    [
        (
            "llava_onevision",
            {"max_frames": 4},
            "max_frames=4: not followed, for the own sampling of llava_onevision",
        ),
        (
            "qwen2_vl",
            {"fps": 2.0, "do_sample_frames": False},
            "fps=2: not followed, for do_sample_frames is off",
        ),
        ("qwen2_vl", {"num_frames": 4}, ""),
    ],
)
def test_sampling_of_a_file_that_chooses_no_frame_is_noted(name, call, note, clip):
    _, notes = processed(reader_of(name), str(clip), **({"do_sample_frames": None} | call))
    assert note in notes
    assert bool(note) == ("not followed" in notes)


def test_a_plan_of_frames_wins_over_the_sampling_of_a_call_with_a_note(clip):
    plan = FramePlan.from_indices(np.array([0, 4]), TIMES)
    video = CarriedVideo(str(clip), Asked(plan=plan))
    _, notes = processed(reader_of("qwen2_vl"), video, fps=2.0, do_sample_frames=None)
    assert "fps=2: not followed, for a plan says which frames" in notes
