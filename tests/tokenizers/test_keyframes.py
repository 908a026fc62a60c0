"""Keyframes: compensation by its formula, gaps bounded, budgets exact, cuts found where they are."""

import av
import numpy as np
import pytest
from clips import flip_bytes, gradient_frames, write_clip
from hypothesis import given
from hypothesis import strategies as st
from moving import as_rgb, busy_clip, panned_clip, texture

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip import open_video, probe
from framegate.tokenizers.samplers._content import content_keyframes, difference, find_cuts
from framegate.tokenizers.samplers.keyframes import codec_keyframes, compensated, filled, sample, thinned
from framegate.types import VideoInfo

TIMES = st.lists(st.integers(0, 3000), min_size=1, max_size=120).map(
    lambda gaps: np.cumsum([0, *gaps[:-1]]) / 1000
)


@st.composite
def windows(draw):
    """Irregular times and some keyframes among them."""
    times = draw(TIMES)
    keyframes = draw(st.sets(st.integers(0, len(times) - 1), max_size=12))
    return times, np.array(sorted(keyframes), np.int64)


def test_compensation_by_the_formula():
    """tau_k + T_k (j + 1) / (n_k + 1), n_k = floor(T_k / (delta T)), only where T_k > delta T."""
    times = np.arange(1201) / 100
    keyframes = np.array([0, 100, 400, 460])
    found = compensated(times, keyframes, 0.6)
    # 1 s: 1 frame; 3 s: 5 frames; 0.6 s is not too long; the tail of 7.4 s: 12 frames
    expected = [0, 50, 100, *(100 + 50 * np.arange(1, 6)), 400, 460]
    tail = np.round(460 + 740 * np.arange(1, 13) / 13).astype(int)
    assert found.tolist() == [*expected, *tail, 1200]


def test_head_and_tail_are_covered_too():
    found = compensated(np.arange(101) / 10, np.array([50]), 5.0)
    assert found.tolist() == [0, 50, 100]
    assert compensated(np.arange(101) / 10, np.array([60]), 3.0).tolist() == [0, 20, 40, 60, 80, 100]


@given(rate=st.sampled_from([10, 24, 25, 30000 / 1001, 60]), seconds=st.integers(5, 600))
def test_no_keyframes_at_all_take_about_one_over_delta_frames(rate, seconds):
    times = np.arange(int(seconds * rate)) / rate
    found = compensated(times, np.zeros(0, np.int64), 0.05 * len(times) / rate)
    assert np.diff(times[found]).max() <= 0.05 * len(times) / rate * (1 + 1e-9)
    # 20 between first and last; 1 frame in a clip of 100 does not divide and costs some more
    assert len(found) <= 20 + 2 + (3 if len(times) > 400 else 20)


@given(window=windows(), coverage=st.floats(0.005, 1))
def test_no_gap_above_delta_t_has_a_frame_inside(window, coverage):
    times, keyframes = window
    longest = max(coverage * (times[-1] + 0.04), 1e-6)
    found = compensated(times, keyframes, longest)
    gaps, steps = np.diff(times[found]), np.diff(found)
    assert np.all((gaps <= longest * (1 + 1e-9)) | (steps == 1))
    assert set(keyframes) | {0, len(times) - 1} <= set(found)
    assert np.all(steps > 0)


@given(window=windows(), count=st.integers(1, 150))
def test_filling_gives_exactly_so_many_and_halves_the_longest_gap(window, count):
    times, keyframes = window
    start = np.union1d(keyframes, [0, len(times) - 1]).astype(np.int64)
    found = filled(times, start, count)
    assert len(found) == max(len(start), min(count, len(times)))
    assert set(start) <= set(found)
    assert np.all(np.diff(found) > 0)
    if len(start) < count < len(times):
        wide = int(np.argmax(np.where(np.diff(start) > 1, np.diff(times[start]), -1)))
        assert np.any((found > start[wide]) & (found < start[wide + 1]))


@given(window=windows(), count=st.integers(1, 40), coverage=st.floats(0.02, 0.5))
def test_thinning_drops_compensation_first_then_what_is_missed_least(window, count, coverage):
    times, keyframes = window
    covered = compensated(times, keyframes, max(coverage * times[-1], 1e-6))
    found = thinned(times, covered, keyframes, count)
    assert found.tolist() == plainly_thinned(times, covered.tolist(), set(keyframes.tolist()), count)


def plainly_thinned(times, chosen, keyframes, count):
    """The rule word for word."""
    if count == 1:
        return chosen[:1]
    while len(chosen) > count:
        inner = range(1, len(chosen) - 1)
        least = min(
            inner, key=lambda i: (chosen[i] in keyframes, times[chosen[i + 1]] - times[chosen[i - 1]], i)
        )
        chosen = chosen[:least] + chosen[least + 1 :]
    return chosen


def test_a_hundred_thousand_keyframes_are_thinned_at_once():
    times = np.arange(100_000) / 30
    everything = np.arange(100_000)
    assert len(thinned(times, everything, everything, 64)) == 64


@pytest.fixture
def shots(tmp_path):
    """A hundred frames in 10 s whose I-frames lie at 0, 17, 60 and 84, as an encoder places them at cuts."""
    kinds = {0, 17, 60, 84}
    return write_with_keyframes(tmp_path / "shots.mp4", gradient_frames(100), kinds)


def write_with_keyframes(path, frames, places):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.gop_size = 1000
        stream.codec_context.options = {"sc_threshold": "0", "forced-idr": "1"}
        for place, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pict_type = (
                av.video.frame.PictureType.I if place in places else av.video.frame.PictureType.NONE
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_codec_keyframes_come_from_the_container(shots):
    found, doubt = codec_keyframes(probe(shots))
    assert found.tolist() == [0, 17, 60, 84]
    assert doubt is None
    plan = sample(probe(shots), coverage=0.2)
    assert plan.notes == ()
    assert {0, 17, 60, 84, 99} <= set(plan.indices)
    assert np.diff(plan.timestamps_seconds).max() <= 0.2 * 10 + 1e-9
    expected = np.searchsorted([17, 60, 84], plan.indices, side="right")
    assert plan.group.tolist() == expected.tolist()


def test_codec_keyframes_need_no_decoding(shots, monkeypatch):
    from framegate.tokenizers.clip.stream import VideoStream

    monkeypatch.setattr(VideoStream, "frames", lambda *_, **__: pytest.fail("decoded"))
    assert len(sample(probe(shots), keyframe_source="codec", num_frames=16)) == 16


@pytest.mark.parametrize(("every", "text"), [(10, "every 10 frames"), (500, "has 1 codec keyframe;")])
def test_an_encoders_own_rhythm_is_not_trusted(tmp_path, every, text):
    clip = np.concatenate([busy_clip(0, 34, 48, 64, cut=False), busy_clip(7, 30, 48, 64, cut=False)])
    path = write_clip(tmp_path / "rhythm.mp4", as_rgb(clip), keyframe_every=every)
    plan = sample(probe(path), coverage=0.5)
    assert text in plan.notes[0]
    assert plan.notes[0].endswith("keyframes were found in the pictures instead")
    assert set(plan.indices[plan.group == 1]) >= {34}
    assert plan.group[plan.indices < 34].max() == 0
    trusted = sample(probe(path), coverage=0.5, keyframe_source="codec")
    assert trusted.notes == ()
    assert (34 in trusted.indices) is False


def test_a_last_scene_longer_than_the_rhythm_is_content(tmp_path):
    path = write_with_keyframes(tmp_path / "two.mp4", gradient_frames(60), {0, 20})
    assert codec_keyframes(probe(path))[1] is None
    path = write_with_keyframes(tmp_path / "half.mp4", gradient_frames(60), {0, 30})
    assert "every 30 frames" in codec_keyframes(probe(path))[1]


def moving_shots(lengths, *, noise):
    """Shots as on a ride: each its own texture, the camera moving fast and at its own speed."""
    clips = []
    for number, length in enumerate(lengths):
        speed = np.array([(-1) ** number * 3.0, 1.0]) * (1 + number % 3)
        offsets = 60 + 60 * (number % 2 == 0) + speed * np.arange(length)[:, None]
        scene = texture(500, 700, seed=number, blur=6.0)
        clips.append(panned_clip(offsets, 96, 160, seed=number, noise=noise, scene=scene))
    return np.concatenate(clips)


@pytest.mark.parametrize("noise", [0.0, 6.0])
@pytest.mark.parametrize("lengths", [(24, 31, 18, 26), (12, 9, 30, 11, 14), (40,)])
def test_cuts_between_moving_shots_are_found_exactly(tmp_path, lengths, noise):
    clip = moving_shots(lengths, noise=noise)
    path = write_clip(tmp_path / "ride.mp4", as_rgb(clip), keyframe_every=250)
    found = content_keyframes(open_video(path))
    assert found.tolist() == [0, *np.cumsum(lengths)[:-1]]


def test_one_cut_in_a_still_scene(tmp_path):
    for seed in range(4):
        first = 5 + 7 * seed
        clip = np.concatenate(
            [busy_clip(seed, first, 48, 64, cut=False), busy_clip(seed + 50, 40 - first, 48, 64, cut=False)]
        )
        path = write_clip(tmp_path / f"still{seed}.mp4", as_rgb(clip), keyframe_every=250)
        assert content_keyframes(open_video(path)).tolist() == [0, first]


def test_flashes_are_no_cuts_and_blended_frames_are_one():
    flash = np.array([0, 1, 1, 60, 60, 1, 1, 1.0]), np.array([0, 0, 1, 60, 1, 60, 1, 1.0])
    assert find_cuts(*flash) == []
    blended = np.array([0, 1, 1, 30, 30, 1, 1, 1.0]), np.array([0, 0, 1, 30, 60, 30, 1, 1.0])
    assert find_cuts(*blended) == [4]
    assert find_cuts(np.array([0.0]), np.array([0.0])) == []
    assert find_cuts(np.array([0.0, 50.0]), np.zeros(2)) == [1]


def test_a_dissolve_is_a_change_once_it_has_come_to_rest(tmp_path):
    before, after = texture(96, 160, 0, blur=6).astype(float), texture(96, 160, 1, blur=6).astype(float)
    share = np.clip((np.arange(100) - 40) / 20, 0, 1)[:, None, None]
    clip = np.round(before * (1 - share) + after * share).astype(np.uint8)
    path = write_clip(tmp_path / "dissolve.mp4", as_rgb(clip), keyframe_every=250)
    found = content_keyframes(open_video(path))
    assert len(found) == 2
    assert 60 <= found[1] <= 70


def test_a_shifted_picture_is_hardly_different_and_inputs_stay():
    wide = texture(40, 80, 3, blur=3).astype(np.float32)
    left, right = wide[:, :64].copy(), wide[:, 7:71].copy()
    copies = left.copy(), right.copy()
    assert difference(left, right) < 1e-3
    assert difference(left, right) == pytest.approx(difference(right, left))
    np.testing.assert_array_equal(left, copies[0])
    np.testing.assert_array_equal(right, copies[1])
    flat = np.full((40, 64), 10, np.float32)
    assert difference(flat, flat + 100) == pytest.approx(100)


@pytest.mark.parametrize("wanted", [1, 2, 3, 7, 20, 21, 60, 100, 300])
def test_num_frames_is_met_exactly(shots, wanted):
    plan = sample(probe(shots), num_frames=wanted)
    assert len(plan) == min(wanted, 100)
    assert np.all(np.diff(plan.indices) > 0)
    if wanted > 1:
        assert plan.indices[[0, -1]].tolist() == [0, 99]


def test_a_budget_that_is_too_small_is_said(shots):
    plan = sample(probe(shots), num_frames=3)
    assert plan.indices.tolist() == [0, 60, 99]
    # 17 leaves a gap of 6.0, 84 one of 3.9 seconds, 60 one of 6.7: what is missed least went first
    assert plan.group.tolist() == [0, 1, 2]
    (note,) = plan.notes
    assert "3 are allowed" in note
    assert "2 keyframes were left out, so the longest gap is 6.00 seconds (coverage asks for 0.50)" in note
    assert sample(probe(shots), max_frames=3).indices.tolist() == [0, 60, 99]
    assert sample(probe(shots), num_frames=50, max_frames=3).indices.tolist() == [0, 60, 99]
    assert sample(probe(shots), max_frames=1000).notes == ()


def test_a_window_has_its_own_length(shots):
    plan = sample(probe(shots), start_seconds=2.0, end_seconds=8.0, coverage=0.5)
    # 6 s: gaps of up to 3 s; I-frame at 60
    assert plan.indices.tolist() == [20, 40, 60, 79]
    assert plan.group.tolist() == [0, 0, 1, 1]


def test_one_frame_and_irregular_times(tmp_path):
    one = write_clip(tmp_path / "one.mp4", gradient_frames(1))
    assert sample(probe(one), num_frames=5).indices.tolist() == [0]
    times = [0, 40, 80, 900, 5000, 5040, 9000, 9040, 9080, 9500]
    path = write_clip(tmp_path / "vfr.mp4", gradient_frames(10), times_ms=times, keyframe_every=4)
    plan = sample(probe(path), keyframe_source="codec")
    np.testing.assert_array_equal(plan.timestamps_seconds, probe(path).frame_times_seconds[plan.indices])
    gaps = np.diff(plan.timestamps_seconds)
    assert np.all((gaps <= 0.05 * probe(path).duration_seconds) | (np.diff(plan.indices) == 1))


def test_damage_found_while_looking_is_told(tmp_path):
    path = write_clip(tmp_path / "whole.mkv", as_rgb(busy_clip(0, 60, 48, 64, noise=8)), keyframe_every=20)
    broken = flip_bytes(path)
    plan = sample(probe(broken), keyframe_source="content")
    assert plan.indices[0] == 0
    assert any("damaged" in note or "decoded" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "num_frames is 0; it must be at least 1"),
        ({"max_frames": -1}, "max_frames is -1"),
        ({"coverage": 0}, r"coverage is 0; it must be in \(0, 1\]"),
        ({"coverage": 1.5}, "coverage is 1.5"),
        ({"coverage": float("nan")}, "coverage is nan"),
        ({"keyframe_source": "codecs"}, "keyframe_source is 'codecs'. Did you mean 'codec'"),
    ],
)
def test_settings_out_of_range(shots, settings, message):
    with pytest.raises(ConfigError, match=message):
        sample(probe(shots), **settings)


def test_frames_in_memory_live_sources_and_empty_windows_are_refused(shots):
    settings = {"width_px": 8, "height_px": 8, "codec": "raw", "duration_seconds": 1.0}
    with pytest.raises(FrameError, match="'keyframes' looks at the pictures of a file"):
        sample(VideoInfo(source=None, frame_times_seconds=np.arange(9) / 9, **settings))
    with pytest.raises(FrameError, match="is live"):
        sample(VideoInfo(source="rtsp://x", frame_times_seconds=np.zeros(0), is_live=True, **settings))
    with pytest.raises(FrameError, match="holds no frame"):
        sample(probe(shots), start_seconds=50)
