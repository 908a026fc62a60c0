"""Saving a fine-tuned model with its front end in one folder, reading it back, and going on from a checkpoint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from framegate.api import from_pretrained, front_end_of
from framegate.config import CONFIG_NAME
from framegate.errors import AttachmentError, ConfigError
from framegate.models.attachment import FrontEnd
from framegate.models.attachment.learned import put_back

ADAPTER_NAME = "adapter_config.json"


def save_finetuned(model: Any, processor: Any, folder: str | Path) -> None:
    """Write what was learned into one folder: adapter (or the whole model), front end and processor.

    Args:
        model: attached; wrapped by PEFT, or not.
        processor: its processor.
        folder: made when it is not there.

    Raises:
        AttachmentError: the model has no front end.
    """
    front_end = front_end_of(model)
    if front_end is None:
        raise AttachmentError(
            "The model has no front end to save; attach one, or call model.save_pretrained."
        )
    model.save_pretrained(str(folder))
    # PEFT's own save_pretrained knows nothing of it
    front_end.save_pretrained(folder)
    processor.save_pretrained(str(folder))


def load_finetuned(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    model_options: Mapping[str, Any] | None = None,
    trainable: bool = False,
) -> tuple[Any, Any]:
    """Read back what `save_finetuned` or a trainer's checkpoint wrote.

    Args:
        folder: with an adapter and a front end, or with a whole model.
        base: checkpoint that an adapter was trained on; None takes the one that the adapter names.
        model_options: handed to the model's `from_pretrained`, for example {"dtype": "auto"}.
        trainable: switch the gradients of adapter and front end on.

    Returns:
        Model and processor, attached; the model is in evaluation mode unless trainable.

    Raises:
        ConfigError: an adapter that names no base.
    """
    path, options = Path(folder), dict(model_options or {})
    if not (path / ADAPTER_NAME).is_file():
        return from_pretrained(path, **options)
    from peft import PeftModel

    base = base or json.loads((path / ADAPTER_NAME).read_text()).get("base_model_name_or_path")
    if base is None:
        raise ConfigError(f"{path / ADAPTER_NAME} names no base model; say base=...")
    model, processor = from_pretrained(base, front_end=path, **options)
    wrapped = PeftModel.from_pretrained(model, str(path), is_trainable=trainable)
    front_end = front_end_of(wrapped)
    assert front_end is not None
    if front_end.module is not None:
        front_end.module.requires_grad_(trainable)
    return wrapped.train(trainable), processor


def restore_front_end(front_end: FrontEnd, folder: str | Path) -> None:
    """Put what a checkpoint's front end had learned into one that is attached, in place.

    Args:
        front_end: attached; one that can learn nothing is left alone.
        folder: the checkpoint.

    Raises:
        ConfigError: weights that are missing or do not fit.
    """
    put_back(front_end.modules, Path(folder))


class FrontEndCallback(TrainerCallback):
    """Keeps the front end in every checkpoint of a transformers or TRL trainer, and tells the data its epoch.

    A run that goes on from a checkpoint, or ends with its best one, gets back what the front end had learned there.

    Args:
        front_end: attached to the model that is trained.
        dataset: with `set_epoch`; None for none.
        checkpoint: the folder that the run goes on from, where that is not one of its own output_dir: a trainer does
            not tell its callbacks.
    """

    def __init__(
        self, front_end: FrontEnd, dataset: Any = None, *, checkpoint: str | Path | None = None
    ) -> None:
        self.front_end, self.dataset, self.checkpoint = front_end, dataset, checkpoint
        front_end.modules.is_kept_beside = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put back what the checkpoint holds that the run goes on from."""
        if state.global_step:
            self._restore(self.checkpoint or _checkpoint(args, state))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell the dataset."""
        if self.dataset is not None:
            self.dataset.set_epoch(int(state.epoch or 0))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write beside the adapter."""
        folder = _checkpoint(args, state)
        self.front_end.save_pretrained(folder, is_main_process=state.is_world_process_zero)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put back what the best checkpoint holds, where the trainer has loaded that."""
        if args.load_best_model_at_end and state.best_model_checkpoint:
            self._restore(state.best_model_checkpoint)

    def _restore(self, folder: str | Path) -> None:
        if (Path(folder) / CONFIG_NAME).is_file():
            restore_front_end(self.front_end, folder)
        elif self.front_end.module is not None:
            warnings.warn(
                f"{str(folder)!r} holds no front end, so the one attached stays as it is. Where the run goes on from "
                "another folder, say FrontEndCallback(checkpoint=...).",
                stacklevel=2,
            )


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
