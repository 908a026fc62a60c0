"""The rules by name, and what a configuration must know of each; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

# 0.1, the released configuration's, in levels of 255; that its pixels are normalised by ImageNet's deviations, as is
# usual for VideoMAE, is assumed
RLT_THRESHOLD = 0.1 * 255 * (0.229 + 0.224 + 0.225) / 3


@dataclass(frozen=True, kw_only=True)
class CellRule:
    """What is known of a rule before it runs.

    Args:
        compares: cells are compared with the tube before, in colour; else the rule reads no pixels at all.
        threshold: a cell is encoded when its score is above this and there is no budget; None where there is no such
            number, and a budget (or, for a rule that compares, a threshold of one's own) is needed.
    """

    compares: bool
    threshold: float | None = None


CELL_RULES: dict[str, CellRule] = {
    "random": CellRule(compares=False),
    "uniform_frames": CellRule(compares=False),
    "rlt": CellRule(compares=True, threshold=RLT_THRESHOLD),
    "evs": CellRule(compares=True),
    "dtd": CellRule(compares=True, threshold=RLT_THRESHOLD),
}
