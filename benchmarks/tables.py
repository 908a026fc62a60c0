"""Writes docs/results.md, docs/claims.md and the headline of README.md from the committed CSVs.

    python benchmarks/tables.py

Nothing in those tables is typed by hand; tests/test_results.py checks that the pages are what this writes.
"""

import re
from pathlib import Path

import claims
import kernel_tables as kernels
from answers import tables as answers
from csv_tables import (
    beside_table,
    fuzz_table,
    gate_time_table,
    grid_tower_table,
    information_summary,
    information_tables,
    length_table,
    memory_table,
    of_first_edition,
    planning_table,
    quality_table,
    search_table,
    stages_table,
    table,
    tower_table,
)

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- numbers: benchmarks/tables.py -->", "<!-- end of numbers -->"


SECTIONS = [
    (
        "Answers by the two shares",
        "`framegate/nano` as shipped on rendered video in fonts and before backgrounds that it was not trained on, "
        "every third with a real clip behind it: grids of 4 x 6, 6 x 10 and 8 x 14 cells a tube, 8 to 30 seconds at 4 "
        "frames a second. Questions for a text at a time and for a marker's place at a time, the kinds that the dense "
        "model answers at least twice as well as chance; the others are on the results page. Shares of tower and "
        "prompt as spent; 95 % intervals over videos; `of dense` is "
        "paired. `first token`: from the file on, beside dense, of a model of Qwen3-VL-2B's shape with random weights "
        "on 2 CPU cores, `python benchmarks/answers/bench_first_token.py --wide`. "
        "Command: `python benchmarks/answers/bench_answers.py --clips clips`.",
        lambda: answers.headline(table),
    ),
    (
        "Answers: what was wanted",
        "Test split, as shipped and after a short fine-tune with the front end on. Met is the lower end of the "
        "interval; where only the point is there, it is said.",
        lambda: answers.targets(table),
    ),
    (
        "First token",
        "The default against dense, in turns in one process, medians: times as soon, planning and selection counted; "
        "the first four seconds of the shipped clips at 4 frames a second. The wide model has Qwen3-VL-2B's shape and "
        "random weights. Command: `python benchmarks/answers/bench_first_token.py`, and with `--wide`.",
        lambda: answers.first_token(table),
    ),
    (
        "What the tokens can show, at equal tokens",
        "PSNR (dB) of the pooled squared error of what the surviving tokens alone can show; first 25 s, 448 px wide, "
        "two-frame tubes. `framegate` 0.1.0: the first edition's default, with areas; `gate`: without; best of random "
        "cells, uniform frames, down-scaling, the rules of RLT, EVS and DTD, `grt` and `grt_released`. SSIM, OCR "
        "recall and feature drift of every method at 25 and 10 % are on the results page, 50 and 5 % in the CSV. "
        "Command: `python benchmarks/information/bench_information.py clips`.",
        of_first_edition(information_summary),
    ),
    (
        "What the kept cells can show",
        "PSNR (dB) of the pooled squared error of `plan.reconstruct()` against `plan.source_frames()`; RGB, whole "
        "clips, one-frame tubes, as `framegate.plan_video` judges them. `previous`: skip what equals the previous "
        "frame (no anchor). `anchor none`: without camera motion. `anchor camera`: preset `gate`. Targets: vtest 10 % "
        ">= 38, vtest_pan 35 % >= 37 and 4 dB above `anchor none`. Command: "
        "`python benchmarks/gate/bench_gate.py clips`.",
        lambda: quality_table(),
    ),
    (
        "Time of the gate",
        "Median per 448-px frame, decoding left out. `step`: one causal step; `threshold`: a plan without a budget; "
        "`budget`: a plan that meets one exactly. `framegate` 0.1.0 also searches areas. "
        "Command: `python benchmarks/gate/bench_gate.py clips --only timing`.",
        of_first_edition(gate_time_table),
    ),
    (
        "The gate beside that of 0.1.0",
        "A plan that encodes a quarter of the cells, in turns in one run, each in its process: ms a frame in memory, "
        "448 px wide, tubes of one frame; and from a file, decoding included, over decoding alone. Target: the default "
        "at most as long as preset `gate` of 0.1.0 on a still camera, 0.7 of it on a moving one, and at most 1.5 times "
        "decoding. CPU time stands in the CSV. Command: `python benchmarks/gate/bench_beside.py clips --old SRC`.",
        beside_table,
    ),
    (
        "Time of the vision tower",
        "Hidden 640, depth 8, fp32, 16 tubes of 8 x 14 cells, dense and kept in turns. Target: 1.1 r + 0.02, for "
        "context `kept`. Command: `python benchmarks/tower/bench_tower.py`.",
        tower_table,
    ),
    (
        "Time of a grid tower",
        "SigLIP-base's size (12 layers, 768 wide), fp32, 4 frames, dense and kept in turns. LLaVA-OneVision's tower at "
        "384 px with projector and pooling, where a kept cell needs every patch that its pooling reads; timm's at 224 "
        "px, a cell a patch. Medians of so many rounds, beside other work of the machine. Target: 1.1 r + 0.02. "
        "Command: `python benchmarks/tower/bench_grid_tower.py`.",
        grid_tower_table,
    ),
    (
        "Time of the stages after the tower",
        "48 tubes of 8 x 14 cells, 1024 wide, fp32, beside a dense tower of hidden 640 and depth 8 on the same video, "
        "in turns. Target: merge and condensation together at most 3 % of the dense tower. Command: "
        "`python benchmarks/stages/bench_stages.py`.",
        stages_table,
    ),
    (
        "Time of planning frames",
        "H.264 of 640 x 360 px at 25 frames a second: `open` reads the packets of the whole file, samplers that decode "
        "nothing start from there; novelty is scored at two frames a second, decoding included. Medians, in turns, "
        "beside other work of the machine; met is by CPU time. Command: "
        "`python benchmarks/plans/bench_plans.py --clips clips`.",
        planning_table,
    ),
    (
        "Memory",
        "Five minutes of 1080p at 2 fps, each in a process of its own. Target: `attached` and `plan` at most 1/8 of "
        "stock. `plan` loads no torch, and counts patches of one-frame tubes at 448 px; `attached` "
        "keeps a quarter of stock's, by preset `gate`. "
        "Command: `python benchmarks/memory/bench_memory.py`.",
        memory_table,
    ),
    (
        "Memory by length",
        "A plan of the default preset that meets an exact budget: two frames a second of a 25 fps file, at the video's "
        "own width, each in a process of its own. Targets: at most 400 MiB and 1.5 times decoding for an hour of 576p; "
        "720p the same to 10 % for ten minutes and an hour. Where seconds are more than "
        "those of all cores, the machine had other work. Command: `python benchmarks/memory/bench_length.py`.",
        length_table,
    ),
    (
        "Damaged videos",
        "Small clips of 26 containers and codecs, damaged by number. `noted`: frames and a note of the damage; "
        "`refused`: an error of framegate; `read`: neither, and the frames are those that FFmpeg gives. Anything else "
        "is a finding, as is a crash, a hang of ten seconds or another exception. Command: `make fuzz`.",
        lambda: fuzz_table("fuzz"),
    ),
    (
        "Damaged pictures",
        "The same for frames that are pictures, PNG, JPEG, WebP, GIF and TIFF; `read`: the pixels are those that "
        "Pillow gives, turned as their EXIF asks for. Command: `make fuzz`.",
        lambda: fuzz_table("pictures"),
    ),
    *kernels.sections(table),
]

LONG_SECTIONS = [
    (
        "Answers: the default at every pair of shares",
        "Paired shares of dense over the headline's kinds, test split.",
        lambda: answers.shares(table),
    ),
    (
        "Answers: every method",
        "Paired shares of dense over the headline's kinds, test split, all sizes. `uniform_frames` and `down_scaling` "
        "spend at most the budget, the others spend it exactly.",
        lambda: answers.methods(table),
    ),
    (
        "Answers: kind by kind",
        "Right answers, test split, all sizes; tower and prompt in per cent. The headline holds the kinds that the "
        "dense model answers at least twice as well as chance.",
        lambda: answers.kinds(table),
    ),
    (
        "Answers: what the default could be",
        "Validation split, paired shares of dense over the headline's kinds; one thing changed at a time. `default` is "
        "what it was then, with context anchored. Command: "
        "`python benchmarks/answers/bench_answers.py --clips clips --series choices query --split validation`.",
        lambda: answers.choices(table),
    ),
    (
        "Answers: frames per second",
        "Still cameras, no budget but the gate's threshold. Command: `python benchmarks/answers/bench_answers.py "
        "--clips clips --series fps`.",
        lambda: answers.rates(table) + "\n![Right answers against shares and rate](img/answers.png)\n",
    ),
    (
        "Plans of frames at equal prompt tokens",
        "`framegate/nano` as shipped on rendered video of two and five minutes whose texts stand for 1.5 to 3 seconds, "
        "grids of 4 x 6 cells. Every plan alone (16 frames' worth of tokens) and in front of the gate (64 frames' "
        "worth, tower and prompt 25 %). The question comes to a plan as `text` (RapidOCR and MiniLM score frames by "
        "what is written in them), `yes` (nano's yes to each frame alone) or `moment` (the time that the question "
        "names, else that of the frame that `text` finds best). `at a time`: questions for a text or a marker's place "
        "at a named time; `appears`: whether a text appears, half of them do not. Over uniform: paired, the same "
        "tokens, 95 % intervals over videos, whose number stands in the rows: of 1 or 2, only large differences "
        "mean anything. `fps` under a cap of frames is `uniform`. Command: `python "
        "benchmarks/answers/bench_answers.py --series plans --videos 1 --seeds 0 1 2 3 4 5 6 7 --csv "
        "benchmarks/plans/results/answers.csv`.",
        lambda: answers.plans(table),
    ),
    (
        "What the kept cells can show, two-frame tubes",
        "As Qwen-VL towers see them: a token stands for two frames, so the same share of tokens shows less.",
        lambda: quality_table(tube_frames="2"),
    ),
    (
        "Budgets by threshold",
        "PSNR (dB, RGB, two-frame tubes, whole clips) of what a budget shows without camera motion: by the plan with "
        "the least error (`search: optimum`, the default, on the CPU), and by the lowest threshold that fits, filled "
        "up by residual (`search: threshold`, which runs where the pixels are). Command: "
        "`python benchmarks/gate/bench_gate.py clips --only search`.",
        search_table,
    ),
    (
        "Information at equal tokens",
        "What the surviving tokens alone can show, against the source frames: the first 25 s of each clip, 448 px "
        "wide, 28-px cells, two-frame tubes; a skipped cell shows what was last shown there. PSNR of the squared "
        "error pooled over RGB; SSIM of luma; OCR recall: share of the text lines read in 12 source frames (RapidOCR) "
        "that are read again in the shown ones, empty without text; feature drift: one minus the cosine of ImageNet "
        "features (EfficientNet-lite0, 24 frames), lower is better. Bold: the best of the clip. `random`: any cells; "
        "`uniform_frames`: whole tubes, evenly spread; `down_scaling`: all frames, smaller (both use at most the "
        "budget); `rlt`, `evs`, `dtd`: the rules of these papers on pixels, the cells that differ most from the tube "
        "before, written from their description and not run from their code; `grt`, `grt_released`: our presets, their "
        "merging done on pixels, where no language-model head can compare scenes. carphone is 176 px wide and blown "
        "up to 448: half of that is still more than it has, so at 25 % down-scaling loses next to nothing and keeps "
        "every moment, where `framegate` holds some cells; that is, at 25 and 10 %, the "
        "one column in which another method is "
        "clearly ahead. On vtest at 25 % `gate` and `framegate` differ by 0.0001. The "
        "planner's constants were tuned on these "
        "clips. Command: `python benchmarks/information/bench_information.py clips`.",
        of_first_edition(information_tables),
    ),
    *kernels.long_sections(table),
]


# what a table supports, in a sentence without figures
READINGS = {
    "Answers by the two shares": "A quarter of tower and prompt keeps what dropping tokens behind the whole tower "
    "keeps; skipping without refill keeps less.",
    "Answers: what was wanted": "The aim at a quarter of both was missed by little; at the same prompt the default is "
    "not below VidCom2's rule, which needs the whole tower.",
    "First token": "The fewer cells and tokens, the sooner the first token; of a small model decoding and planning "
    "take a part of that back.",
    "What the tokens can show, at equal tokens": "The first edition's default showed the most at equal tokens; answers "
    "decided otherwise.",
    "What the kept cells can show": "Comparing with what was last shown, not with the frame before, shows more at "
    "every budget; following the camera does where it moves.",
    "Time of the gate": "Without a budget and with a still camera a frame takes less than a millisecond; budgets and "
    "camera motion take more.",
    "The gate beside that of 0.1.0": "The default's gate takes no longer than that of 0.1.0, and much less where the "
    "camera moves.",
    "Time of the vision tower": "A packed tower's time falls with the cells that it encodes.",
    "Time of a grid tower": "So does that of a tower of whole frames.",
    "Time of the stages after the tower": "What runs behind the tower costs next to nothing beside it.",
    "Memory": "An attached processor holds what is kept, not what is decoded.",
    "Memory by length": "A plan of an hour takes the memory of a plan of ten minutes.",
    "Damaged videos": "Every damaged file ended in frames, a note or an error of framegate.",
    "Damaged pictures": "So did every damaged picture.",
    "Answers: the default at every pair of shares": "Half of the tower or half of the prompt loses nothing that 48 "
    "videos can tell; the smallest frames lose most where the prompt shrinks.",
    "Answers: every method": "By their points, rules of others answer more with refill than without.",
    "Answers: kind by kind": "At a quarter of both texts at a time are found as dense finds them; of the kinds, the "
    "marker's place loses most.",
    "Answers: what the default could be": "By their points, nothing that was tried is clearly above the default; "
    "without refill, and by merging or condensation behind it, fewer answers are right.",
    "Answers: frames per second": "From 1 to 4 frames a second answers rise, at 8 they hold, while tokens grow with "
    "the rate's third root; at 16 the dense model falls as well.",
    "Plans of frames at equal prompt tokens": "Told the moment, a plan finds what uniform frames miss, alone and "
    "before the gate; none does by more than its interval without a query, by text or by nano's yes.",
    "Budgets by threshold": "At every budget the plan with the least error shows more than the threshold that fits.",
}


def section(title, text, make):
    """A section of the results page: what its table supports, how it was measured, the table."""
    reading = f"**{READINGS[title]}**\n\n" if title in READINGS else ""
    return f"## {title}\n\n{reading}{text}\n\n{make()}"


def results_page():
    """The text of docs/results.md."""
    gpus = kernels.gpu_words([*kernels.read(), *kernels.read_end_to_end()])
    parts = [
        "# Results\n\nWritten by `python benchmarks/tables.py` from the committed CSVs; 2 CPU cores where a row names "
        f"no other device. {gpus}.\n"
    ]
    parts += [section(*one) for one in SECTIONS]
    parts.append("![PSNR against tokens kept](img/gate_quality.png)\n")
    parts += [section(*one) for one in LONG_SECTIONS]
    return "\n".join(parts)


def readme_numbers():
    """The first section; the others are on the results page alone."""
    title, text, make = SECTIONS[0]
    return f"**{title}.** {text}\n\n{make()}"


def readme_page():
    """The text of README.md, its numbers renewed."""
    text = (ROOT / "README.md").read_text()
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    return re.sub(pattern, lambda _: f"{BEGIN}\n\n{readme_numbers()}\n{END}", text, flags=re.DOTALL)


def main():
    """Write the pages."""
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs/results.md").write_text(results_page())
    (ROOT / "docs/claims.md").write_text(claims.claims_page(table))
    (ROOT / "README.md").write_text(readme_page())


if __name__ == "__main__":
    main()
