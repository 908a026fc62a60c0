"""Trains framegate/nano from generated video alone.

    python -m framegate.tools.training.nano.train --out runs/nano --steps 20000

A curriculum: the tower alone learns to say which letter stands in which patch; then the whole model reads a text in
one small frame, in two frames, in larger frames and longer videos, a step whenever the share of right answers passes
a mark; then videos of many sizes, lengths and rates, mixed, and at last longer ones with more questions about each.
From these the tower learns in few steps alone: it is four fifths of a step's work, and what it has to know is the
first lesson, which is rehearsed throughout.
Batches are functions of seed and step, so a run that was cut off goes on where its last checkpoint was, and gives
what it would have given.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional
from tqdm import tqdm

from framegate.errors import ConfigError
from framegate.models.nano.build import nano_model, nano_processor
from framegate.tools.evaluation.generator.asking import KINDS
from framegate.tools.training.curve import plot_loss
from framegate.tools.training.labels import IGNORED
from framegate.tools.training.nano.batches import LAYOUT, Batch, make_batch
from framegate.tools.training.nano.lessons import (
    CURRICULUM,
    MIXTURES,
    PASS_MARKS,
    READING_MARK,
    READING_PAGES,
)
from framegate.tools.training.nano.reading import ReadingHead, reading_batch, reading_loss
from framegate.tools.training.nano.weights import FlatPatchEmbed, Optimizers, load_grown

# share of the steps in which sizes vary, before lengths grow
VARIED_SHARE = 0.4
# share of steps that rehearse the first lesson: on the way, in the first mixture, and in the second; reading is what
# is learnt slowest and costs least
READING_SHARES = (0.33, 0.6, 0.2)
# in a mixture the tower learns from this share of the questions; from the others the language model alone
TOWER_LEARNS = (0.25, 0.1)
# a new head learns alone for so many of its lessons: what it says at first would only disturb a tower that can read
HEAD_ALONE = 40
# the rate stays level for this share of the steps
LEVEL = 0.6
# how much the running exact match remembers
MEMORY = 0.97
COLUMNS = ("step", "lesson", "loss", "letters", *KINDS, "rate", "seconds")


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    step: int = 0
    lesson: int = 0
    since: int = 0
    head_alone: int = 0
    seconds: float = 0.0


class Trainer:
    """The model, its optimiser and where the run stands.

    Args:
        out: folder of checkpoint and log.
        seed: of weights and data.
        peak_rate: learning rate after the warm-up.
        steps: of training altogether; over the last two fifths of them the rate falls to a twentieth.
        bf16: compute in bfloat16 where that is safe; weights stay in float32.
        device: where to compute. Batches are drawn on the CPU, so that they are the same everywhere.

    Raises:
        ConfigError: there is no such device here.
    """

    def __init__(
        self,
        out: Path,
        *,
        seed: int,
        peak_rate: float,
        steps: int,
        bf16: bool = False,
        device: str = "cpu",
    ) -> None:
        self.out, self.seed, self.peak_rate, self.steps = out, seed, peak_rate, steps
        self.bf16, self.device = bf16, _device(device)
        self.tokenizer = nano_processor().tokenizer
        self.model = nano_model(seed).train()
        tower = self.model.model.visual
        tower.patch_embed = FlatPatchEmbed(tower.patch_embed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = ReadingHead(self.model.config.text_config.hidden_size, LAYOUT.merge_size)
        self.model.to(self.device)
        self.head.to(self.device)
        self.optimizers = Optimizers(self.model, self.head, peak_rate)
        self.progress = Progress()
        self.running: dict[str, float] = {}

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location=self.device)
        if state["recipe"] != self._recipe():
            raise ConfigError(
                f"{path} is of a run with {state['recipe']}, and {self._recipe()} was asked for. Give another --out."
            )
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.progress, self.running = Progress(**state["progress"]), state["running"]

    def start_from(self, folder: Path) -> None:
        """Begin with the weights of a model folder, in the last lesson; the model may be a smaller one (`grow`).

        Args:
            folder: what `export` writes, or the one that ships.

        Raises:
            ConfigError: the weights are of another or a larger model.
        """
        load_grown(self.model, load_file(folder / "model.safetensors"), folder)
        self.progress.lesson, self.progress.head_alone = len(CURRICULUM), HEAD_ALONE

    def save(self) -> None:
        """Write the checkpoint; the old one stays whole until the new one is."""
        state = {
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "progress": vars(self.progress),
            "running": self.running,
            "recipe": self._recipe(),
        }
        torch.save(state, self.out / "checkpoint.tmp")
        (self.out / "checkpoint.tmp").replace(self.out / "checkpoint.pt")

    def _recipe(self) -> dict[str, float]:
        return {"seed": self.seed, "rate": self.peak_rate, "steps": self.steps, "bf16": self.bf16}

    def rate(self) -> float:
        """The learning rate now: warm-up of 100 steps, level, a cosine over the last two fifths."""
        fall = max(0.0, min(1.0, (self.progress.step / self.steps - LEVEL) / (1 - LEVEL)))
        return (
            self.peak_rate
            * min(1.0, (self.progress.step + 1) / 100)
            * (0.525 + 0.475 * math.cos(math.pi * fall))
        )

    def step(self) -> dict[str, float]:
        """Learn from one batch and tell how it went."""
        began = time.perf_counter()
        now = self.progress
        reads, lesson, tower = np.random.default_rng((self.seed, now.step, 13)).random(3)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self._read() if reads < self._reading_share() else self._answer(lesson, tower)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizers.step(self.rate())
        now.step += 1
        now.seconds += time.perf_counter() - began
        self._advance()
        return {"loss": float(loss.detach()), "rate": self.rate()} | self.running

    def _read(self) -> torch.Tensor:
        drawn = reading_batch(READING_PAGES, LAYOUT, (self.seed, self.progress.step))
        batch = tuple(one.to(self.device) for one in drawn)
        alone = self.progress.head_alone > 0
        self.progress.head_alone = max(0, self.progress.head_alone - 1)
        loss, share = reading_loss(self.model.model.visual, self.head, batch, head_alone=alone)
        self._mark("letters", share)
        return loss

    def _reading_share(self) -> float:
        if self.progress.lesson == 0:
            return 1.0
        if self.progress.lesson < len(CURRICULUM):
            return READING_SHARES[0]
        return READING_SHARES[1 + self._mixture()]

    def _mixture(self) -> int:
        """Which of the two mixtures it is the time for."""
        return int(self.progress.step >= VARIED_SHARE * self.steps)

    def _answer(self, draw: float, draw_tower: float) -> torch.Tensor:
        """The present lesson, and in a third of the cases the one before; at the end one of the mixture."""
        now = self.progress
        ends, back = now.lesson == len(CURRICULUM), now.lesson > 1 and draw < 1 / 3
        lesson = CURRICULUM[now.lesson - (2 if back else 1)]
        if ends:
            mixture = MIXTURES[self._mixture()]
            lesson = mixture[int(draw * len(mixture))]
        batch = make_batch(lesson, self.tokenizer, (self.seed, now.step)).to(self.device)
        tower = self.model.model.visual.requires_grad_(
            not ends or bool(draw_tower < TOWER_LEARNS[self._mixture()])
        )
        logits, right = answered(self.model, batch)
        tower.requires_grad_(True)
        if ends or not back:
            for kind, truths in exact_matches(logits.detach(), batch).items():
                self._mark(kind, sum(truths) / len(truths))
        return functional.cross_entropy(logits, right)

    def _mark(self, name: str, share: float) -> None:
        self.running[name] = MEMORY * self.running.get(name, share) + (1 - MEMORY) * share

    def _advance(self) -> None:
        """Go to the next lesson when the present one is known."""
        now = self.progress
        now.since += 1
        if now.lesson == len(CURRICULUM):
            return
        name, mark = ("letters", READING_MARK) if now.lesson == 0 else ("text_at", PASS_MARKS[now.lesson - 1])
        if now.since < 50 or self.running.get(name, 0.0) < mark:
            return
        now.lesson, now.since = now.lesson + 1, 0
        self.running = {"letters": self.running["letters"]}


def _device(name: str) -> torch.device:
    """The device of a name; refuses one that this machine or this torch lacks."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"--device {name}: {str(error).splitlines()[0]} cpu works everywhere.") from error
    return torch.device(name)


def answered(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the model on a batch, its head on answers alone: a prompt's logits are most of the work and of no use.

    Args:
        model: framegate/nano.
        batch: A tokens of which are answers.

    Returns:
        Logits [A, V], and the right tokens, int64 [A].
    """
    inputs = {name: value for name, value in batch.inputs.items() if name != "labels"}
    states = model.model(**inputs, use_cache=False).last_hidden_state[:, :-1]
    labels = batch.inputs["labels"][:, 1:]
    return model.lm_head(states[labels != IGNORED]), labels[labels != IGNORED]


def exact_matches(logits: torch.Tensor, batch: Batch) -> dict[str, list[bool]]:
    """Tell per kind which answers are right in every token, each token after the right ones before it.

    Args:
        logits: [A, V], of the batch's A tokens of answers.
        batch: whose logits they are.

    Returns:
        Kind to one truth value per question.
    """
    owner, labels = batch.owner[:, 1:], batch.inputs["labels"][:, 1:]
    answers = labels != IGNORED
    missed = set(owner[answers][logits.argmax(-1) != labels[answers]].tolist())
    found: dict[str, list[bool]] = {}
    for number, kind in enumerate(batch.kinds):
        found.setdefault(kind, []).append(number not in missed)
    return found


def train(trainer: Trainer, *, save_every: int = 40) -> None:
    """Train to the last step, with a bar, a log and checkpoints."""
    trainer.resume()
    path = trainer.out / "log.csv"
    forget_after(path, trainer.progress.step)
    new = not path.exists()
    with (
        path.open("a", newline="") as file,
        tqdm(total=trainer.steps, initial=trainer.progress.step, disable=None, unit="step") as bar,
    ):
        log = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore")
        if new:
            log.writeheader()
        while trainer.progress.step < trainer.steps:
            told = trainer.step()
            now = trainer.progress
            bar.update()
            bar.set_postfix(
                lesson=now.lesson,
                loss=told["loss"],
                letters=told.get("letters", 0.0),
                text=told.get("text_at", 0.0),
            )
            if now.step % 20 == 0:
                rounded = {name: f"{value:.5g}" for name, value in told.items()}
                log.writerow(
                    {"step": now.step, "lesson": now.lesson, "seconds": round(now.seconds)} | rounded
                )
                file.flush()
            if now.step % save_every == 0:
                trainer.save()
    trainer.save()


def export(trainer: Trainer, folder: Path) -> None:
    """Write what plain transformers loads: weights in half precision for use in full, and the processor."""
    trainer.model.eval().to(torch.float16).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32"}, indent=2) + "\n")
    nano_processor().save_pretrained(folder)
    log = list(csv.DictReader((trainer.out / "log.csv").open()))
    plot_loss(
        [{"step": int(row["step"]), "loss": float(row["loss"])} for row in log], trainer.out / "loss.png"
    )


def forget_after(path: Path, step: int) -> None:
    """Take rows of the log that are after a checkpoint out of it: they will come again."""
    if path.exists():
        head, *rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join([head, *(row for row in rows if int(row.split(",")[0]) <= step)]))


def main() -> None:
    """Run from a command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of checkpoint, log and the finished model"
    )
    parser.add_argument("--steps", type=int, default=20000, help="about one a second on 2 cores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--start", type=Path, help="folder of a model whose weights are taught further")
    parser.add_argument(
        "--bf16", action="store_true", help="compute in bfloat16, for processors that know it"
    )
    parser.add_argument("--device", default="cpu", help="cuda where there is a GPU, best with --bf16")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        options.out,
        seed=options.seed,
        peak_rate=options.rate,
        steps=options.steps,
        bf16=options.bf16,
        device=options.device,
    )
    if (options.out / "checkpoint.pt").exists():
        print(f"going on from {options.out / 'checkpoint.pt'}")
    elif options.start is not None:
        trainer.start_from(options.start)
    train(trainer)
    export(trainer, options.out / "model")


if __name__ == "__main__":
    main()
