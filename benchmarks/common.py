"""What benchmarks share: interleaved timing, versions, and CSV files that a run replaces whole."""

import csv
import platform
import statistics
import time
from importlib import metadata
from pathlib import Path

from framegate.provenance import commit


def interleaved_ms(functions, *, rounds, warmup=2):
    """Time functions in turns, so that noise of the machine meets all of them alike.

    Returns {name: [milliseconds per round]}.
    """
    times = {name: [] for name in functions}
    for turn in range(warmup + rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if turn >= warmup:
                times[name].append((time.perf_counter() - started) * 1000)
    return times


def waiting(call, device):
    """The call, until the device has done it."""

    def done():
        call()
        if device.type == "cuda":
            # here, as benchmarks of memory count what is loaded
            import torch

            torch.cuda.synchronize()

    return done


def ratio_of_medians(times, name, base):
    """Median of one over median of the other."""
    return statistics.median(times[name]) / statistics.median(times[base])


def environment(device=None):
    """Columns that say where a row was measured; `device` is a GPU's name, None for the CPU."""
    return {
        "device": device or f"cpu {platform.machine()}",
        "torch": metadata.version("torch"),
        "transformers": metadata.version("transformers"),
        "commit": commit() or "unknown",
    }


def write_csv(path, rows):
    """Write rows (dicts with the same keys) and say where."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path} ({len(rows)} rows)")
