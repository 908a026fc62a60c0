"""Down-scaling: every frame at the largest grid of cells that a budget can pay for in every tube."""

from __future__ import annotations

from framegate.errors import BudgetError


def smaller_grid(rows: int, columns: int, cells: float) -> tuple[int, int]:
    """Find the grid whose coarser side is finest, then the one of most cells.

    Args:
        rows: cells from top to bottom at full size.
        columns: cells from left to right at full size.
        cells: most cells of the smaller grid, at least 1; may be a fraction.

    Returns:
        Rows and columns, neither more than at full size; the picture's shape is kept as far as whole cells can.

    Raises:
        BudgetError: less than one cell.

    Source: VTC-Bench (ACL 2026), that plain down-scaling is a strong baseline; the rule is ours.
    """
    if cells < 1:
        raise BudgetError(
            f"The budget is {cells:.2f} tokens per tube, and no grid has fewer than one cell: scaled frames need a "
            "token per tube at least. Raise the budget or sample fewer frames."
        )
    grids = [(row, min(int(cells // row), columns)) for row in range(1, min(rows, int(cells)) + 1)]
    return max(grids, key=lambda grid: (min(grid[0] / rows, grid[1] / columns), grid[0] * grid[1]))


def scaled_px(size_px: tuple[int, int], *, cell_px: int, num_tubes: int, tokens: int) -> tuple[int, int]:
    """Find the size at which all tubes together cost at most so many tokens.

    Args:
        size_px: height and width at full size, multiples of cell_px.
        cell_px: side of a cell.
        num_tubes: tubes of the video.
        tokens: the video's budget.

    Returns:
        Height and width, multiples of cell_px.

    Raises:
        BudgetError: less than one token per tube.
    """
    height, width = size_px
    rows, columns = smaller_grid(height // cell_px, width // cell_px, tokens / num_tubes)
    return rows * cell_px, columns * cell_px
