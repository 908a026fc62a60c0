"""What of a configuration a family can do: the rest stands aside, with a note."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from framegate.config import FrontEndConfig
from framegate.errors import ConfigError
from framegate.models.family import Family


class Served(NamedTuple):
    """A configuration as a family runs it.

    Args:
        config: what runs.
        notes: what stands aside, and why.
    """

    config: FrontEndConfig
    notes: tuple[str, ...]


def served_config(config: FrontEndConfig, family: Family) -> Served:
    """Let what a family cannot do stand aside.

    Args:
        config: the front end's configuration.
        family: its row.

    Returns:
        The configuration that runs, and a note for what does not.

    Raises:
        ConfigError: down-scaling, on a tower that takes one size alone.
    """
    if config.scales_frames and not family.scales_frames:
        raise ConfigError(
            f"down_scaling needs a tower of native resolution, and that of {family.model_class} takes frames of one "
            "size: use preset 'uniform_frames', 'random' or 'rlt' there."
        )
    if family.mixes_scales or config.gate is None or config.gate.scales == (1,):
        return Served(config, ())
    scales = config.gate.scales
    note = f"gate.scales {scales} stands aside: a token of {family.model_class} stands for one cell, so (1,) is used"
    return Served(replace(config, gate=replace(config.gate, scales=(1,))), (note,))
