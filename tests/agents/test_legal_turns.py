"""Legal turns: what may be written is what the policies read and do, letter by letter and token by token."""

import random

import pytest
import torch
from known_video import steady_video

from framegate.models.nano.vocabulary import nano_tokenizer
from framegate.tools.agents.constrained import LegalTurns, SpelledTokens
from framegate.tools.agents.grammar import Answer, Invalid
from framegate.tools.agents.legal import Legal, Number, Words
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.speakers import drawn

VA = steady_video(349, 30)
LOOKING = ("frame_thinker", "love_r1", "earl")


@pytest.fixture(scope="module")
def tokens():
    return SpelledTokens(nano_tokenizer())


def whole(legal, text):
    """True where a text is a whole legal turn."""
    return legal.may_end(legal.after(legal.beginning(), text))


@pytest.mark.parametrize(
    ("least", "most", "width"), [(0, 348, None), (95, 103, None), (7, 7, None), (0, 12, 2), (5, 4, None)]
)
def test_numbers_are_those_of_their_range(least, most, width):
    legal = Legal(looks=(("a", Number(least, most, width), "b"),))
    written = [f"a{number:0{width or 1}d}b" for number in range(500)]
    found = [number for number, text in enumerate(written) if whole(legal, text)]
    assert found == list(range(least, most + 1))
    assert not any(whole(legal, text) for text in ("ab", "a0007b", "a-1b", "a\u0664b"))
    # nothing is begun that cannot be ended
    for begun in ("a1", "a9", "a10", "a34", "a35"):
        places = legal.after(legal.beginning(), begun)
        assert bool(places) == any(text.startswith(begun) for text in (written[number] for number in found))


def test_a_number_may_end_a_turn_and_bound_the_next():
    legal = Legal(answers=((Number(1, 20), " to ", lambda numbers: Number(numbers[0] + 1, 21)),))
    assert whole(legal, "9 to 10")
    assert whole(legal, "9 to 21")
    assert not whole(legal, "9 to 9")
    assert not whole(legal, "9 to 1")


def test_words_end_when_they_are_full(tokens):
    legal = Legal(answers=((Words(most=3), "."),))
    places = legal.at_token(legal.after(legal.beginning(), "abc"))
    assert not legal.after(places, "d")
    assert legal.may_end(legal.after(places, "."))
    assert not whole(legal, "a<.")


@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize("frames", [2, 12, 349])
def test_drawn_turns_are_read_and_done(name, frames):
    policy, draw = policy_named(name), random.Random(0)
    state = policy.begin(steady_video(frames, 30), "clip.mp4", "?")
    for legal in (policy.legal(state), policy.legal(state.force("turn_limit"))):
        for alternative in legal.alternatives:
            for _ in range(3):
                text = drawn(alternative, draw)
                if text is None:
                    continue
                assert whole(legal, text)
                after = policy.update(state, policy.parse(text))
                assert after.refused is None
                assert (after.answer is not None) == (alternative in legal.answers)
    assert not policy.legal(state.force("turn_limit")).looks


@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize("seed", range(2))
def test_whatever_a_model_would_rather_write_the_turn_is_legal(name, seed, tokens):
    policy, chance = policy_named(name), torch.Generator().manual_seed(seed)
    state = policy.begin(VA, "clip.mp4", "?")
    tokenizer = nano_tokenizer()
    process, ids = LegalTurns(tokens, policy.legal(state)), torch.tensor([[5, 6, 7]])
    for _ in range(300):
        scores = torch.randn(1, len(tokenizer), generator=chance)
        ids = torch.cat([ids, process(ids, scores).argmax(1, keepdim=True)], 1)
        if ids[0, -1] == tokenizer.eos_token_id:
            break
    text = tokenizer.decode(ids[0, 3:-1])
    action = policy.parse(text)
    assert not isinstance(action, Invalid), text
    assert policy.update(state, action).refused is None


def test_rows_end_apart_and_a_begun_turn_goes_on(tokens):
    tokenizer = nano_tokenizer()
    legal = Legal(answers=(("I get the answer.\n\n\\boxed{", Number(7, 7), "}"), ("no",)))
    process = LegalTurns(tokens, legal, begun="I get the answer.\n\n\\boxed{")
    scores = process(torch.tensor([[5], [5]]), torch.zeros(2, len(tokenizer)))
    seven = tokenizer.encode("7")
    assert scores.isfinite().nonzero().tolist() == [[0, seven[0]], [1, seven[0]]]
    box = tokenizer.encode("}")[0]
    rows = torch.tensor([[5, *seven, box], [5, *seven, tokenizer.eos_token_id]])
    allowed = process(rows, torch.zeros(2, len(tokenizer))).isfinite()
    assert allowed[0].nonzero().tolist() == [[tokenizer.eos_token_id]]
    assert allowed[1].sum() >= 1


def test_an_answer_alone_is_legal_where_the_answer_is_forced(tokens):
    policy = policy_named("earl")
    state = policy.begin(VA, "clip.mp4", "?").force("token_budget")
    legal = policy.legal(state)
    assert isinstance(policy.parse(drawn(legal.answers[0], random.Random(1))), Answer)
    assert not legal.after(legal.beginning(), "<tool_call>")
