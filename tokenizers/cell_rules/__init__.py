"""The rivals' rules for which cells are encoded, in place of the motion gate's own."""

from framegate.tokenizers.cell_rules.names import CELL_RULES, CellRule

__all__ = ["CELL_RULES", "CellRule"]
