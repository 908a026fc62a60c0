"""Teach a model to look again: scripted trajectories, then GRPO on TRL's trainer with the agent loop as environment.

    python examples/grpo.py CONFIG.yaml [--key value ...]
    python examples/grpo.py examples/grpo/smoke.yaml      # framegate/nano, a few steps, any CPU

Needs framegate[agents]. Every setting is explained at GrpoRun. In output_dir: sft/final, grpo/final (both are read back
with framegate.load_finetuned) and the curves grpo/rewards.png; words/final where looks were learnt from words first. A
stage that is done is left alone, and one that was broken off goes on from its last checkpoint, where resume is set.

TRL 1.16 hands videos to a model on no public way: a rollout's fields go to the rewards alone, and the forward pass
gets the pixels of dataset images. framegate.tools.agents.rollouts.AgentRollouts adds them to the batch with a hook.
"""

import random
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer

import framegate
from framegate.errors import ConfigError, FramegateError
from framegate.settings import Count, Positive, Range, check, make
from framegate.tokenizers.clip import probe
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.rewards import frame_thinker_reward, love_r1_grounding_reward, love_r1_qa_reward
from framegate.tools.agents.rollouts import AgentRollouts, on_trajectories
from framegate.tools.agents.scripts import scripted_turns, trajectory_samples
from framegate.tools.evaluation import read_folder
from framegate.tools.evaluation.generator import write_dataset
from framegate.tools.training import (
    CompletionCollator,
    FrontEndCallback,
    add_lora,
    finetune_config,
    freeze_parts,
    load_finetuned,
    plot_loss,
    plot_rewards,
    save_finetuned,
    settings_from_argv,
)

STAGES = ("words", "sft", "grpo")
# the last turn of a trajectory
ANSWER = -1
# the language model alone is trained
FROZEN = ("tower", "merger", "front_end")


@dataclass(frozen=True, kw_only=True)
class GrpoRun:
    """Settings of a run.

    Args:
        model: folder, hub id or "framegate/nano".
        data: folder of videos and questions; those with time_seconds are used. None, with smoke, renders two.
        output_dir: gets sft/ and grpo/.
        policy: "love_r1" or "frame_thinker".
        policy_settings: its settings.
        spread_seconds: scripted looks are wider than they have to be by up to so much on either side.
        lora: train adapters on the language model; False trains it whole, for models as small as nano.
        lora_rank: of the adapters.
        words_steps, words_batch_size: of the warm start's first part, first looks from prompts without their frames:
            which number of the question to copy is learnt from words, which cost a fraction. 0 leaves it out.
        sft_steps, sft_batch_size: of its second part, whole trajectories.
        looks_per_answer: times that a trajectory's looks are learnt there for each time that its answer is.
        sft_learning_rate: of both.
        reward: what GRPO's reward reads: "answer", or for love_r1 "grounding", the look alone, no answer played.
        least_iou: of a look with the second that is asked about, above which grounding takes it for right.
        grpo_steps, prompts_per_step, num_generations, grpo_learning_rate, temperature: of GRPO.
        max_completion_length: most tokens of a turn.
        answer_share: share of GRPO's prompts that begin behind a scripted look, so that answering is trained as well;
            for policies whose prompt is built anew.
        save_steps: steps between checkpoints.
        seed: of data, adapters and rollouts.
        resume: go on from the last checkpoint.
        smoke: a few steps.
    """

    model: str = "framegate/nano"
    data: str | None = None
    output_dir: str = "out/grpo"
    policy: Literal["love_r1", "frame_thinker"] = "love_r1"
    policy_settings: dict[str, Any] = field(default_factory=dict)
    spread_seconds: int = 4
    lora: bool = True
    lora_rank: Count = 32
    words_steps: Annotated[int, Range(least=0)] = 0
    words_batch_size: Count = 64
    sft_steps: Count = 400
    sft_batch_size: Count = 4
    looks_per_answer: Count = 1
    sft_learning_rate: Positive = 1e-3
    reward: Literal["answer", "grounding"] = "answer"
    least_iou: float = 0.0
    grpo_steps: Count = 100
    prompts_per_step: Count = 2
    num_generations: Count = 6
    grpo_learning_rate: Positive = 1e-4
    temperature: Positive = 1.0
    max_completion_length: Count = 48
    answer_share: float = 0.5
    save_steps: Count = 25
    seed: int = 0
    resume: bool = False
    smoke: bool = False

    def __post_init__(self):
        check(self, "")
        if self.reward == "grounding" and self.policy != "love_r1":
            raise ConfigError(f"reward is 'grounding', which is love_r1's; the policy is {self.policy!r}.")
        if self.reward == "grounding" and self.answer_share:
            raise ConfigError(
                f"answer_share is {self.answer_share}, and reward 'grounding' reads looks alone: behind a look it "
                "would reward nothing. Set answer_share=0, or reward=answer."
            )
        if self.reward == "answer" and self.least_iou:
            raise ConfigError(
                f"least_iou is {self.least_iou}, and reward 'answer' reads none; set reward=grounding."
            )


def questions_of(run):
    """Questions about a moment, each text once: a rollout's videos are found by its tokens."""
    folder = Path(run.data or Path(run.output_dir) / "data")
    if run.data is None:
        if not run.smoke:
            raise ConfigError("data is not set; name a folder of videos and questions, or set smoke=true.")
        if not (folder / "questions.jsonl").exists():
            write_dataset(
                folder, videos=1, questions=2, kinds=("text_at",), duration_seconds=4.0, split="train"
            )
    asked = {}
    for question in read_folder(folder).questions:
        if question.time_seconds is not None and question.path is not None:
            asked.setdefault(question.question, question)
    if not asked:
        raise ConfigError(f"{str(folder)!r} has no question with time_seconds; a scripted look needs one.")
    return list(asked.values())


@cache
def info_of(path):
    """What is known of a video, read once: it has many questions."""
    return probe(path)


def script_of(run, policy, question, *, spread):
    return scripted_turns(
        policy,
        info_of(question.path),
        time_seconds=question.time_seconds,
        answer=question.answer,
        spread_seconds=spread,
        seed=run.seed,
    )


class Turns(torch.utils.data.Dataset):
    """Turns of scripted trajectories, in order of training; a question is played when one of its turns is asked for."""

    def __init__(self, run, policy, order):
        self.run, self.policy, self.order = run, policy, order

    def __len__(self):
        return len(self.order)

    def __getitem__(self, index):
        question, turn = self.order[index]
        # a look may be wide, and the answer behind it is learnt from a close one, which shows it
        spread = 0 if turn == ANSWER else self.run.spread_seconds
        turns = script_of(self.run, self.policy, question, spread=spread)
        info = info_of(question.path)
        samples = trajectory_samples(self.policy, info, question.question, turns, name=question.id)
        return samples[turn] | {"index": index}


def ordered(run, questions, kinds, *, steps, batch_size):
    """Questions and turns of so many steps, a batch of one kind each: an answer's prompt is many times a look's."""
    draw, batches = random.Random(run.seed), []
    while len(batches) < steps:
        for turn in kinds:
            asked = draw.sample(questions, min(batch_size, len(questions)))
            batches.append([(question, turn) for question in asked])
    batches = batches[:steps]
    draw.shuffle(batches)
    return [pair for batch in batches for pair in batch]


class WithoutFrames(torch.utils.data.Dataset):
    """The same samples, nothing but words in their prompts."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index]
        messages = [
            message | {"content": [block for block in message["content"] if block["type"] == "text"]}
            for message in sample["messages"]
        ]
        return sample | {"messages": messages}


def checkpoint_of(run, folder):
    """The checkpoint to go on from; a folder that holds some is never written over unasked."""
    found = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if found and not run.resume:
        raise ConfigError(f"{found!r} is there already; set resume=true, or another output_dir.")
    return found


def pair_of(run, folder):
    """The model as it comes, or as a stage left it in a folder; the language model alone is trained."""
    if folder is not None:
        model, processor = load_finetuned(folder, trainable=True)
    else:
        model, processor = framegate.from_pretrained(run.model, front_end="dense")
    if folder is None and run.lora:
        framegate.front_end_of(model).detach()
        lora = {"lora_rank": run.lora_rank, "lora_alpha": 2 * run.lora_rank, "model": run.model, "data": "-"}
        model = add_lora(model, finetune_config(lora))
        framegate.attach(model, processor, "dense")
    freeze_parts(model, FROZEN)
    return model, processor


def sft(run, pair, data, folder, *, steps, batch_size):
    """Warm start: the likeliest turn becomes the script's."""
    model, processor = pair
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            learning_rate=run.sft_learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=min(20, steps // 10),
            save_steps=run.save_steps,
            save_total_limit=1,
            logging_steps=1 if run.smoke else 10,
            report_to="none",
            seed=run.seed,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            train_sampling_strategy="sequential",
            label_names=["labels"],
        ),
        train_dataset=data,
        data_collator=CompletionCollator(processor=processor),
        processing_class=processor,
        callbacks=[FrontEndCallback(framegate.front_end_of(model))],
    )
    trainer.train(resume_from_checkpoint=checkpoint_of(run, folder))
    plot_loss(trainer.state.log_history, folder / "loss.png")
    save_finetuned(model, processor, folder / "final")


def prompts_of(run, policy, questions):
    """GRPO's rows: the question alone and, for a prompt that is built anew, also behind a scripted look."""
    draw, rows = random.Random(run.seed), []
    for question in questions:
        info = info_of(question.path)
        content = [
            {"type": "video", "video": str(question.path), "text": None},
            {"type": "text", "video": None, "text": question.question},
        ]
        prompt = [{"role": "user", "content": content}]
        if not policy.grows and draw.random() < run.answer_share:
            look = script_of(run, policy, question, spread=run.spread_seconds)[0]
            prompt.append({"role": "assistant", "content": [{"type": "text", "video": None, "text": look}]})
        rows.append(
            {
                "prompt": prompt,
                "answer": question.answer,
                "question": question.question,
                "num_frames": info.num_frames,
                "duration_seconds": info.duration_seconds,
                "targets": [[float(int(question.time_seconds)), int(question.time_seconds) + 1.0]],
            }
        )
    return Dataset.from_list(rows)


def reward_of(run, policy):
    if run.reward == "grounding":
        return love_r1_grounding_reward(least_iou=run.least_iou)
    if policy.name == "love_r1":
        return love_r1_qa_reward(answer_words=policy.answer_words)
    return frame_thinker_reward()


def grpo(run, pair, policy, questions, folder):
    """Reward what leads to right answers."""
    model, processor = pair
    rollouts = AgentRollouts(model, processor, policy, plays_on=run.reward == "answer")
    trainer = GRPOTrainer(
        model=model,
        processing_class=processor,
        reward_funcs=[on_trajectories(reward_of(run, policy))],
        rollout_func=rollouts,
        train_dataset=prompts_of(run, policy, questions),
        callbacks=[FrontEndCallback(framegate.front_end_of(model))],
        args=GRPOConfig(
            output_dir=str(folder),
            max_steps=run.grpo_steps,
            num_generations=run.num_generations,
            per_device_train_batch_size=run.num_generations * run.prompts_per_step,
            gradient_accumulation_steps=1,
            learning_rate=run.grpo_learning_rate,
            temperature=run.temperature,
            max_completion_length=run.max_completion_length,
            beta=0.0,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
            save_steps=run.save_steps,
            save_total_limit=1,
            logging_steps=1,
            report_to="none",
            seed=run.seed,
        ),
    )
    trainer.train(resume_from_checkpoint=checkpoint_of(run, folder))
    plot_rewards(trainer.state.log_history, folder / "rewards.png")
    rollouts.remove()
    save_finetuned(model, processor, folder / "final")


def main(argv):
    run = make(GrpoRun, settings_from_argv(argv))
    set_seed(run.seed)
    policy = policy_named(run.policy, {"attempts": 1, **run.policy_settings})
    questions = questions_of(run)
    stages = {name: Path(run.output_dir) / name for name in STAGES}
    trained = None
    for name, folder in stages.items():
        if name == "words" and not run.words_steps:
            continue
        if not (folder / "final").is_dir():
            train(run, name, pair_of(run, trained), policy, questions, folder)
        trained = folder / "final"
    print(f"saved in {trained}; reward curves: {stages['grpo'] / 'rewards.png'}")


def train(run, name, pair, policy, questions, folder):
    if name == "grpo":
        return grpo(run, pair, policy, questions, folder)
    looks = tuple(range(len(script_of(run, policy, questions[0], spread=0)) - 1))
    if name == "words":
        size = {"steps": run.words_steps, "batch_size": run.words_batch_size}
        data = WithoutFrames(Turns(run, policy, ordered(run, questions, looks[:1], **size)))
    else:
        size = {"steps": run.sft_steps, "batch_size": run.sft_batch_size}
        kinds = looks * run.looks_per_answer + (ANSWER,)
        data = Turns(run, policy, ordered(run, questions, kinds, **size))
    return sft(run, pair, data, folder, **size)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except FramegateError as error:
        sys.exit(f"{type(error).__name__}: {error}")
