"""Which videos cost the answers? Texts at a time by pace, camera and background, from the runs of bench_answers.

    python benchmarks/answers/conditions.py             (after bench_answers.py; reads its files, asks nothing)

Writes results/conditions.csv: dense, framegate and gate at 4 frames a second, every budget that was run. `commit` is
that of the run.
"""

import argparse
import statistics
from pathlib import Path

from bench_answers import HERE, write_csv
from series import RATIOS

from framegate.tools.evaluation import read_results

CONDITIONS = ("pace", "camera", "background")
LABELS = ("dense_all_4", *(f"budget_{name}_{ratio}_4" for name in ("framegate", "gate") for ratio in RATIOS))


def rows_of(weights, results):
    """One row per value of each condition: exact match of the texts at a time there."""
    asked = [row for row in results.rows if row["kind"] == "text_at"]
    rows = []
    for condition in CONDITIONS:
        for value in sorted({row["doc"]["meta"][condition] for row in asked}):
            right = [row["correct"] for row in asked if row["doc"]["meta"][condition] == value]
            rows.append(
                {
                    "weights": weights,
                    "name": results.header["preset"],
                    "keep_ratio": results.header["keep_ratio"],
                    "fps": results.header["fps"],
                    "condition": condition,
                    "value": value,
                    "n": len(right),
                    "exact_match": f"{statistics.fmean(right):.4f}",
                    "commit": results.header["commit"],
                    "command": "python benchmarks/answers/conditions.py",
                }
            )
    return rows


def main():
    """Read what is there and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/answers"), help="that of bench_answers.py")
    out = parser.parse_args().out
    rows = []
    for weights in ("training_free", "gate_tuned"):
        found = (out / weights / f"{label}.jsonl" for label in LABELS)
        rows += [row for path in found if path.exists() for row in rows_of(weights, read_results(path))]
    write_csv(HERE / "results" / "conditions.csv", rows)


if __name__ == "__main__":
    main()
