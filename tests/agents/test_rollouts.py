"""Scripted trajectories as data, and rollouts for GRPO: what is trained, what is told, and whose videos a row has."""

from types import SimpleNamespace

import pytest
import torch
from known_video import NTSC, steady_video

import framegate
from framegate.errors import AttachmentError, ConfigError
from framegate.models.tiny import tiny_pair
from framegate.tokenizers.clip import probe
from framegate.tools.agents.episode import kind_of
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.rewards import ccv_validate, frame_thinker_reward, love_r1_qa_reward
from framegate.tools.agents.rollouts import AgentRollouts, on_trajectories
from framegate.tools.agents.scripts import scripted_turns, trajectory_samples
from framegate.tools.agents.speakers import scripted
from framegate.tools.agents.state import said, text_block
from framegate.tools.evaluation.generator import write_dataset
from framegate.tools.training import CompletionCollator

SETTINGS = {
    "frame_thinker": {"attempts": 1, "num_frames": 2},
    "love_r1": {"time_code": None, "fast_frames": 2, "slow_frames": 2, "max_turns": 1},
}
QUESTION, SECONDS = "What text stands at 4.2 seconds?", 4.2


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_dataset(folder, videos=2, questions=1, duration_seconds=5.0, show_progress=False)
    return sorted((folder / "videos").iterdir())


@pytest.fixture
def pair():
    model, processor = tiny_pair("qwen3_vl")
    with framegate.attach(model, processor, "dense"):
        yield model, processor


def script(name, video, **options):
    return scripted_turns(name, probe(video), time_seconds=SECONDS, answer="7KP", **options)


@pytest.mark.parametrize("name", SETTINGS)
def test_scripts_lead_to_the_answer_and_earn_the_reward(name, videos):
    policy, info = policy_named(name, SETTINGS[name]), probe(videos[0])
    for spread in range(2):
        turns = script(name, videos[0], spread_seconds=spread, seed=spread)
        samples = trajectory_samples(policy, str(videos[0]), QUESTION, turns, name="a")
        assert [sample["messages"][-1]["content"][0]["text"] for sample in samples] == turns
    told = [message for message in samples[-1]["messages"] if message["role"] != "system"][1:]
    columns = {
        "answer": ["7KP"],
        "num_frames": [info.num_frames],
        "duration_seconds": [info.duration_seconds],
    }
    reward = {"frame_thinker": frame_thinker_reward(), "love_r1": love_r1_qa_reward()}[name]
    messages = told if policy.grows else [{"role": "assistant", "content": turn} for turn in turns]
    assert reward([messages], **columns) == [{"frame_thinker": 1.2, "love_r1": 2.0}[name]]


def test_frame_thinkers_script_looks_where_the_frame_is(videos):
    turns = script("frame_thinker", videos[0])
    assert "get frame number at time 00:04" in turns[0]
    # frame 64 of 80, and not the whole video, which was seen
    assert "<think>0 to 78</think>\n<action>choose frames between 0 and 78</action>" in turns[1]


@pytest.mark.parametrize("seconds", [10, 30])
def test_frame_thinkers_script_holds_the_frame_that_it_was_told(seconds):
    # frame 299 is on screen at 10 seconds, and 300 is the first behind
    video = steady_video(2000, NTSC)
    turns = scripted_turns("frame_thinker", video, time_seconds=seconds, answer="B")
    settings = {"attempts": 1, "temperature": None}
    episode = run_agent(scripted(turns), video, QUESTION, "frame_thinker", settings=settings)
    told = [
        [said("assistant", text_block(turn.text)), said("user", text_block(after.told))]
        for turn, after in zip(episode.turns, [*episode.turns[1:], episode.turns[0]], strict=True)
    ]
    assert ccv_validate(sum(told, []), num_frames=2000) is None


@pytest.mark.parametrize("seconds", [0.3, 1.5, 119.6])
@pytest.mark.parametrize("duration", [119.9, 120.0])
def test_love_r1s_script_is_done_at_both_ends_of_a_video(seconds, duration):
    video = steady_video(int(duration * 10), 10)
    turns = scripted_turns("love_r1", video, time_seconds=seconds, answer="B")
    settings = {**SETTINGS["love_r1"], "pad_seconds": 1}
    episode = run_agent(scripted(turns), video, QUESTION, "love_r1", settings=settings)
    assert [kind_of(turn.action) for turn in episode.turns] == ["zoom", "answer"]


def test_a_trajectory_with_a_turn_that_was_refused_is_no_data(videos):
    policy = policy_named("love_r1", SETTINGS["love_r1"])
    with pytest.raises(ConfigError, match="of the video's 5"):
        trajectory_samples(policy, str(videos[0]), "?", ["\\boxed{[50, 60]}", "\\boxed{A}"], name="a")


def test_a_script_needs_a_time_in_the_video_and_a_policy_it_knows(videos):
    with pytest.raises(ConfigError, match="5.0 seconds"):
        scripted_turns("love_r1", probe(videos[0]), time_seconds=5.0, answer="A")
    with pytest.raises(ConfigError, match="frame_thinker, love_r1"):
        scripted_turns("earl", probe(videos[0]), time_seconds=1, answer="A")
    with pytest.raises(ConfigError, match="1 of 2 turns"):
        trajectory_samples(
            policy_named("love_r1", SETTINGS["love_r1"]),
            str(videos[0]),
            "?",
            ["\\boxed{A}", "\\boxed{B}"],
            name="a",
        )


@pytest.mark.parametrize("name", SETTINGS)
def test_a_collator_learns_the_turn_alone(name, pair, videos):
    turns = script(name, videos[0])
    samples = trajectory_samples(
        policy_named(name, SETTINGS[name]), str(videos[0]), QUESTION, turns, name="a"
    )
    batch = CompletionCollator(processor=pair[1])(samples)
    for labels, turn in zip(batch["labels"], turns, strict=True):
        assert pair[1].tokenizer.decode(labels[labels != -100], skip_special_tokens=True) == turn


def prompt(video, *turns):
    content = [
        {"type": "video", "video": str(video), "text": None},
        {"type": "text", "video": None, "text": QUESTION},
    ]
    said = [{"role": "assistant", "content": [{"type": "text", "text": turn}]} for turn in turns]
    return [{"role": "user", "content": content}, *said]


class Says:
    """TRL's trainer as rollouts see it, whose model writes prepared turns: for each batch a text a row."""

    def __init__(self, model, processor, batches):
        self.model, self.accelerator = model, SimpleNamespace(unwrap_model=lambda _: self, device="cpu")
        sampling = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0}
        self.args = SimpleNamespace(**sampling, max_completion_length=9)
        self.tokenizer, self.batches, self.training, self.prompts = (
            processor.tokenizer,
            iter(batches),
            True,
            [],
        )

    def eval(self):
        return self

    def train(self, mode):
        return self

    def generate(self, input_ids, attention_mask, **options):
        self.prompts.append(len(input_ids))
        self.options = options
        rows = [self.tokenizer(text)["input_ids"] for text in next(self.batches)]
        longest = max(map(len, rows))
        ends = [
            row + [self.tokenizer.eos_token_id] + [self.tokenizer.pad_token_id] * (longest - len(row))
            for row in rows
        ]
        return torch.cat([input_ids, torch.tensor(ends)], 1)


def logits(model, ids, mask, labels):
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, labels=labels).logits


@pytest.mark.parametrize("name", SETTINGS)
def test_rows_hold_what_was_written_and_the_model_sees_their_videos(name, pair, videos):
    model, processor = pair
    policy = policy_named(name, SETTINGS[name])
    turns = script(name, videos[0])
    # the second agent answers at once
    batches = [[turns[0], turns[-1]], *([turn] for turn in turns[1:])]
    rollouts = AgentRollouts(model, processor, policy)
    out = rollouts([prompt(videos[0]), prompt(videos[1])], Says(model, processor, batches))

    told = [message["content"] for message in out["trajectory"][0] if message["role"] == "user"]
    assert [message["content"] for message in out["trajectory"][0] if message["role"] == "assistant"][
        0
    ] == turns[0]
    assert len(out["trajectory"][1]) == 1
    own = [
        [token for token, mine in zip(ids, mask, strict=True) if mine]
        for ids, mask in zip(out["completion_ids"], out["env_mask"], strict=True)
    ]
    wanted = ["".join(turns) if policy.grows else turns[0], turns[-1]]
    assert processor.batch_decode(own, skip_special_tokens=True) == wanted
    if policy.grows:
        assert told[0].startswith("Frame number at time 00:04 is: 64")
        assert 0 in out["env_mask"][0]
        # the row reads as the conversation does
        state = trajectory_samples(policy, str(videos[0]), QUESTION, turns, name="a")[-1]["messages"]
        whole = processor.apply_chat_template([state], tokenize=True, return_dict=True)["input_ids"][0]
        row = out["prompt_ids"][0] + out["completion_ids"][0]
        assert list(whole[: len(row)]) == row

    rows = [first + ids for first, ids in zip(out["prompt_ids"], out["completion_ids"], strict=True)]
    width = max(map(len, rows)) + 1
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    both = logits(model, ids, mask, ids)
    for place, row in enumerate(rows):
        one = torch.tensor([row])
        alone = logits(model, one, torch.ones_like(one), one)
        torch.testing.assert_close(both[place, -len(row) :], alone[0], rtol=1e-3, atol=1e-4)
    with pytest.raises(AttachmentError, match="no rollout"):
        logits(model, ids * 0, mask, ids)
    rollouts.remove()


def test_agents_that_stand_alike_are_asked_in_one_batch_and_begin_behind_given_turns(pair, videos):
    turns = script("love_r1", videos[0])
    rollouts = AgentRollouts(*pair, policy_named("love_r1", SETTINGS["love_r1"]))
    trainer = Says(*pair, [["\\boxed{7KP}"] * 3])
    out = rollouts([prompt(videos[0], turns[0])] * 3, trainer)
    assert trainer.prompts == [3]
    reward = on_trajectories(love_r1_qa_reward())
    assert reward.__name__ == "love_r1_qa"
    columns = {"answer": ["7KP"] * 3, "duration_seconds": [5.0] * 3, "trajectory": out["trajectory"]}
    assert reward(["?"] * 3, **columns) == [2.0] * 3


@pytest.mark.parametrize(("name", "turns_played"), [("love_r1", 1), ("frame_thinker", 3)])
def test_rewards_of_a_first_turn_play_no_other_where_it_is_the_completion(name, turns_played, pair, videos):
    turns = script(name, videos[0])
    rollouts = AgentRollouts(*pair, policy_named(name, SETTINGS[name]), plays_on=False)
    trainer = Says(*pair, [[turn] for turn in turns])
    (messages,) = rollouts([prompt(videos[0])], trainer)["trajectory"]
    assert [message["content"] for message in messages if message["role"] == "assistant"] == turns[
        :turns_played
    ]
    assert len(trainer.prompts) == turns_played


def test_agents_behind_other_turns_are_asked_other_things(pair, videos):
    turns = script("frame_thinker", videos[0])
    rollouts = AgentRollouts(*pair, policy_named("frame_thinker", SETTINGS["frame_thinker"]))
    trainer = Says(*pair, [[turns[-1]] * 2])
    alone, behind = rollouts([prompt(videos[0]), prompt(videos[0], turns[0])], trainer)["prompt_ids"]
    assert len(behind) > len(alone)
    assert (trainer.options["top_k"], trainer.options["repetition_penalty"]) == (0, 1.0)
    assert trainer.options["suppress_tokens"] == [pair[1].image_token_id, pair[1].video_token_id]


def test_a_reply_that_only_padding_ends_is_an_invalid_turn(pair, videos):
    # several checkpoints end a text with their padding as well
    rollouts = AgentRollouts(*pair, policy_named("love_r1", SETTINGS["love_r1"]))
    trainer = Says(*pair, [])
    trainer.generate = lambda input_ids, **_: torch.nn.functional.pad(
        input_ids, (0, 3), value=trainer.tokenizer.pad_token_id
    )
    out = rollouts([prompt(videos[0])], trainer)
    assert out["completion_ids"] == [[trainer.tokenizer.pad_token_id]]
    assert love_r1_qa_reward()(out["trajectory"], answer=["B"], duration_seconds=[5.0]) == [0.0]


def test_what_cannot_be_trained_is_told(pair, videos):
    with pytest.raises(ConfigError, match="attempts is 3"):
        AgentRollouts(*pair, policy_named("frame_thinker"))
    rollouts = AgentRollouts(*pair, policy_named("love_r1", SETTINGS["love_r1"]))
    with pytest.raises(ConfigError, match="leave nothing to ask"):
        rollouts([prompt(videos[0], "\\boxed{B}")], None)
    same = [prompt(videos[0]), prompt(videos[1])]
    with pytest.raises(ConfigError, match="own video"):
        rollouts(same, Says(*pair, [["\\boxed{B}", "\\boxed{B}"]]))
