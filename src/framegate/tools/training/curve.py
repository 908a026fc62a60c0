"""The course of a loss or of a reward as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def plot_loss(log_history: Sequence[dict[str, Any]], path: str | Path) -> Path | None:
    """Draw the losses that a trainer logged.

    Args:
        log_history: of `trainer.state`, or of a checkpoint's trainer_state.json.
        path: PNG to write.

    Returns:
        The path; None when matplotlib is not installed, or no loss was logged.
    """
    return _drawn(log_history, ("loss", "eval_loss"), path, "loss per answer token (nats)")


def plot_rewards(log_history: Sequence[dict[str, Any]], path: str | Path) -> Path | None:
    """Draw the rewards that TRL's GRPOTrainer logged: the mean of each step and its spread within groups.

    Args:
        log_history: of `trainer.state`, or of a checkpoint's trainer_state.json.
        path: PNG to write.

    Returns:
        The path; None when matplotlib is not installed, or no reward was logged.
    """
    return _drawn(log_history, ("reward", "reward_std"), path, "reward of a completion")


def _drawn(
    log_history: Sequence[dict[str, Any]], names: tuple[str, ...], path: str | Path, unit: str
) -> Path | None:
    curves = {name: [(row["step"], row[name]) for row in log_history if name in row] for name in names}
    if find_spec("matplotlib") is None or not any(curves.values()):
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel=unit)
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker="o", markersize=3)
    axes.legend()
    figure.savefig(path, dpi=150)
    return Path(path)
