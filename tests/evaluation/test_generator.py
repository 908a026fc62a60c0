"""The generator: reproducible, split by font and background, and its answers agree with what is drawn."""

import json
from dataclasses import replace

import numpy as np
import pytest
from clips import write_clip

from framegate.errors import ConfigError
from framegate.tokenizers.clip import open_video
from framegate.tools.evaluation.generator import KINDS, ask_about, clip_frames, write_dataset, write_video
from framegate.tools.evaluation.generator.asking import NOTHING
from framegate.tools.evaluation.generator.looks import BACKGROUNDS, FONTS
from framegate.tools.evaluation.generator.render import Renderer
from framegate.tools.evaluation.generator.script import (
    GLIDE_SECONDS,
    GRID_NAMES,
    NATIVE_FPS,
    PACES,
    SIZES_PX,
    SPLITS,
    write_script,
)


def standing(script, seconds):
    return [shown for shown in script.texts if shown.start_seconds <= seconds < shown.end_seconds]


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_draws_the_same_video(split):
    first, again, other = (write_script(seed, split=split) for seed in (5, 5, 6))
    assert first == again
    assert first != other
    times = np.arange(4) / 2
    assert np.array_equal(Renderer(first).frames(times), Renderer(again).frames(times))


def test_splits_share_no_font_and_no_background():
    for table in (FONTS, BACKGROUNDS):
        names = [name for split in SPLITS for name in table[split]]
        assert len(names) == len(set(names))
    assert write_script(3, split="train").texts[0].text != write_script(3, split="test").texts[0].text


@pytest.mark.parametrize("seed", range(12))
def test_texts_follow_one_another_on_frames_of_the_file(seed):
    script = write_script(seed, split="test")
    texts = script.texts
    for before, after in zip(texts, texts[1:], strict=False):
        assert before.text != after.text
        assert before.start_seconds < before.end_seconds <= after.start_seconds
    for shown in texts:
        assert shown.end_seconds <= script.duration_seconds
        assert (shown.start_seconds * NATIVE_FPS).is_integer()


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_what_the_script_says(seed):
    script = write_script(seed, split="test")
    asked = ask_about(script, seed, KINDS, 12)
    assert len({question.question for question in asked}) == len(asked)
    names = [shown.text for shown in script.texts]
    order = {shown.text: shown.start_seconds for shown in script.texts if names.count(shown.text) == 1}
    for question in asked:
        if question.kind == "text_at":
            assert [shown.text for shown in standing(script, question.time_seconds)] == [question.answer]
        if question.kind == "when":
            text = question.question.split()[2]
            assert abs(order[text] - float(question.answer)) <= 0.0501
        if question.kind == "order":
            one, other = question.question.removesuffix("?").split("first, ")[1].split(" or ")
            assert question.answer == min(one, other, key=order.get)
        if question.kind == "count":
            assert int(question.answer) == len(set(names))
        if question.kind == "neighbour":
            way, text = question.question.removesuffix("?").split()[-2:]
            assert names[names.index(text) + {"before": -1, "after": 1}[way]] == question.answer
        if question.kind == "appears":
            assert question.answer == ("yes" if question.question.split()[1] in names else "no")
        if question.kind == "grid":
            (stop,) = (
                stop
                for stop in script.stops
                if stop.start_seconds <= question.time_seconds < stop.end_seconds
            )
            assert GRID_NAMES[stop.place[0]][stop.place[1]] == question.answer


def differences(script, question):
    """What differs between the two frames that a question names, where nothing else is drawn over it."""
    first, second = (float(word) for word in question.question.split() if word.replace(".", "").isdecimal())
    texts = [[shown.text for shown in standing(script, time)] for time in (first, second)]
    places = [
        [stop.place for stop in script.stops if stop.start_seconds <= time < stop.end_seconds]
        for time in (first, second)
    ]
    behind = [Renderer(replace(script, texts=(), stops=())).behind(time) for time in (first, second)]
    found = [
        ("the text", texts[0] != texts[1]),
        ("the marker", places[0] != places[1]),
        ("the background", not np.array_equal(*behind)),
    ]
    return [name for name, differs in found if differs]


def test_one_thing_changed_or_nothing():
    seen = set()
    for seed in range(60):
        script = write_script(seed, split="test")
        for question in ask_about(script, seed, ("changed",), 3):
            assert script.look.is_still
            assert (differences(script, question) or [NOTHING]) == [question.answer]
            seen.add(question.answer)
    assert seen == {"the text", "the marker", "the background", NOTHING}


def test_a_text_comes_back_after_another_one():
    texts = [[shown.text for shown in write_script(seed, duration_seconds=20.0).texts] for seed in range(20)]
    assert any(len(set(names)) < len(names) for names in texts)


@pytest.mark.parametrize(("size", "size_px"), SIZES_PX.items())
def test_letters_are_as_large_in_every_size_of_frame(tmp_path, size, size_px):
    script = write_script(7, size_px=size_px)
    assert script.look.size_px == write_script(7).look.size_px
    settings = {"size": size, "duration_seconds": 1.0, "longest_seconds": 2.0, "show_progress": False}
    folder = write_dataset(tmp_path / size, videos=2, questions=1, **settings)
    lengths = set()
    for path in (folder / "videos").iterdir():
        with open_video(path) as stream:
            assert (stream.info.width_px, stream.info.height_px) == size_px
            lengths.add(stream.info.duration_seconds)
    assert len(lengths) == 2
    assert all(0.9 < length <= 2.01 for length in lengths)


def test_a_mixed_set_has_frames_of_every_size(tmp_path):
    folder = write_dataset(
        tmp_path, size="mixed", videos=8, questions=1, duration_seconds=0.5, show_progress=False
    )
    found = set()
    for path in (folder / "videos").iterdir():
        with open_video(path) as stream:
            found.add((stream.info.width_px, stream.info.height_px))
    assert found == set(SIZES_PX.values())


def test_a_text_is_drawn_while_it_stands_and_only_then():
    script = next(
        script
        for seed in range(50)
        if (script := write_script(seed, split="test")).look.pan_px_per_second == (0.0, 0.0)
        and len(script.look.background_starts) == 1
        and not script.look.noise
        and not script.stops
    )
    renderer, shown = Renderer(script), script.texts[1]
    plain = renderer.behind(0.0)
    x, y = shown.centre_px
    around = np.s_[y - 8 : y + 8, x - 12 : x + 12]
    assert np.abs(renderer.frame(shown.start_seconds)[around].astype(int) - plain[around]).mean() > 10
    outside = plain.copy()
    outside[max(y - 40, 0) : y + 40] = renderer.frame(shown.start_seconds)[max(y - 40, 0) : y + 40]
    assert np.array_equal(outside, renderer.frame(shown.start_seconds))
    last = script.texts[-1]
    assert np.array_equal(renderer.frame(last.end_seconds - 1 / 16), renderer.frame(last.start_seconds))


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"split": "tests"}, "Did you mean 'test'"), ({"pace": "fastt"}, "Did you mean 'fast'")],
)
def test_a_mistyped_setting_is_named(settings, named):
    with pytest.raises(ConfigError, match=named):
        write_script(0, **settings)


def test_the_marker_glides_and_stands_where_its_question_asks():
    found = (write_script(seed, split="test") for seed in range(40))
    script = next(one for one in found if len(one.stops) > 2 and one.look.pan_px_per_second == (0.0, 0.0))
    still = replace(script, texts=(), look=replace(script.look, noise=0.0, background_starts=(0.0,)))
    renderer, (before, stop) = Renderer(still), still.stops[:2]

    def place(seconds):
        frame = renderer.frame(seconds).astype(int)
        there = np.abs(frame - renderer.behind(seconds)).sum(-1) > 60
        return np.argwhere(there).mean(0) / (still.height_px / 3, still.width_px / 3) - 0.5

    half_way = np.mean([before.place, stop.place], axis=0)
    assert np.abs(place(stop.start_seconds + GLIDE_SECONDS / 2) - half_way).max() < 0.1
    for question in ask_about(script, 0, ("grid",), 12):
        row, column = np.round(place(question.time_seconds)).astype(int)
        assert GRID_NAMES[row][column] == question.answer


@pytest.mark.parametrize("pace", PACES)
def test_texts_change_at_their_pace(pace):
    script = write_script(4, pace=pace, duration_seconds=8.0 if pace != "lasting" else 120.0)
    spans = [one.end_seconds - one.start_seconds for one in script.texts[:-1]]
    shortest, longest = PACES[pace]
    assert shortest - 1 / 32 <= min(spans) <= max(spans) <= longest + 1 / 32


def test_a_written_folder_shows_what_its_questions_say(tmp_path):
    folder = write_dataset(
        tmp_path / "set", videos=2, seed=3, questions=4, duration_seconds=2.0, show_progress=False
    )
    lines = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert {line["video"] for line in lines} == {path.name for path in (folder / "videos").iterdir()}
    assert {line["meta"]["split"] for line in lines} == {"test"}
    script = write_script(3 * 100_003, split="test", duration_seconds=2.0)
    with open_video(folder / "videos" / lines[0]["video"]) as stream:
        assert stream.info.duration_seconds == pytest.approx(2.0)
        decoded = np.stack([frame.pixels for frame in stream.frames()])
    drawn = Renderer(script).frames(np.arange(32) / NATIVE_FPS)
    assert np.abs(decoded.astype(int) - drawn).mean() < 4
    with pytest.raises(ConfigError, match="holds questions already"):
        write_dataset(folder, videos=1, show_progress=False)


def test_a_real_clip_can_lie_behind(tmp_path):
    clip = tmp_path / "clip.mp4"
    write_video(clip, Renderer(write_script(1, split="validation", duration_seconds=1.0)))
    write_dataset(
        tmp_path / "set", videos=1, questions=1, duration_seconds=2.0, clips=[clip], show_progress=False
    )
    (line,) = (json.loads(line) for line in (tmp_path / "set/questions.jsonl").read_text().splitlines())
    assert line["meta"]["background"] == "clip"
    assert line["meta"]["camera"] == "moving"
    # away from the texts and the marker the clip's own first frame shows
    with open_video(clip) as real, open_video(tmp_path / "set/videos" / line["video"]) as made:
        behind, shown = next(real.frames()).pixels, next(made.frames()).pixels
    assert np.median(np.abs(behind.astype(int) - shown)) <= 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kinds": ["colour"]}, "colour"),
        ({"kinds": []}, "No kind of question is named"),
        ({"videos": 0}, "videos is 0; it must be at least 1"),
        ({"questions": -1}, "questions is -1"),
        ({"duration_seconds": 0.0}, "Lengths are 0.0 to 0.0 seconds; they must rise from at least 0.5"),
        ({"duration_seconds": float("nan")}, "Lengths are nan"),
        ({"longest_seconds": 4.0}, "Lengths are 8.0 to 4.0"),
        ({"size": "8x16"}, "Did you mean '8x14'"),
    ],
)
def test_a_benchmark_of_nothing_is_refused(tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        write_dataset(tmp_path / "set", show_progress=False, **settings)
    assert not (tmp_path / "set").exists()


def test_a_slow_clip_keeps_its_speed(tmp_path):
    """Four frames a second shown at sixteen: each stands four times."""
    frames = [np.full((64, 96, 3), 40 * number, np.uint8) for number in range(4)]
    write_clip(tmp_path / "clip.mp4", frames, times_ms=[0, 250, 500, 750])
    shown = clip_frames(tmp_path / "clip.mp4", (96, 64), 8.0)
    assert len(shown) == 16
    assert np.abs(shown.mean((1, 2, 3)) - 40 * (np.arange(16) // 4)).max() < 4
