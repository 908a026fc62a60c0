"""Teach a model to look again: scripted trajectories, then GRPO on TRL's trainer with the agent loop as environment.

    python examples/grpo.py CONFIG.yaml [--key value ...]
    python examples/grpo.py examples/grpo/smoke.yaml      # framegate/nano, a few steps, any CPU

Needs framegate[agents]. Every setting is explained at GrpoRun. In output_dir: sft/final, grpo/final (both are read back
with framegate.load_finetuned) and the curves grpo/rewards.png. A stage that is done is left alone, and one that was
broken off goes on from its last checkpoint, where resume is set.

TRL 1.16 hands videos to a model on no public way: a rollout's fields go to the rewards alone, and the forward pass
gets the pixels of dataset images. framegate.tools.agents.rollouts.AgentRollouts adds them to the batch with a hook.
"""

import random
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer

import framegate
from framegate.errors import ConfigError, FramegateError
from framegate.settings import Count, Positive, check, make
from framegate.tokenizers.clip import probe
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.rewards import frame_thinker_reward, love_r1_qa_reward
from framegate.tools.agents.rollouts import AgentRollouts, on_trajectories
from framegate.tools.agents.scripts import scripted_turns, trajectory_samples
from framegate.tools.evaluation import read_folder
from framegate.tools.evaluation.generator import write_dataset
from framegate.tools.training import (
    CompletionCollator,
    FrontEndCallback,
    add_lora,
    finetune_config,
    load_finetuned,
    plot_loss,
    plot_rewards,
    save_finetuned,
    settings_from_argv,
)


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
        lora_rank: of the adapters on the language model.
        sft_steps, sft_batch_size, sft_learning_rate: of the warm start.
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
    lora_rank: Count = 32
    sft_steps: Count = 400
    sft_batch_size: Count = 4
    sft_learning_rate: Positive = 1e-3
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


class Trajectories(torch.utils.data.Dataset):
    """Every turn of every scripted trajectory; a question is played when it is asked for."""

    def __init__(self, run, policy, questions):
        self.run, self.policy, self.questions = run, policy, questions
        self.turns = len(script_of(run, policy, questions[0], spread=0))

    def __len__(self):
        return len(self.questions) * self.turns

    def __getitem__(self, index):
        question, turn = self.questions[index // self.turns], index % self.turns
        # a look may be wide, and the answer behind it is learnt from a close one, which shows it
        is_answer = turn == self.turns - 1
        turns = script_of(self.run, self.policy, question, spread=0 if is_answer else self.run.spread_seconds)
        samples = trajectory_samples(
            self.policy, info_of(question.path), question.question, turns, name=question.id
        )
        return samples[turn] | {"index": index}


def checkpoint_of(run, folder):
    """The checkpoint to go on from; a folder that holds some is never written over unasked."""
    found = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if found and not run.resume:
        raise ConfigError(f"{found!r} is there already; set resume=true, or another output_dir.")
    return found


def sft(run, policy, questions, folder):
    """Warm start: the likeliest turn becomes the script's."""
    model, processor = framegate.from_pretrained(run.model, front_end="dense")
    framegate.front_end_of(model).detach()
    lora = {"lora_rank": run.lora_rank, "lora_alpha": 2 * run.lora_rank, "model": run.model, "data": "-"}
    model = add_lora(model, finetune_config(lora))
    front_end = framegate.attach(model, processor, "dense")
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=run.sft_steps,
            per_device_train_batch_size=run.sft_batch_size,
            learning_rate=run.sft_learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=min(20, run.sft_steps // 10),
            save_steps=run.save_steps,
            save_total_limit=1,
            logging_steps=1 if run.smoke else 10,
            report_to="none",
            seed=run.seed,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            label_names=["labels"],
        ),
        train_dataset=Trajectories(run, policy, questions),
        data_collator=CompletionCollator(processor=processor),
        processing_class=processor,
        callbacks=[FrontEndCallback(front_end)],
    )
    trainer.train(resume_from_checkpoint=checkpoint_of(run, folder))
    plot_loss(trainer.state.log_history, folder / "loss.png")
    save_finetuned(model, processor, folder / "final")
    front_end.detach()


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
            }
        )
    return Dataset.from_list(rows)


def reward_of(policy):
    if policy.name == "love_r1":
        return love_r1_qa_reward(answer_words=policy.answer_words)
    return frame_thinker_reward()


def grpo(run, policy, questions, folder, warm):
    """Reward what leads to right answers."""
    model, processor = load_finetuned(warm, trainable=True)
    rollouts = AgentRollouts(model, processor, policy)
    trainer = GRPOTrainer(
        model=model,
        processing_class=processor,
        reward_funcs=[on_trajectories(reward_of(policy))],
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
    stages = {name: Path(run.output_dir) / name for name in ("sft", "grpo")}
    if not (stages["sft"] / "final").is_dir():
        sft(run, policy, questions, stages["sft"])
    if not (stages["grpo"] / "final").is_dir():
        grpo(run, policy, questions, stages["grpo"], stages["sft"] / "final")
    print(f"saved in {stages['grpo'] / 'final'}; reward curves: {stages['grpo'] / 'rewards.png'}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except FramegateError as error:
        sys.exit(f"{type(error).__name__}: {error}")
