"""Tables of the results page, each from a CSV of benchmarks; those of answers and kernels have files of their own."""

import csv
import re
from collections import Counter
from pathlib import Path

from information import summary

ROOT = Path(__file__).resolve().parents[1]


def read(name):
    """Rows of a CSV below benchmarks, as dicts."""
    with (ROOT / "benchmarks" / name).open() as file:
        return list(csv.DictReader(file))


def table(header, rows):
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def percent(text, digits=0):
    """A share as per cent; empty where nothing is said."""
    return f"{float(text):.{digits}%}" if text else ""


def met(row):
    """Whether a row meets its target, in words; empty where it has none."""
    return {"True": "yes", "False": "no", "": ""}[row["met"]]


def columns_table(name, columns):
    """A CSV as a table: name of each column to that of the CSV's, or to what it is made of."""
    body = [[take(row) if callable(take) else row[take] for take in columns.values()] for row in read(name)]
    return table([*columns], body)


def gate_time_table():
    """Milliseconds of the gate, by clip, camera and preset."""
    ms = "ms_per_frame_median"
    return columns_table(
        "gate/results/timing.csv",
        {name: name for name in ("clip", "camera", "preset", "what")}
        | {"ms per 448-px frame": ms, "target": lambda row: "1.0"}
        | {"met": lambda row: "yes" if float(row[ms]) <= 1 else "no"},
    )


def tower_table():
    """Time of the packed towers, as a share of dense."""
    columns = {
        "tower": "family",
        "context": "context",
        "kept": lambda row: percent(row["keep_ratio"]),
        "rows into the first block": lambda row: f"{row['rows_first_block']} of {row['rows_dense']}",
    }
    return columns_table("tower/results/tower.csv", columns | TIME_OF_DENSE)


def grid_tower_table():
    """Time of the grid tower, as a share of dense."""
    columns = {
        "tower": "family",
        "mask": "mask",
        "rounds": "rounds",
        "cells kept": lambda row: percent(row["cells_kept"], 1),
        "patches": lambda row: percent(row["patches_kept"], 1),
    }
    return columns_table("tower/results/grid_tower.csv", columns | TIME_OF_DENSE)


TIME_OF_DENSE = {"time / dense": "time_ratio", "target": "target", "met": met}


def memory_table():
    """Peak memory of each process."""
    columns = {
        "process": "mode",
        "frames": "frames",
        "patches": "patches",
        "peak MiB": "peak_mib",
        "of stock": lambda row: percent(row["share_of_stock"], 1),
    }
    return columns_table("memory/results/memory.csv", columns)


def length_table():
    """Peak memory and time of a plan by the video's length."""
    columns = {
        "video": lambda row: f"{row['minutes']} min of {row['video']}",
        "process": "mode",
        "frames": "frames",
        "peak MiB": "peak_mib",
        "seconds": "seconds",
        "of all cores": "cpu_seconds",
        "time / decoding": "of_decoding",
        "CPU time / decoding": "cpu_of_decoding",
    }
    return columns_table("memory/results/length.csv", columns)


def fuzz_table(corpus):
    """What became of damaged files, by the kind of damage."""
    counts = Counter()
    for row in read(f"fuzz/results/{corpus}.csv"):
        for damage in (row["damage"], "~"):  # the last line, of all kinds
            counts[damage, row["outcome"]] += int(row["mutants"])
    damages, outcomes = (sorted(set(names)) for names in zip(*counts, strict=True))
    rows = [[damage.replace("~", "all"), *(counts[damage, name] for name in outcomes)] for damage in damages]
    return table(["damage", *outcomes], rows)


def planning_table():
    """Seconds of planning an hour of video."""
    columns = {
        "what": "what",
        "minutes of video": "minutes",
        "seconds": "seconds",
        "of all cores": "cpu_seconds",
        "times real time, of all cores": "cpu_speed",
        "target, seconds": "target_seconds",
        "met": met,
    }
    return columns_table("plans/results/planning.csv", columns)


def stages_table():
    """Time of the stages after the tower, as a share of the dense tower's."""
    columns = {
        "stage": "stage",
        "ms": "stage_ms",
        "dense tower ms": "dense_ms",
        "of the tower": lambda row: percent(row["time_ratio"], 2),
        "target": lambda row: percent(row["target"]),
        "met": met,
    }
    return columns_table("stages/results/stages.csv", columns)


def quality_rows(tube_frames="1", channels="rgb", span="all"):
    """One row per clip and budget: PSNR of each method."""
    rows = read("gate/results/quality.csv")
    chosen = [
        r
        for r in rows
        if (r["tube_frames"], r["channels"], r["span"]) == (tube_frames, channels, span) and r["keep_asked"]
    ]
    found = {}
    for row in chosen:
        key = (row["clip"], row["fps"], row["keep_asked"])
        found.setdefault(key, {})[row["method"]] = float(row["psnr_db"])
    return found


def quality_table(**choice):
    """PSNR of each method, a row per clip and budget; chosen as `quality_rows` does."""
    found = quality_rows(**choice)
    methods = sorted({method for values in found.values() for method in values}, key=METHODS.index)
    header = ["clip", "fps", "tokens kept", *methods]
    rows = [
        [clip, fps, f"{float(ratio):.0%}", *(f"{values[m]:.1f}" if m in values else "" for m in methods)]
        for (clip, fps, ratio), values in found.items()
    ]
    return table(header, rows)


METHODS = ["previous", "anchor none", "anchor camera"]


def search_table():
    """One row per clip and budget: PSNR of the optimum and of the threshold that fits."""
    found = {}
    for row in read("gate/results/search.csv"):
        if row["channels"] == "rgb":
            key = (row["clip"], row["fps"], f"{float(row['keep_asked']):.0%}")
            found.setdefault(key, {})[row["method"].split(", ")[1]] = row["psnr_db"]
    body = [[*key, values["optimum"], values["threshold"]] for key, values in found.items()]
    return table(["clip", "fps", "tokens kept", "`optimum`", "`threshold`"], body)


def information_tables(budgets=(0.25, 0.1)):
    """A verdict and a table per budget."""
    rows = summary.read()
    parts = [summary.verdict(rows, budgets)]
    parts += [
        f"At {ratio:.0%}:\n\n{table(summary.HEADER, summary.table_rows(rows, ratio))}" for ratio in budgets
    ]
    return "\n".join([*parts, "![PSNR and text against tokens](img/information.png)\n"])


def information_summary(budgets=(0.25, 0.1)):
    """PSNR of ours, of the gate alone, and of the best rule of others, per clip and budget."""
    rows = summary.read()
    ours = (summary.OURS, "gate")
    body = []
    for (budget, clip), group in summary.groups(rows, budgets).items():
        value = {row["method"]: float(row["psnr_db"]) for row in group}
        if summary.OURS not in value:
            continue
        rival = max((name for name in value if name not in ours), key=value.__getitem__)
        shown = [f"{value[name]:.1f}" for name in ours]
        body.append([clip, f"{budget:.0%}", *shown, f"{value[rival]:.1f}", rival])
    return f"{summary.verdict(rows, budgets)}\n" + table(
        ["clip", "tokens", *ours, "best of the others", "which"], body
    )


def of_first_edition(make):
    """Call the default of 0.1.0 by its edition: a gate with areas, without refill, under the name of today's preset."""

    def text():
        found = re.sub(r"`framegate`", "`framegate` 0.1.0", make())
        return re.sub(
            r"(?m)^(\|.*)$", lambda row: re.sub(r"\bframegate\b(?!/)", "framegate 0.1.0", row[0]), found
        )

    return text


def beside_table():
    """The gate of today beside that of 0.1.0, in turns."""
    found = {}
    for row in read("gate/results/beside.csv"):
        place = (row["what"], row["clip"], row["camera"], row["fps"], row["unit"])
        found.setdefault(place, {})[row["preset"]] = row
    names = ("0.1.0 gate", "gate", "framegate")
    body = [
        [*place, *(f"{float(rows[name]['wall']):.2f}" for name in names)] for place, rows in found.items()
    ]
    return table(["what", "clip", "camera", "fps", "unit", *names], body)
