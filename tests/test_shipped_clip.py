"""The clip that ships: it is what its script renders, and its ground truth is what its pixels show."""

import importlib.util
import json
from importlib import resources
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

ASSETS = resources.files("framegate") / "assets"
SCRIPT = Path(__file__).parent.parent / "examples" / "render_slides.py"


@pytest.fixture(scope="module")
def frames():
    with av.open(str(ASSETS / "slides.mp4")) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def truth():
    return json.loads((ASSETS / "slides.json").read_text())


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("render_slides", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "render_slides", module)
        spec.loader.exec_module(module)
        yield module


def crop(frames, index, box):
    left, top, right, bottom = (max(0, round(value)) for value in box)
    return frames[index, top:bottom, left:right].astype(float)


def psnr(a, b):
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b.astype(float)) ** 2), 1e-9))


def test_file_is_small_and_as_described(frames, truth):
    assert (ASSETS / "slides.mp4").stat().st_size < 1_000_000
    video = truth["video"]
    assert frames.shape == (video["num_frames"], video["height_px"], video["width_px"], 3)
    assert 20 <= video["num_frames"] / video["fps"] <= 30


@pytest.mark.parametrize("index", [0, 47, 98, 125, 160, 249])
def test_frames_are_those_of_the_script(frames, script, index):
    assert psnr(frames[index], script.render_frame(index)) > 32


def test_truth_is_that_of_the_script(truth, script):
    assert json.loads(json.dumps(script.ground_truth())) == truth


def test_texts_appear_when_the_truth_says(frames, truth):
    fps = truth["video"]["fps"]
    bullets = [text for text in truth["texts"] if text["role"] == "bullet"]
    assert len(bullets) == 9
    for text in bullets:
        start = round(text["start_seconds"] * fps)
        before, after = crop(frames, start - 1, text["box_px"]), crop(frames, start, text["box_px"])
        # dark ink on a light ground: the cursor alone covers far less
        assert (after < 120).mean() > (before < 120).mean() + 0.05, text["text"]


def test_ink_stays_inside_its_box(script):
    for slide in script.SLIDES:
        pixels = np.asarray(script.draw_slide(slide, slide.end_seconds)).copy()
        for text, *_ in script.slide_texts(slide):
            left, top, right, bottom = text.box_px
            assert (pixels[top:bottom, left:right].max(-1) < 150).mean() > 0.04
            pixels[top:bottom, left:right] = 255
        # bullets' squares, the rule and the band on top are all that is left
        assert (pixels[90:, 60:].max(-1) < 150).sum() == 0


def test_cuts_change_the_frame_and_nothing_else_does(frames, truth):
    fps = truth["video"]["fps"]
    jumps = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean((1, 2, 3))
    cuts = {round(seconds * fps) for seconds in truth["cuts_seconds"]}
    calm = [
        index
        for index in range(1, len(frames))
        if index not in cuts
        and not truth["pan"]["start_seconds"] * fps <= index <= truth["pan"]["end_seconds"] * fps
    ]
    assert min(jumps[cut - 1] for cut in cuts) > 3 * max(jumps[index - 1] for index in calm)


def test_pan_moves_the_picture_by_the_offsets(frames, truth):
    fps, pan = truth["video"]["fps"], truth["pan"]
    first = round(pan["start_seconds"] * fps)
    offsets = np.array(pan["offsets_px"])
    for index in (135, 150, 170):
        pair = [cv2.cvtColor(frames[i], cv2.COLOR_RGB2GRAY).astype(np.float32) for i in (index, index + 1)]
        window = cv2.createHanningWindow(pair[0].shape[::-1], cv2.CV_32F)
        measured = np.array(cv2.phaseCorrelate(pair[0], pair[1], window)[0])
        expected = offsets[index - first] - offsets[index + 1 - first]
        assert np.abs(measured - expected).max() < 0.35


def test_poster_labels_lie_where_the_offsets_put_them(frames, truth):
    fps, pan = truth["video"]["fps"], truth["pan"]
    index = 160
    offset = pan["offsets_px"][index - round(pan["start_seconds"] * fps)]
    label = next(text for text in truth["poster_texts"] if text["text"] == "Fish market")
    box = [value - offset[axis % 2] for axis, value in enumerate(label["poster_box_px"])]
    pixels = crop(frames, index, box)
    assert np.median(pixels) > 200
    assert 0.05 < (pixels < 120).mean() < 0.5


def test_cursor_is_dark_at_its_tip(frames, truth):
    for index in (15, 50, 110, 240):
        x, y = truth["cursor_px"][index]
        assert crop(frames, index, (x, y + 2, x + 8, y + 14)).min() < 80
    assert truth["cursor_px"][150] is None


def test_inset_moves_all_the_time(frames, truth):
    for index in (20, 80, 230):
        change = np.abs(
            crop(frames, index, truth["inset"]["box_px"]) - crop(frames, index + 1, truth["inset"]["box_px"])
        )
        assert change.mean() > 1.0
