"""What information.csv says, as rows of a table, a line on where framegate is not first, and the text around them."""

import csv
from pathlib import Path

TABLE = Path(__file__).parent / "results" / "information.csv"
OURS = "framegate"
# column, digits shown, whether more is better
COLUMNS = (("psnr_db", 2, True), ("ssim", 4, True), ("ocr_recall", 3, True), ("feature_drift", 4, False))
TIED_SHARE, TIED_DB = 0.01, 0.1


def read(path=TABLE, tube_frames="2"):
    """Rows of one tube length, of the methods that drop tokens: dense loses nothing by definition."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["tube_frames"] == tube_frames and row["method"] != "dense"]


def groups(rows, budgets):
    """Rows of each budget and clip: {(budget, clip): rows}."""
    found = {(budget, clip): [] for budget in budgets for clip in dict.fromkeys(row["clip"] for row in rows)}
    for row in rows:
        if (float(row["budget"]), row["clip"]) in found:
            found[float(row["budget"]), row["clip"]].append(row)
    return found


def best(rows, column, more_is_better):
    """The best value of a column, None where it is empty."""
    values = [float(row[column]) for row in rows if row[column]]
    return (max if more_is_better else min)(values) if values else None


def is_tied(value, record, column):
    """Within .1 dB of the best PSNR, within 1 % of the best of other columns."""
    allowed = TIED_DB if column == "psnr_db" else TIED_SHARE * abs(record)
    return abs(value - record) <= allowed


def table_rows(rows, budget):
    """Lines of one budget: clip, method, tokens and columns, the best of each clip and column in bold."""
    lines = []
    for group in groups(rows, [budget]).values():
        records = {column: best(group, column, more) for column, _, more in COLUMNS}
        lines += [line_of(row, records) for row in group]
    return lines


def line_of(row, records):
    """One row of a table."""
    cells = [cell_of(row[column], records[column], digits) for column, digits, _ in COLUMNS]
    return [row["clip"], row["method"], f"{row['tokens']} of {row['tokens_dense']}", *cells]


def cell_of(text, record, digits):
    """A value, bold where it is the best of its clip."""
    if not text:
        return ""
    shown = f"{float(text):.{digits}f}"
    return f"**{shown}**" if shown == f"{record:.{digits}f}" else shown


HEADER = ["clip", "method", "tokens", "PSNR dB", "SSIM", "OCR recall", "feature drift"]


def losses(rows, budgets, ours=OURS):
    """Where ours is neither first nor tied: sentences, one per budget and clip."""
    found = []
    for (budget, clip), group in groups(rows, budgets).items():
        mine = [row for row in group if row["method"] == ours]
        lost = [text for row in mine for text in lost_columns(row, group)]
        if lost:
            found.append(f"{clip} at {budget:.0%}: {', '.join(lost)}")
    return found


def lost_columns(mine, group):
    """Columns in which another method is clearly ahead."""
    for column, digits, more in COLUMNS:
        record = best(group, column, more)
        if record is not None and not is_tied(float(mine[column]), record, column):
            winner = next(row["method"] for row in group if row[column] and float(row[column]) == record)
            yield f"{column} {float(mine[column]):.{digits}f} ({winner} {record:.{digits}f})"


def verdict(rows, budgets, ours=OURS):
    """One paragraph: where ours is not first or tied, and how many places that leaves."""
    if not any(row["method"] == ours for row in rows):
        return f"`{ours}` is not measured yet.\n"
    places = sum(
        best(group, column, more) is not None
        for group in groups(rows, budgets).values()
        for column, _, more in COLUMNS
    )
    lost = losses(rows, budgets, ours)
    count = sum(text.count(" (") for text in lost)
    first = f"`{ours}` is first or tied (.1 dB, 1 %) in {places - count} of {places} places"
    return f"{first}.\n" if not lost else f"{first}; not in {'; '.join(lost)}.\n"
