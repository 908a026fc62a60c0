"""framegate/nano learns to look again: rendered videos, SFT, GRPO, and find-the-moment questions at equal tokens.

    python benchmarks/agents/bench_agents.py FOLDER [--csv benchmarks/agents/results/agents.csv] [--small]
    python benchmarks/agents/bench_agents.py FOLDER --arms uniform search second own boxed --csv search.csv

FOLDER gets the videos, the runs of examples/grpo.py and answers.jsonl; broken off anywhere, the same command goes on.
Sized for an hour and a half on two idle cores. Every arm reads 384 video tokens a question, all its turns together;
fewer where it answers without a look, or the video ends before:

    uniform    nano as it ships, 32 frames of the whole video
    search     nano as it ships, 32 frames around the time that the question names: a script looks, nothing is trained
    second     the same, 8 frames of the second that the question names and no other
    own        the same frames behind LOVE-R1's small ones: a script writes the look, nano answers in its own words
    boxed      the same, but nano has to answer in LOVE-R1's box
    random     the model after GRPO, whose look is drawn at random among the legal ones, and has the frames of the turn
               that nobody read as well
    sft        the model after its warm start on scripted looks and trajectories
    grpo       the same after GRPO
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, write_csv

import framegate
from framegate.tokenizers.clip import probe
from framegate.tokenizers.samplers import sampler
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.model_speaker import ModelSpeaker
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.policies.love_r1 import ZOOM_PREFIX
from framegate.tools.agents.speakers import Said, random_looks
from framegate.tools.evaluation import read_folder, score
from framegate.tools.evaluation.generator import write_dataset
from framegate.tools.evaluation.summary import Estimate, Resampling
from framegate.tools.lines_file import LinesFile
from framegate.tools.training import load_finetuned, settings_from_argv

ROOT = Path(__file__).parents[2]
ARMS = ("uniform", "search", "second", "own", "boxed", "random", "sft", "grpo")
UNTRAINED = ARMS[:5]
FRAMES = 32  # 16 tubes of 24 cells
SECOND_FRAMES = 8
CLOSE_SECONDS = 4.0
SEED = 0
COMMAND = "python benchmarks/agents/bench_agents.py FOLDER"
# name: split, seconds, videos, questions a video
SETS = {"train2": ("train", 120, 8, 300), "train5": ("train", 300, 2, 800)}
TESTS = {"test2": ("test", 120, 6, 16), "test5": ("test", 300, 3, 16)}
SMALL = {name: (split, 8, 1, 2) for name, (split, *_) in (SETS | TESTS).items()}
SMALL_RUN = (
    "--words_steps",
    "2",
    "--sft_steps",
    "2",
    "--grpo_steps",
    "2",
    "--save_steps",
    "1",
    "--num_generations",
    "2",
)


def render(folder, sets):
    """Videos of each set; a set is whole once its questions are written."""
    for name, (split, seconds, videos, questions) in sets.items():
        if not (folder / name / "questions.jsonl").exists():
            write_dataset(
                folder / name,
                split=split,
                videos=videos,
                seed=100 + list(SETS | TESTS).index(name),
                questions=questions,
                kinds=("text_at",),
                duration_seconds=float(seconds),
                pace="medium",
            )


def join(folder, names):
    """One folder of questions for training, whose videos stay where they are."""
    joined = folder / "train"
    (joined / "videos").mkdir(parents=True, exist_ok=True)
    lines = []
    for name in names:
        for video in sorted((folder / name / "videos").iterdir()):
            link = joined / "videos" / f"{name}-{video.name}"
            if not link.exists():
                link.symlink_to(video.resolve())
        for line in (folder / name / "questions.jsonl").read_text().splitlines():
            row = json.loads(line)
            lines.append(json.dumps(row | {"id": f"{name}-{row['id']}", "video": f"{name}-{row['video']}"}))
    (joined / "questions.jsonl").write_text("\n".join(lines) + "\n")
    return joined


def train(folder, data, extra):
    """Run or go on with examples/grpo.py."""
    command = [sys.executable, str(ROOT / "examples/grpo.py"), str(ROOT / "examples/grpo/nano.yaml")]
    command += ["--data", str(data), "--output_dir", str(folder / "run"), "--resume", "true"]
    subprocess.run([*command, *extra], check=True)


def asker(arm, folder, policy):
    """Ask one question: `ask(question) -> answer, video tokens, why it stopped`."""
    if arm in UNTRAINED:
        model, processor = framegate.from_pretrained("framegate/nano", front_end="dense")
        if arm in ("own", "boxed"):
            return lambda question: ask_scripted(model, processor, question, policy)
        return lambda question: ask_once(model, processor, question, frames_of(arm, question))
    model, processor = load_finetuned(folder / "run" / ("sft" if arm == "sft" else "grpo") / "final")
    speak = ModelSpeaker(model, processor, is_constrained=True, max_new_tokens=48)
    if arm == "random":
        speak = random_looks(speak, looks=1, seed=SEED)

    def ask(question):
        episode = run_agent(speak, str(question.path), question.question, policy)
        # a look drawn at random is read by nobody: its prompt costs nothing
        shown = sum(turn.video_tokens or 0 for turn in episode.turns)
        return episode.answer or "", shown, episode.stopped

    return ask


def ask_scripted(model, processor, question, policy):
    """Let a script look at the second that the question names, and the model answer."""
    at = int(question.time_seconds)
    turns = [f"{ZOOM_PREFIX}\\boxed{{[{at}, {at + 1}]}}"]
    answers = ModelSpeaker(model, processor, is_constrained=True, max_new_tokens=48)

    def speak(request):
        # nobody reads the prompt of a look that a script writes
        return Said(text=turns.pop(), video_tokens=0) if turns else answers(request)

    episode = run_agent(speak, str(question.path), question.question, policy)
    shown = sum(turn.video_tokens or 0 for turn in episode.turns)
    return episode.answer or "", shown, episode.stopped


def frames_of(arm, question):
    """Frames that an arm without an agent shows."""
    info, at = probe(question.path), question.time_seconds
    if arm == "uniform":
        return sampler("uniform")(info, num_frames=FRAMES)
    start, end = (at - CLOSE_SECONDS, at + CLOSE_SECONDS) if arm == "search" else (int(at), int(at) + 1)
    window = {"start_seconds": max(start, 0.0), "end_seconds": min(end, info.duration_seconds)}
    return sampler("uniform")(info, num_frames=FRAMES if arm == "search" else SECOND_FRAMES, **window)


def ask_once(model, processor, question, plan):
    """Ask in nano's own words, without an agent."""
    content = [
        {"type": "video", "video": str(question.path), "plan": plan},
        {"type": "text", "text": question.question},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    ids = model.generate(**inputs, max_new_tokens=8, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    text = processor.batch_decode(ids, skip_special_tokens=True)[0]
    return text, framegate.front_end_of(model).report.kept_tokens, "answered"


class AnswersFile(LinesFile):
    """Answers of all arms."""

    key, holds = "agents", "answers of agents"


def policy_of(arm):
    """The policy of the runs; what is looked at by chance costs no turn, so the look itself may cost as much more."""
    settings = settings_from_argv([str(ROOT / "examples/grpo/nano.yaml")])["policy_settings"]
    more = settings["fast_frames"] if arm == "random" else 0
    words = {"answer_words": "boxed"} if arm == "boxed" else {}
    return policy_named("love_r1", settings | words | {"slow_frames": settings["slow_frames"] + more})


def answer_all(folder, tests, arms):
    """Rows of all arms, those of answers.jsonl not asked again."""
    with AnswersFile(folder / "answers.jsonl", {"seed": SEED}, resumes_on=("seed",)) as file:
        for arm in arms:
            asked = [(name, q) for name in tests for q in read_folder(folder / name).questions]
            left = [(name, q) for name, q in asked if f"{arm}-{name}-{q.id}" not in file.done]
            ask = asker(arm, folder, policy_of(arm)) if left else None
            file.rows += [answered(ask, arm, name, question, file) for name, question in left]
        return file.rows


def answered(ask, arm, name, question, file):
    """One question asked; its row is on the disk."""
    began = time.perf_counter()
    answer, tokens, stopped = ask(question)
    row = {
        "arm": arm,
        "set": name,
        "id": f"{arm}-{name}-{question.id}",
        "question": f"{name}-{question.id}",
        "video": f"{name}-{question.video}",
        "answer": answer,
        "correct": score(question.kind, answer, question.answer)["correct"],
        "video_tokens": tokens,
        "stopped": stopped,
        "seconds": round(time.perf_counter() - began, 3),
    }
    file.append(row)
    return row


def table(done, tests, chosen):
    """Accuracy of each arm, and of GRPO, where it was asked, less each other, with intervals that resample videos."""
    rows = []
    for name in (*tests, "all"):
        arms = {
            arm: {row["question"]: row for row in done if row["arm"] == arm and name in (row["set"], "all")}
            for arm in chosen
        }
        first = arms[chosen[0]]
        ids = sorted(first)
        draws = Resampling([first[one]["video"] for one in ids], seed=SEED)
        best = [arms["grpo"][one]["correct"] for one in ids] if "grpo" in arms else None
        for arm in chosen:
            correct = [arms[arm][one]["correct"] for one in ids]
            own = draws.mean(correct)
            less = Estimate(None) if best is None else draws.difference(best, correct)
            tokens = [arms[arm][one]["video_tokens"] for one in ids]
            rows.append(
                {
                    "questions": name,
                    "arm": arm,
                    "count": len(ids),
                    "correct": _digits(own.value),
                    "low": _digits(own.low),
                    "high": _digits(own.high),
                    "grpo_less_this": _digits(less.value),
                    "less_low": _digits(less.low),
                    "less_high": _digits(less.high),
                    "video_tokens": round(sum(tokens) / len(tokens), 1),
                    "seed": SEED,
                    **environment(),
                    "command": COMMAND
                    if chosen == ARMS
                    else f"{COMMAND} --arms {' '.join(chosen)} --csv search.csv",
                }
            )
    return rows


def _digits(value):
    return "" if value is None else round(value, 4)


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--csv", type=Path, help="where the table goes; FOLDER/agents.csv without it")
    parser.add_argument(
        "--small", action="store_true", help="seconds of video and two steps: is all in its place?"
    )
    parser.add_argument(
        "--arms", nargs="+", default=ARMS, choices=ARMS, help="those without training need none to have been"
    )
    arguments = parser.parse_args()
    folder, small = arguments.folder, arguments.small
    learns = not set(arguments.arms) <= set(UNTRAINED)
    sets = (SETS if learns else {}) | TESTS
    # a set's videos are those of its place among all
    render(folder, {name: SMALL[name] if small else how for name, how in sets.items()})
    if learns:
        train(folder, join(folder, SETS), SMALL_RUN if small else ())
    done = answer_all(folder, TESTS, arguments.arms)
    write_csv(arguments.csv or folder / "agents.csv", table(done, TESTS, arguments.arms))


if __name__ == "__main__":
    main()
