"""Parts of a fine-tuning run: settings, data, collator, freezing, saving; examples/finetune.py puts them together."""

from framegate.tools.training.checkpoint import (
    FrontEndCallback,
    load_finetuned,
    restore_front_end,
    save_finetuned,
)
from framegate.tools.training.collate import CompletionCollator, draw_keep_ratio
from framegate.tools.training.config import (
    FinetuneConfig,
    finetune_config,
    finetune_config_from_argv,
    settings_from_argv,
)
from framegate.tools.training.curve import plot_loss, plot_rewards
from framegate.tools.training.data import VideoQuestions, smoke_config
from framegate.tools.training.labels import completion_labels
from framegate.tools.training.parts import (
    add_lora,
    freeze_parts,
    lora_targets,
    parameter_groups,
    part_of,
    trainable_table,
)

__all__ = [
    "CompletionCollator",
    "FinetuneConfig",
    "FrontEndCallback",
    "VideoQuestions",
    "add_lora",
    "completion_labels",
    "draw_keep_ratio",
    "finetune_config",
    "finetune_config_from_argv",
    "freeze_parts",
    "load_finetuned",
    "lora_targets",
    "parameter_groups",
    "part_of",
    "plot_loss",
    "plot_rewards",
    "restore_front_end",
    "save_finetuned",
    "settings_from_argv",
    "smoke_config",
    "trainable_table",
]
