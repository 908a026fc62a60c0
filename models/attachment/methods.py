"""The two methods of a model instance that a front end stands in for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from framegate.models.attachment.generation import named_call


@dataclass(frozen=True)
class Method:
    """Stands in for a method of one model; a plain object, so that copies and pickles of the model keep it.

    Args:
        front_end: the front end attached to the model.
    """

    front_end: Any


class Generate(Method):
    """`generate` on the shorter prompt, in the caller's ids."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Generate."""
        with torch.no_grad():
            return self.front_end._generate(named_call(self.front_end.model, args, kwargs))


class SavePretrained(Method):
    """`save_pretrained` of the stock files, and of the front end beside them."""

    def __call__(self, save_directory: str | Path, *args: Any, **options: Any) -> Any:
        """Save."""
        out = self.front_end._stock("save_pretrained")(save_directory, *args, **options)
        if options.get("is_main_process", args[0] if args else True):
            self.front_end.save_pretrained(save_directory)
        return out


METHODS: dict[str, type[Method]] = {"generate": Generate, "save_pretrained": SavePretrained}
