"""Policies of video agents, one file each: the file's name is the policy's, and its `Policy` is all it has to offer."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from framegate.errors import ConfigError, nearest
from framegate.settings import make
from framegate.tools.agents.policies._policy import BasePolicy


def policy_names() -> list[str]:
    """List the policies, sorted."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))


def policy_named(name: str, settings: Mapping[str, Any] | None = None) -> BasePolicy:
    """Make a policy by its name.

    Args:
        name: of the policy.
        settings: fields of its `Policy`; what is left out is the paper's.

    Returns:
        The policy.

    Raises:
        ConfigError: an unknown policy or setting, or a value that does not fit.
    """
    if name not in policy_names():
        raise ConfigError(f"Unknown policy {name!r}. {nearest(str(name), policy_names())}")
    made: BasePolicy = make(import_module(f"{__name__}.{name}").Policy, settings or {}, name)
    return made
