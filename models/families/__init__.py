"""The supported families: each file here holds all facts of one, and is its row of the table."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from packaging.version import Version

from framegate.errors import UnsupportedModelError, nearest
from framegate.models.family import Family
from framegate.models.transformers_private import class_of_type
from framegate.models.unsupported import REFUSED, check_not_refused, refusal, remote_code

__all__ = [
    "Family",
    "derived_from",
    "families",
    "family_of",
    "family_of_config",
    "family_of_type",
    "processor_families",
    "table",
    "unwrap",
]


@cache
def families() -> dict[str, Family]:
    """Import the files of this folder.

    Returns:
        Model type to family, in alphabetical order; files whose names begin with an underscore are shared by several.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_")
    return {name: import_module(f"{__name__}.{name}").FAMILY for name in names}


def unwrap(model: Any) -> Any:
    """Take PEFT, torch.compile and data-parallel wrappers off.

    Args:
        model: a transformers model, wrapped or not.

    Returns:
        The model inside, or the model itself.
    """
    while True:
        if hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif "_orig_mod" in getattr(model, "_modules", {}):
            model = model._orig_mod
        elif "module" in getattr(model, "_modules", {}):
            model = model.module
        else:
            return model


def family_of(model: Any) -> Family:
    """Find the family of a model.

    Args:
        model: a transformers model, unwrapped.

    Returns:
        Its family.

    Raises:
        UnsupportedModelError: its class, and every class it derives from, is in no row, or one is refused with a
            reason. The message lists the rows, and names a part of it that is in one, or a class that has it as its
            part. Or this transformers is too old for its family.
    """
    of_class = {family.model_class: family for family in families().values()}
    for cls in type(model).__mro__:
        check_not_refused(cls, served=of_class)
        if cls.__name__ in of_class:
            return _served(of_class[cls.__name__])
    parts = [name for name, part in getattr(model, "_modules", {}).items() if type(part).__name__ in of_class]
    hint = f" Its part .{parts[0]} is: attach to that." if parts else ""
    beside = vars(sys.modules[type(model).__module__])
    if wholes := [name for name in of_class if name in beside]:
        hint = f" Attach to the {wholes[0]} that it is a part of."
    supported = ", ".join(of_class)
    raise UnsupportedModelError(f"{type(model).__name__} is not supported.{hint} Supported: {supported}.")


def derived_from(model: Any, family: Family) -> str:
    """Say that a model is of a class that derives from its family's, or copies its name.

    Args:
        model: a transformers model, unwrapped.
        family: its family.

    Returns:
        A note for the report; "" for the class itself, also where torch made one of it, as `fully_shard` does.
    """
    own = next(cls for cls in type(model).__mro__ if cls.__module__.split(".")[0] != "torch")
    if own.__name__ == family.model_class and own.__module__.split(".")[0] == "transformers":
        return ""
    return (
        f"{own.__name__} of {own.__module__} is served as {family.model_class}, from which it derives or has its name: "
        "what it does otherwise is not looked at"
    )


def family_of_config(values: Mapping[str, Any]) -> Family:
    """Find the family of a checkpoint by its config.json.

    Args:
        values: of that file.

    Returns:
        Its family.

    Raises:
        UnsupportedModelError: as family_of_type; or its code comes with the checkpoint.
    """
    model_type = values.get("model_type", "")
    if model_type not in families() and values.get("auto_map"):
        raise remote_code(f"model_type {model_type!r}")
    return family_of_type(model_type)


def family_of_type(model_type: str) -> Family:
    """Find the family of a configuration's model type.

    Args:
        model_type: `config.model_type`.

    Returns:
        Its family.

    Raises:
        UnsupportedModelError: no row has that model type; the message gives the reason, or lists the rows. Or this
            transformers is too old for the family.
    """
    if model_type not in families():
        name = class_of_type(model_type)
        if name in REFUSED:
            raise UnsupportedModelError(refusal(name))
        raise UnsupportedModelError(
            f"model_type {model_type!r} is not supported. {nearest(str(model_type), families())}"
        )
    return _served(families()[model_type])


def processor_families(model_type: str) -> tuple[Family, ...]:
    """Find the families whose processors the checkpoints of one come with.

    Args:
        model_type: of a supported family.

    Returns:
        The family itself, then others.

    Raises:
        UnsupportedModelError: as family_of_type.
    """
    own = family_of_type(model_type)
    return own, *map(family_of_type, own.processors_of)


def _served(family: Family) -> Family:
    """The family itself; UnsupportedModelError where this transformers is too old for it."""
    import transformers

    if Version(transformers.__version__) < Version(family.lowest_transformers):
        raise UnsupportedModelError(
            f"{family.model_class} is served from transformers {family.lowest_transformers} on, and this is "
            f"{transformers.__version__}: update."
        )
    return family


def table() -> list[dict[str, Any]]:
    """Say what is supported.

    Returns:
        A row for each family, in their order.
    """
    return [family.row() for family in families().values()]
