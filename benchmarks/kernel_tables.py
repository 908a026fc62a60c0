"""Tables of the kernels' times, from the CSVs of `framegate bench` and of bench_end_to_end.py, device by device."""

import csv
from pathlib import Path

from framegate.cli.bench import QUICK_SUFFIX
from framegate.tools.bench import OPS

RESULTS = Path(__file__).parent / "kernels/results"
END_TO_END = "end_to_end.csv"
PROVIDERS = ("torch", "torch.compile", "triton", "opencv", "flash_attn")
HEADER = ["floor ms", "floor / best"]


TEXT = (
    "Median of a call, every provider on the same inputs, after all of them agreed with the torch reference; per "
    "device and op its largest size, forward. Floor: the bytes that the op must move over the copy rate measured in "
    "the same run, or, where that takes longer, its products over the rate of a matrix product; an op's other "
    "arithmetic is not in it, so that an op of many logarithms stays far from it. `floor / best`: the floor over the "
    "time of the fastest provider, 100 % being as fast as the device can. `opencv`: the gate's own path on a CPU. "
    "Command: `make bench`, that is `framegate bench --compile --tests tests/kernels --out benchmarks/kernels/results`."
)
LONG_TEXT = (
    "As above, forward, and backward (gradients alone, the graph is kept). `frames_ssim`: by SSIM; `thresholds`: so "
    "many at once; `scenes_reversed`: the released code's divergence; `window_rows`: dense windows of so many rows; "
    "`keep_ratio_alone`: kept rows among themselves, nothing gathered. Quantiles 0.2 and 0.8, peak memory, shapes and "
    "versions are in benchmarks/kernels/results."
)
PICTURE = "\n![Times over the floor](img/kernels.png)\n"
END_TO_END_TEXT = (
    "A forward pass of Qwen2.5-VL's stock class on stock pixels, with preset `gate` (motion none) attached and dense, "
    "in turns; the language model is one small layer in both. `stands still`: share of every frame, the rest is new in "
    "each. Target, of a GPU: a half-static clip twice as fast. Command: "
    "`python benchmarks/kernels/bench_end_to_end.py`."
)


def sections(table):
    """Title, text and what makes the rows, for both pages; `table` spells a header and a body."""
    return [
        ("Kernels", TEXT, lambda: _text(largest(read()), table_of, table)),
        ("Tower and gate", END_TO_END_TEXT, lambda: _text(read_end_to_end(), end_to_end_table, table)),
    ]


def long_sections(table):
    """For the results page alone."""
    return [("Kernels: every size", LONG_TEXT, lambda: _text(read(), table_of, table) + PICTURE)]


def _text(rows, make, table):
    if not rows:
        return "No row yet, neither of a GPU nor of a CPU.\n"
    return f"{gpu_words(rows)}.\n\n{table(*make(rows))}"


def read(results=RESULTS):
    """Rows of all devices and ops, in the order of the ops."""
    paths = [path for path in sorted(results.glob("*/*.csv")) if path.name != END_TO_END]
    paths = [path for path in paths if not path.parent.name.endswith(QUICK_SUFFIX)]
    rows = [row for path in paths for row in _rows(path)]
    return sorted(rows, key=lambda row: (row["device"], OPS.index(row["op"])))


def read_end_to_end(results=RESULTS):
    """Rows of tower and gate, of all devices."""
    return [row for path in sorted(results.glob(f"*/{END_TO_END}")) for row in _rows(path)]


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def gpu_words(rows):
    """Which GPUs there are rows of."""
    gpus = dict.fromkeys(row["device"] for row in rows if not row["device"].startswith("cpu"))
    return f"GPU rows: {', '.join(gpus)}" if gpus else "No GPU row yet"


def cases(rows):
    """Rows by device, op, mode, dtype and size: one per provider."""
    found = {}
    for row in rows:
        key = tuple(row[name] for name in ("device", "op", "mode", "x_name", "x", "dtype"))
        found.setdefault(key, {})[row["provider"]] = row
    return found


def largest(rows):
    """Per device and op the forward pass of the first kind of size, at its largest."""
    first = {}
    for row in rows:
        if row["mode"] == "forward":
            first.setdefault((row["device"], row["op"]), row["x_name"])
    chosen = [
        row for row in rows if row["mode"] == "forward" and row["x_name"] == first[row["device"], row["op"]]
    ]
    most = {}
    for row in chosen:
        key = row["device"], row["op"]
        most[key] = max(most.get(key, 0), float(row["x"]))
    return [row for row in chosen if float(row["x"]) == most[row["device"], row["op"]]]


def table_of(rows):
    """Header and body: a line per case, a column per provider."""
    there = {row["provider"] for row in rows}
    providers = [*(name for name in PROVIDERS if name in there), *sorted(there - set(PROVIDERS))]
    header = ["device", "op", "mode", "size", "dtype", *(f"{name} ms" for name in providers), *HEADER]
    body = []
    for (device, op, mode, x_name, x, dtype), case in cases(rows).items():
        times = [_ms(case[name]["p50"]) if name in case else "" for name in providers]
        best = min(case.values(), key=lambda row: float(row["p50"]))
        share = f"{float(best['of_floor']):.2%} ({best['provider']})"
        body.append([device, op, mode, f"{x_name} {x}", dtype, *times, _ms(best["floor_ms"]), share])
    return header, body


def end_to_end_table(rows):
    """Header and body of tower and gate."""
    header = ["device", "context", "stands still", "kept", "dense ms", "gate and tower ms", "speedup"]
    body = [
        [
            row["device"],
            row["context"],
            f"{float(row['static_share']):.0%}",
            f"{row['tokens_kept']} of {row['tokens_dense']}",
            row["dense_ms"],
            row["gated_ms"],
            row["speedup"],
            row["target"],
            {"True": "yes", "False": "no", "": ""}[row["met"]],
        ]
        for row in rows
    ]
    return [*header, "target", "met"], body


def _ms(text):
    return f"{float(text):.3g}" if float(text) < 1000 else f"{float(text):.0f}"
