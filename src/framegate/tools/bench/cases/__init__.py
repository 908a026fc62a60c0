"""The cases of every op: a module per op, with the sizes of a GPU, of a CPU and of a quick look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module

from framegate.errors import ConfigError, nearest
from framegate.tools.bench.case import Case, Setting

OPS = (
    "block_residual",
    "anchor_scan",
    "compact",
    "segment_merge",
    "pool_condense",
    "scene_divergence",
    "anchored_attention",
)


def check_ops(names: Sequence[str]) -> tuple[str, ...]:
    """Settle which ops to time.

    Args:
        names: of ops; none for all of them.

    Returns:
        The ops, each once, in the order of the table.

    Raises:
        ConfigError: a name that is no op's; the message names the nearest one.

    Source: ours.
    """
    for name in names:
        if name not in OPS:
            raise ConfigError(f"There is no op {name!r}. {nearest(name, OPS)}")
    return tuple(op for op in OPS if not names or op in names)


def cases_of(op: str, setting: Setting) -> Iterator[Case]:
    """Make the cases of an op, one after the other, the same ones each time.

    Args:
        op: name of the op.
        setting: where, and how large.

    Returns:
        Iterator over its cases.

    Raises:
        ConfigError: an unknown op.

    Source: ours.
    """
    check_ops([op])
    cases: Iterator[Case] = import_module(f"{__name__}.{op}").cases(setting)
    return cases
