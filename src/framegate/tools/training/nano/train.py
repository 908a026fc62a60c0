"""Trains framegate/nano from generated video alone.

    python -m framegate.tools.training.nano.train --out runs/nano --steps 20000

A curriculum: the tower alone learns to say which letter stands in which patch; then the whole model reads a text in one
small frame, in two frames, in larger frames and longer videos, a step whenever the share of right answers passes a
mark; the lesson of the tower is rehearsed throughout. Batches are functions of seed and step, so a run that was cut
off goes on where its last checkpoint was, and gives what it would have given.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from framegate.errors import ConfigError
from framegate.models.nano.build import nano_model, nano_processor
from framegate.tools.training.curve import plot_loss
from framegate.tools.training.nano.batches import LAYOUT, Batch, Lesson, make_batch
from framegate.tools.training.nano.reading import ReadingHead, reading_batch, reading_loss
from framegate.tools.training.nano.weights import FlatPatchEmbed, Optimizers, load_grown

_TEXT = ("text_at",)
_ALL = ("text_at", "grid", "text_at", "when", "grid", "text_at", "order", "grid", "count")
READING_PAGES, READING_MARK = 32, 0.7
# lesson 0 is the tower's; then these
CURRICULUM = (
    Lesson(columns=3, rows=2, tubes=1, videos=64, questions=1, kinds=_TEXT),
    Lesson(columns=3, rows=2, tubes=2, videos=48, questions=4, kinds=_TEXT),
    Lesson(columns=4, rows=3, tubes=3, videos=24, questions=6, kinds=_TEXT),
    Lesson(columns=6, rows=4, tubes=4, videos=12, questions=8, kinds=_ALL),
    Lesson(columns=6, rows=4, tubes=8, videos=8, questions=10, kinds=_ALL),
    Lesson(columns=6, rows=4, tubes=16, videos=5, questions=12, kinds=_ALL),
)
PASS_MARKS = (0.7, 0.7, 0.7, 0.6, 0.6)  # the last lesson is never over
# beside the last lesson: videos of the same eight seconds at other frame rates, and shorter ones
BESIDE = (
    CURRICULUM[-2],
    Lesson(columns=6, rows=4, tubes=8, videos=8, questions=6, kinds=("grid",)),
    Lesson(columns=6, rows=4, tubes=32, videos=3, questions=12, kinds=_ALL, rates=(8.0,)),
    Lesson(columns=6, rows=4, tubes=8, videos=8, questions=10, kinds=_ALL, rates=(2.0,)),
    Lesson(columns=6, rows=4, tubes=32, videos=3, questions=12, kinds=_ALL, rates=(8.0,)),
    Lesson(columns=6, rows=4, tubes=4, videos=10, questions=8, kinds=_ALL, rates=(1.0,)),
    Lesson(columns=6, rows=4, tubes=8, videos=8, questions=6, kinds=("grid",)),
    Lesson(columns=6, rows=4, tubes=64, videos=1, questions=16, kinds=_ALL, rates=(16.0,)),
)
# share of steps that rehearse the first lesson: on the way, in the last lesson, and there while the rate falls; reading
# is what is learnt slowest and costs least
READING_SHARES = (0.33, 0.6, 0.4)
# the rate stays level for this share of the steps
LEVEL = 0.6
# how much the running exact match remembers
MEMORY = 0.97
COLUMNS = (
    "step",
    "lesson",
    "loss",
    "letters",
    "text_at",
    "when",
    "order",
    "count",
    "grid",
    "rate",
    "seconds",
)


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    step: int = 0
    lesson: int = 0
    since: int = 0
    seconds: float = 0.0


class Trainer:
    """The model, its optimiser and where the run stands.

    Args:
        out: folder of checkpoint and log.
        seed: of weights and data.
        peak_rate: learning rate after the warm-up.
        steps: of training altogether; over the last two fifths of them the rate falls to a twentieth.
        bf16: compute in bfloat16 where that is safe; weights stay in float32.
    """

    def __init__(self, out: Path, *, seed: int, peak_rate: float, steps: int, bf16: bool = False) -> None:
        self.out, self.seed, self.peak_rate, self.steps = out, seed, peak_rate, steps
        self.bf16 = bf16
        self.tokenizer = nano_processor().tokenizer
        self.model = nano_model(seed).train()
        tower = self.model.model.visual
        tower.patch_embed = FlatPatchEmbed(tower.patch_embed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = ReadingHead(self.model.config.text_config.hidden_size, LAYOUT.merge_size)
        self.optimizers = Optimizers(self.model, self.head, peak_rate)
        self.progress = Progress()
        self.running: dict[str, float] = {}

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
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
        self.progress.lesson = len(CURRICULUM)

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
        draw = np.random.default_rng((self.seed, now.step, 13)).random(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = self._read() if draw[0] < self._reading_share() else self._answer(draw[1])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizers.step(self.rate())
        now.step += 1
        now.seconds += time.perf_counter() - began
        self._advance()
        return {"loss": float(loss.detach()), "rate": self.rate()} | self.running

    def _read(self) -> torch.Tensor:
        batch = reading_batch(READING_PAGES, LAYOUT, (self.seed, self.progress.step))
        loss, share = reading_loss(self.model.model.visual, self.head, batch)
        self._mark("letters", share)
        return loss

    def _reading_share(self) -> float:
        if self.progress.lesson == 0:
            return 1.0
        if self.progress.lesson < len(CURRICULUM):
            return READING_SHARES[0]
        return READING_SHARES[1 if self.progress.step < LEVEL * self.steps else 2]

    def _answer(self, draw: float) -> torch.Tensor:
        """The present lesson, and in a third of the cases another: the one before, and at the end those beside it."""
        now = self.progress
        lesson, back = CURRICULUM[now.lesson - 1], now.lesson > 1 and draw < 1 / 3
        if back:
            ends = now.lesson == len(CURRICULUM)
            lesson = BESIDE[int(3 * draw * len(BESIDE))] if ends else CURRICULUM[now.lesson - 2]
        batch = make_batch(lesson, self.tokenizer, (self.seed, now.step))
        output = self.model(**batch.inputs)
        if not back:
            for kind, right in exact_matches(output.logits.detach(), batch).items():
                self._mark(kind, sum(right) / len(right))
        return output.loss  # type: ignore[no-any-return]

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


def exact_matches(logits: torch.Tensor, batch: Batch) -> dict[str, list[bool]]:
    """Tell per kind which answers are right in every token, each token after the right ones before it.

    Args:
        logits: [B, L, V].
        batch: whose logits they are.

    Returns:
        Kind to one truth value per question.
    """
    owner, labels = batch.owner[:, 1:], batch.inputs["labels"][:, 1:]
    wrong = (logits[:, :-1].argmax(-1) != labels) & (owner >= 0)
    missed = set(owner[wrong].tolist())
    found: dict[str, list[bool]] = {}
    for number, kind in enumerate(batch.kinds):
        found.setdefault(kind, []).append(number not in missed)
    return found


def train(trainer: Trainer, *, save_every: int = 200) -> None:
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
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        options.out, seed=options.seed, peak_rate=options.rate, steps=options.steps, bf16=options.bf16
    )
    if (options.out / "checkpoint.pt").exists():
        print(f"going on from {options.out / 'checkpoint.pt'}")
    elif options.start is not None:
        trainer.start_from(options.start)
    train(trainer)
    export(trainer, options.out / "model")


if __name__ == "__main__":
    main()
