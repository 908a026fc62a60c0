"""Microbenchmarks of the kernels: every provider of an op on the same inputs, compared first and timed after.

Rows say how long each took, beside the floor: what the device needs to move the op's bytes, or to do its arithmetic.
"""

from framegate.tools.bench.case import Case, Setting, Work, setting_of
from framegate.tools.bench.rows import COLUMNS, KEY, Place, failed_trials, place_of, read_rows, write_rows
from framegate.tools.bench.run import OPS, Account, bench_cases, bench_op, cases_of, check_ops

__all__ = [
    "COLUMNS",
    "KEY",
    "OPS",
    "Account",
    "Case",
    "Place",
    "Setting",
    "Work",
    "bench_cases",
    "bench_op",
    "cases_of",
    "check_ops",
    "failed_trials",
    "place_of",
    "read_rows",
    "setting_of",
    "write_rows",
]
