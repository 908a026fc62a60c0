"""The loop that all agents share: budgets, speakers, what is told of an episode, and its page."""

import json
from itertools import repeat

import numpy as np
import pytest
from clips import gradient_frames, write_clip
from known_video import known_video, steady_video

from framegate.errors import ConfigError, FrameError, VideoNotFoundError
from framegate.tools.agents.grammar import Answer, Invalid
from framegate.tools.agents.loop import NOT_COUNTED, run_agent
from framegate.tools.agents.policies import policy_named, policy_names
from framegate.tools.agents.speakers import SCRIPT_ENDED, Said, random_looks, scripted

VA = steady_video(349, 30)
LOOK = "<think>why</think>\n<action>choose frames between 100 and 200</action>"
ANSWER = "<think>so</think>\n<action>output answer: B</action>"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", gradient_frames(40))


def test_a_token_budget_forces_the_answer():
    speak = scripted([LOOK, LOOK, ANSWER], tokens_per_frame=10)
    episode = run_agent(speak, VA, "?", "frame_thinker", max_video_tokens=160)
    assert [turn.video_tokens for turn in episode.turns] == [80, 80, 80]
    assert (episode.answer, episode.stopped, episode.total("video_tokens")) == ("B", "token_budget", 240)
    assert [turn.is_forced for turn in episode.turns] == [False, False, True]
    free = run_agent(
        scripted([LOOK, ANSWER], tokens_per_frame=10), VA, "?", "frame_thinker", max_video_tokens=161
    )
    assert free.stopped == "answered"


@pytest.mark.parametrize(("policy", "look"), [("frame_thinker", LOOK), ("love_r1", "\\boxed{[3,8]}")])
def test_a_budget_ends_every_loop(policy, look):
    episode = run_agent(scripted(repeat(look), tokens_per_frame=1), VA, "?", policy, max_video_tokens=1)
    assert [turn.is_forced for turn in episode.turns] == [False, True]
    assert (episode.answer, episode.stopped) == (None, "invalid")


def test_a_budget_that_nobody_counts_for_is_told():
    episode = run_agent(scripted([LOOK, ANSWER]), VA, "?", "frame_thinker", max_video_tokens=1)
    assert episode.stopped == "answered"
    assert [turn.notes for turn in episode.turns] == [(NOT_COUNTED,)] * 2
    free = run_agent(scripted([ANSWER]), VA, "?", "frame_thinker")
    assert free.turns[0].notes == ()


def test_what_was_cut_is_told():
    cut = Said(text="<think>on and on", is_cut=True, new_tokens=2048)
    episode = run_agent(lambda request: cut, VA, "?", "frame_thinker", settings={"attempts": 1})
    assert episode.turns[0].action.reason.startswith("cut by the limit of new tokens: ")
    assert (episode.answer, episode.stopped) == (None, "invalid")
    # what is whole before the cut counts
    whole = Said(text=ANSWER + " and on", is_cut=True)
    assert run_agent(lambda request: whole, VA, "?", "frame_thinker").answer == "B"


def test_a_script_that_ends_says_so():
    episode = run_agent(scripted([]), VA, "?", "earl")
    assert episode.turns[0].notes == (SCRIPT_ENDED,)
    assert episode.turns[0].action == Invalid("the turn is empty", "")


def test_a_look_that_a_sampler_refuses_is_an_invalid_turn():
    # the pictures begin long after the sound
    late = known_video(20 + np.arange(60) / 2)
    episode = run_agent(scripted(["\\boxed{[3,8]}", "\\boxed{B}"]), late, "?", "love_r1")
    assert isinstance(episode.turns[0].action, Invalid)
    assert "intervals[0]" in episode.turns[0].action.reason


def test_json_holds_what_is_promised():
    episode = run_agent(scripted([LOOK, ANSWER]), VA, "Which?", "frame_thinker")
    told = json.loads(episode.to_json())
    assert (told["answer"], told["stopped"], len(told["turns"])) == ("B", "answered", 2)
    first, second = told["turns"]
    assert first["looked_at"]["indices"][:2] == [0, 49]
    assert first["action"] == {"kind": "choose", "start": 100, "end": 200}
    assert second["looked_at"]["timestamps_seconds"][0] == pytest.approx(101 / 30, abs=1e-4)
    assert second["action"] == {"kind": "answer", "text": "B"}
    assert told["settings"]["max_turns"] == 5
    assert told["totals"]["video_tokens"] is None


@pytest.mark.parametrize("source", ["path", "bytes", "frames"])
def test_any_video_and_a_page_with_thumbnails(clip, source):
    video = {"path": clip, "bytes": clip.read_bytes(), "frames": gradient_frames(40)}[source]
    text = "<think><b>why</b></think>\n<action>output answer: B</action>"
    episode = run_agent(scripted([text]), video, "Is it <b>bold</b>?", "frame_thinker")
    page = episode.to_html()
    assert page.count("<img ") == 8
    assert "<b>bold</b>" not in page
    assert "answer: B" in page
    # a notebook's own page keeps its looks
    assert episode._repr_html_() in page
    assert "body{" not in episode._repr_html_()


def test_random_looks_leave_the_answer_to_another():
    asked = []

    def answerer(request):
        asked.append(request)
        return "\\boxed{B}"

    episode = run_agent(random_looks(answerer, looks=2, seed=1), VA, "?", "earl")
    assert len(episode.turns) == 3
    assert (episode.answer, len(asked)) == ("B", 1)
    assert not asked[0].legal.looks
    again = run_agent(random_looks(answerer, looks=2, seed=1), VA, "?", "earl")
    assert [turn.text for turn in again.turns] == [turn.text for turn in episode.turns]
    assert run_agent(random_looks(answerer, looks=0), VA, "?", "earl").turns[0].action == Answer("B")


@pytest.mark.parametrize(
    ("policy", "settings", "words"),
    [
        ("frame_thinkr", {}, "Did you mean 'frame_thinker'"),
        ("earl", {"max_turn": 2}, "Did you mean 'earl.max_turns'|'max_turns'"),
        ("earl", {"max_turns": 0}, "earl.max_turns is 0"),
        ("love_r1", {"time_code": "drawn"}, "love_r1.time_code"),
    ],
)
def test_mistyped_policies_and_settings_are_refused(policy, settings, words):
    with pytest.raises(ConfigError, match=words):
        run_agent(scripted([]), VA, "?", policy, settings=settings)


def test_bad_videos_are_refused(tmp_path):
    with pytest.raises(VideoNotFoundError):
        run_agent(scripted([]), tmp_path / "none.mp4", "?", "earl")
    with pytest.raises(FrameError, match="no frame"):
        run_agent(scripted([]), known_video([]), "?", "earl")
    with pytest.raises(ConfigError, match="max_video_tokens is 0"):
        run_agent(scripted([]), VA, "?", "earl", max_video_tokens=0)


def test_policies_are_made_by_their_names():
    assert [policy_named(name).name for name in policy_names()] == policy_names()
