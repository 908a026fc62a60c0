"""A few hundred damaged videos and pictures; `make fuzz` tries twenty thousand of each."""

import fuzz_pictures
import pytest
from fuzz_videos import GOOD, Child, fuzz, mutant, seeds, tried


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("seeds")


def test_mutants_are_read_noted_or_refused(folder):
    assert len(seeds(folder)) >= 20
    found, findings = fuzz(0, 120, folder)
    assert findings == []
    outcomes = {outcome for _, outcome in found}
    assert outcomes == set(GOOD)


def test_damaged_pictures_are_read_or_refused(folder):
    found, findings = fuzz(0, 300, folder, "pictures")
    assert findings == []
    assert {outcome for _, outcome in found} == {"read", "refused"}


def test_an_undamaged_picture_is_read(folder):
    for name, data in fuzz_pictures.seeds(folder).items():
        assert fuzz_pictures.tried(data) == "read", name


def test_what_is_wrong_with_a_picture_is_found(folder, monkeypatch):
    data = fuzz_pictures.seeds(folder)["rgb.png"]

    def fails(*_):
        raise IndexError("no chunk")

    monkeypatch.setattr("framegate.tokenizers.clip.memory_source.decoded", fails)
    assert fuzz_pictures.tried(data).startswith("foreign IndexError")
    monkeypatch.undo()
    monkeypatch.setattr("fuzz_pictures.plain", lambda _: 0)
    assert fuzz_pictures.tried(data) == "other pixels than Pillow gives, without a note"


def test_a_mutant_is_made_again_by_its_number(folder):
    clips = seeds(folder)
    assert mutant(7, clips) == mutant(7, clips)
    assert mutant(7, clips)[1] != mutant(7 + len(clips), clips)[1]


def test_an_undamaged_clip_is_read(folder):
    for name, data in seeds(folder).items():
        assert tried(data) == "read", name


def test_what_is_wrong_is_found(folder, monkeypatch):
    """The check itself: another exception, and frames lost without a note."""
    data = seeds(folder)["h264.mp4"]

    def fails(*_, **__):
        raise IndexError("no frame")

    monkeypatch.setattr("framegate.tokenizers.clip.stream.read_frames", fails)
    assert tried(data).startswith("foreign IndexError")
    monkeypatch.undo()
    monkeypatch.setattr("fuzz_videos.plain_count", lambda _: 11)
    assert tried(data) == "other frames than FFmpeg gives, without a note"


def test_a_process_that_dies_is_a_finding(folder, monkeypatch):
    ask = Child(folder)
    try:
        assert ask(0)[1] in GOOD
        ask._process.kill()
        assert ask(1)[1].startswith("crash")
        assert ask(2)[1] in GOOD
    finally:
        ask.close()
