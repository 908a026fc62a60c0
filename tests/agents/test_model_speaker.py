"""A model that writes the turns: what it reads anew, what it counts, and turns that are legal."""

from dataclasses import replace

import pytest
from clips import gradient_frames, write_clip

import framegate
from framegate.errors import AttachmentError, ConfigError
from framegate.models.tiny import tiny_pair
from framegate.tokenizers.clip import probe
from framegate.tools.agents.episode import Turn
from framegate.tools.agents.grammar import Answer, Invalid
from framegate.tools.agents.legal import Legal
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.model_speaker import READ_AGAIN, ModelSpeaker
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.speakers import Request


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    frames = gradient_frames(40, height_px=64, width_px=96)
    return str(write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames))


@pytest.fixture(scope="module")
def pair():
    return tiny_pair("qwen3_vl")


def second_turn(pair, clip, policy, preset, look, *, keeps_cache):
    """What is said in a second turn, and what was read for it."""
    plays, said = policy_named(policy[0], policy[1]), "ok"
    with framegate.attach(*pair, preset):
        speak = ModelSpeaker(*pair, is_constrained=True, keeps_cache=keeps_cache)
        state = plays.begin(probe(clip), clip, "What?")
        # one spelling, so that the conversation read again has the ids that were written
        first = speak(Request(messages=plays.prompt(state), legal=Legal(answers=((said,),))))
        assert (first.text, first.is_cut) == (said, False)
        turn = Turn(text=said, action=Answer(said), looked_at=state.shown)
        state = replace(plays.update(state, plays.parse(look)), turns=(turn,))
        # what is read anew is also encoded anew
        speak = speak if keeps_cache else ModelSpeaker(*pair, keeps_cache=False)
        speak._tokens = None
        return speak(Request(messages=plays.prompt(state), grows=True, max_new_tokens=6)), first


EARL = ("earl", {"initial_frames": 6, "num_frames": 4})
SELECT = '<tool_call>{"name": "select_frames", "arguments": {"target_frames": [2]}}</tool_call>'
THINKER = ("frame_thinker", {"num_frames": 3})
CHOOSE = "<think>a</think><action>choose frames between 2 and 30</action>"
TIME = "<think>a</think><action>get frame number at time 00:01</action>"


@pytest.mark.parametrize(
    ("policy", "look", "preset"),
    [
        (EARL, SELECT, "framegate"),
        (THINKER, TIME, "framegate"),
        # nothing is left out
        (EARL, SELECT, "dense"),
        pytest.param(THINKER, CHOOSE, "gate", marks=pytest.mark.slow),
    ],
)
def test_a_growing_prompt_is_read_once(pair, clip, policy, look, preset):
    kept, first = second_turn(pair, clip, policy, preset, look, keeps_cache=True)
    anew, _ = second_turn(pair, clip, policy, preset, look, keeps_cache=False)
    assert kept.text == anew.text
    assert kept.prompt_tokens < anew.prompt_tokens
    assert kept.video_tokens == anew.video_tokens - first.video_tokens
    assert kept.encoded_cells == anew.encoded_cells - first.encoded_cells
    assert READ_AGAIN not in kept.notes


def test_what_was_encoded_is_not_encoded_again(pair, clip):
    policy = policy_named("love_r1", {"fps": 1.0, "pad_seconds": 1})
    state = policy.begin(probe(clip), clip, "What?")
    with framegate.attach(*pair, "framegate", tower_ratio=0.5):
        speak = ModelSpeaker(*pair)
        first = speak(Request(messages=policy.prompt(state), max_new_tokens=1))
        state = policy.update(state, policy.parse("\\boxed{[1, 2]}"))
        second = speak(Request(messages=policy.prompt(state), max_new_tokens=1))
    assert first.reused_cells == 0
    # the whole video is shown again as it was, the interval is new
    assert second.reused_cells == first.encoded_cells > 0
    assert second.encoded_cells > 0


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(EARL, marks=pytest.mark.slow),
        pytest.param(THINKER, marks=pytest.mark.slow),
        ("love_r1", {"fps": 1.0}),
    ],
)
def test_a_random_model_plays_by_the_rules(pair, clip, policy):
    name, settings = policy
    with framegate.attach(*pair, "framegate"):
        speak = ModelSpeaker(*pair, is_constrained=True, max_new_tokens=220)
        settings = settings | {"max_turns": 1, "attempts": 1, "temperature": None}
        episode = run_agent(speak, clip, "What?", name, settings=settings)
    assert not any(isinstance(turn.action, Invalid) for turn in episode.turns)
    assert episode.answer is not None
    assert episode.total("encoded_cells") > 0


def test_an_unconstrained_random_model_ends_cleanly(pair, clip):
    with framegate.attach(*pair, "framegate"):
        speak = ModelSpeaker(*pair, max_new_tokens=3)
        settings = {"num_frames": 2, "attempts": 2}
        episode = run_agent(speak, clip, "What?", "frame_thinker", settings=settings)
        again = run_agent(
            ModelSpeaker(*pair, max_new_tokens=3), clip, "What?", "frame_thinker", settings=settings
        )
    assert (episode.answer, episode.stopped, len(episode.turns)) == (None, "invalid", 2)
    assert episode.turns[0].is_cut
    # sampled, as the paper does, from seeds
    assert [turn.text for turn in again.turns] == [turn.text for turn in episode.turns]


def test_without_an_attached_processor_it_is_refused(pair):
    with pytest.raises(AttachmentError, match="attach"):
        ModelSpeaker(*pair)
    with framegate.attach(*pair, "dense"), pytest.raises(ConfigError, match="max_new_tokens is 0"):
        ModelSpeaker(*pair, max_new_tokens=0)


def test_a_sampled_turn_follows_the_policy_alone(pair, clip, monkeypatch):
    policy, asked = policy_named("frame_thinker", {"num_frames": 2, "attempts": 1}), []
    generate = pair[0].generate
    monkeypatch.setattr(pair[0], "generate", lambda **options: asked.append(options) or generate(**options))
    with framegate.attach(*pair, "dense"):
        run_agent(ModelSpeaker(*pair, max_new_tokens=1), clip, "What?", policy)
    sampling = [options[name] for options in asked for name in ("temperature", "top_p", "top_k")]
    assert sampling == [0.6, 0.9, 0]
