"""Files joined end to end: every frame, at its time, and one note for each seam."""

import numpy as np
import pytest
from clips import flip_bytes, gradient_frames, write_clip

from framegate.tokenizers.clip import open_video

BEHIND = "what follows was put behind what came before."
TS_PACKET_BYTES = 188
REORDERED = {
    "libx264": {"bf": "2", "b-pyramid": "none"},
    "libx265": {"x265-params": "bframes=2:open-gop=0:log-level=none"},
}


def read(path, **settings):
    with open_video(path, **settings) as stream:
        return list(stream.frames()), list(stream.warnings)


def parts(tmp_path, *, begin_s=(0, 0), b_frames=("0", "0")):
    """The bytes of a clip of thirty frames, ten a second, for each of some starts, and all of its frames."""
    frames, written = gradient_frames(30 * len(begin_s)), []
    for number, (begin, b) in enumerate(zip(begin_s, b_frames, strict=True)):
        path = tmp_path / f"part_{number}.ts"
        times_ms = [1000 * begin + 100 * place for place in range(30)]
        options = {"bf": b, "b-pyramid": "none"}
        own = frames[30 * number :][:30]
        write_clip(path, own, times_ms=times_ms, options=options)
        written.append(path.read_bytes())
    return written, frames


def join(tmp_path, written):
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(written))
    return path


def check_whole(path, true_frames, **settings):
    frames, notes = read(path, **settings)
    assert len(frames) == len(true_frames)
    assert [frame.timestamp_seconds for frame in frames] == pytest.approx(np.arange(len(frames)) / 10)
    far = [
        np.abs(one.pixels.astype(int) - true).mean() for one, true in zip(frames, true_frames, strict=True)
    ]
    assert max(far) < 8
    return notes


@pytest.mark.parametrize("b_frames", [("3", "0"), ("0", "3"), ("2", "2"), ("1", "0")])
def test_no_frame_is_lost_at_a_seam_and_it_has_one_note(tmp_path, b_frames):
    written, frames = parts(tmp_path, b_frames=b_frames)
    (note,) = check_whole(join(tmp_path, written), frames)
    begin, words = note.split(" seconds; ")
    before, after = begin.removeprefix("The time stamps of a.ts go from ").split(" to ")
    # the muxer begins above 0
    assert float(before) - float(after) == pytest.approx(2.9, abs=0.25)
    assert words == BEHIND


@pytest.mark.parametrize("settings", [{}, {"format": "mpegts"}])
def test_notes_name_the_stamps_that_stand_in_the_file(tmp_path, settings):
    written, frames = parts(tmp_path, begin_s=(100, 5, 50_000), b_frames=("0", "2", "0"))
    path = join(tmp_path, written)
    notes = check_whole(path, frames, **settings)
    seams = [
        note.removeprefix(f"The time stamps of {path if settings else 'a.ts'} go from ") for note in notes
    ]
    assert [tuple(round(float(word)) for word in seam.split()[:3:2]) for seam in seams] == [
        (103, 5),
        (8, 50_000),
    ]


def test_a_file_three_times(tmp_path):
    written, frames = parts(tmp_path, begin_s=(0,), b_frames=("0",))
    notes = check_whole(join(tmp_path, written * 3), np.concatenate([frames] * 3))
    assert len(set(notes)) == 1


def test_a_counter_that_jumps_where_no_clock_does_is_no_damage(tmp_path):
    written, frames = parts(tmp_path, begin_s=(0, 3))
    (note,) = check_whole(join(tmp_path, written), frames)
    assert note == (
        "Packets of a.ts break off, or their counter jumps, at 1 place, as where data was lost or files were joined."
    )


def test_headers_of_a_chained_ogg_are_no_frames(tmp_path):
    one = write_clip(tmp_path / "one.ogg", gradient_frames(20), codec="libvpx", format="ogg").read_bytes()
    (tmp_path / "a.ogg").write_bytes(one * 2)
    frames, notes = read(tmp_path / "a.ogg")
    assert len(frames) == 40
    (note,) = notes
    assert note.endswith(BEHIND)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_frames_lost_where_the_second_file_begins_in_the_middle_are_told_in_their_place(tmp_path, codec):
    frames = gradient_frames(60)
    path = write_clip(tmp_path / "part.ts", frames, codec=codec, keyframe_every=30, options=REORDERED[codec])
    whole, true = path.read_bytes(), read(path)[0]
    begins = [at for at in range(0, len(whole), TS_PACKET_BYTES) if whole[at + 1] & 0x40]
    pictures = [at for at in begins if whole[at + 1 : at + 3] == b"\x41\x00"]
    # the tables, then the eleventh picture in order of the file
    second = whole[: pictures[0]] + whole[pictures[10] :]
    with open_video(join(tmp_path, [whole, second])) as stream:
        given = list(stream.frames())
        times = stream.info.frame_times_seconds
        (lost,) = [note for note in stream.warnings if "could not be decoded" in note]
    assert len(times) == 110
    assert np.all(np.diff(times) >= 0)
    assert stream.info.duration_seconds == pytest.approx(11, abs=0.25)
    place = next(number for number in range(110) if number not in [frame.index for frame in given])
    assert place in (60, 61)
    assert lost.endswith(f"frame {place} at {times[place]:g} seconds.")
    assert times[place] == pytest.approx(6, abs=0.1)
    for number in (0, 40, 80, 100, 109):
        (frame,) = [frame for frame in given if frame.index == number]
        expected = true[number if number < 60 else number - 50]
        assert np.array_equal(frame.pixels, expected.pixels)
        assert frame.timestamp_seconds == pytest.approx(number / 10, abs=0.25)


def test_data_lost_away_from_a_seam_is_told(tmp_path):
    written, _ = parts(tmp_path)
    first = written[0]
    lost = first[: 19 * TS_PACKET_BYTES] + first[20 * TS_PACKET_BYTES :]
    _, notes = read(join(tmp_path, [lost, written[1]]))
    assert any(note.endswith(BEHIND) for note in notes)
    assert any(" at 1 place, as where data was lost" in note for note in notes)
    _, notes = read(flip_bytes(join(tmp_path, written), at=0.25))
    assert any("place" in note for note in notes)
