"""Fine-tune a video LVLM with its front end on, on a folder of videos and questions.

    python examples/finetune.py CONFIG.yaml [--key value ...]
    accelerate launch examples/finetune.py CONFIG.yaml [--key value ...]
    python examples/finetune.py examples/finetune/smoke.yaml      # a tiny model, four steps, any CPU

Every setting is explained at framegate.FinetuneConfig. The result, in output_dir/final, is read back
with framegate.load_finetuned.
"""

import sys
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

import framegate
from framegate.errors import ConfigError, FramegateError
from framegate.tokenizers.gate.packing import unpack_plans
from framegate.tools.training import (
    CompletionCollator,
    FrontEndCallback,
    VideoQuestions,
    add_lora,
    finetune_config_from_argv,
    freeze_parts,
    parameter_groups,
    plot_loss,
    save_finetuned,
    smoke_config,
    trainable_table,
)


def load(config, checkpoint=None):
    """Model (with adapters), processor and front end; adapters first, since PEFT freezes what it finds."""
    # Trainer (transformers 5.24) resumes a whole Qwen2.5-VL from its starting weights: the file's names are not the
    # module's, and what does not match is left out. from_pretrained knows both.
    source = config.model if config.lora or checkpoint is None else checkpoint
    model, processor = framegate.from_pretrained(source, front_end="dense", **config.model_options)
    framegate.front_end_of(model).detach()
    model = add_lora(model, config) if config.lora else model
    front_end = framegate.attach(model, processor, config.front_end, **config.front_end_settings)
    freeze_parts(model, config.frozen_parts)
    return model, processor, front_end


def arguments(config, *, evaluates):
    """What transformers and TRL both take."""
    saves_memory = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    return (saves_memory if config.gradient_checkpointing else {}) | {
        "output_dir": config.output_dir,
        "seed": config.seed,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": config.warmup_steps,
        "bf16": config.bf16,
        "logging_steps": config.logging_steps,
        "save_steps": config.save_steps,
        "save_total_limit": config.save_total_limit,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": config.save_steps,
        "prediction_loss_only": True,
        "report_to": config.report_to,
        "dataloader_num_workers": config.workers,
        "dataloader_pin_memory": torch.cuda.is_available() and not config.smoke,
        "use_cpu": config.smoke,
        "remove_unused_columns": False,  # the collator takes conversations, the model takes framegate's keys
        "label_names": ["labels"],
        "ddp_find_unused_parameters": False,
    }


def for_trl(questions):
    """The same samples as the datasets.Dataset that TRL insists on, read when they are asked for."""
    from datasets import Dataset

    def read(batch):
        samples = [questions[row] for row in batch["row"]]
        return {name: [sample[name] for sample in samples] for name in samples[0]}

    return Dataset.from_dict({"row": range(len(questions))}).with_transform(read)


def make_trainer(config, model, processor, front_end):
    train = VideoQuestions(config.data, split=config.split, turns=config.turns, on_error=config.on_error)
    evaluation = (
        VideoQuestions(config.data, split=config.eval_split, turns=config.turns, on_error=config.on_error)
        if config.eval_split
        else None
    )
    collator = CompletionCollator(
        processor=processor,
        max_length=config.max_length,
        on_too_long=config.on_too_long,
        on_error=config.on_error,
        dataset=train,
        keep_ratios=config.keep_ratios,
        seed=config.seed,
        learn=config.learn,
    )
    groups = parameter_groups(model, config.learning_rates, weight_decay=config.weight_decay)
    shared = arguments(config, evaluates=evaluation is not None)
    if config.trainer == "trl":
        from trl import SFTConfig, SFTTrainer

        # the collator writes prompts and labels; max_length would cut placeholders off
        collated = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
        own = SFTConfig(**{"gradient_checkpointing": False} | shared | collated)
        cls, wrap = SFTTrainer, for_trl
    else:
        own, cls, wrap = TrainingArguments(**shared), Trainer, lambda questions: questions
    return cls(
        model=model,
        args=own,
        data_collator=collator,
        train_dataset=wrap(train),
        eval_dataset=wrap(evaluation) if evaluation else None,
        processing_class=processor,
        optimizers=(torch.optim.AdamW(groups), None),
        # keeps the front end beside the adapter, and puts it back where the run goes on
        callbacks=[FrontEndCallback(front_end, train)],
    )


def show(trainer, processor):
    """What is trained, and one sample as the model sees it."""
    for part, (trained, whole) in trainable_table(trainer.model).items():
        print(f"{part:>10}: {trained:>13,} of {whole:>13,} parameters are trained")
    sample = trainer.train_dataset[0]
    batch = trainer.data_collator([sample])
    answer = batch["labels"][batch["labels"] != -100]
    cells = batch["framegate_plan"].numpy() if "framegate_plan" in batch else None
    plans, _ = unpack_plans(cells, batch["framegate_notes"].numpy())
    print(
        f"sample {sample['id']!r}: {sum(plan.num_kept for plan in plans):,} of "
        f"{sum(plan.num_cells for plan in plans):,} video tokens, {batch['input_ids'].shape[1]:,} ids, "
        f"learned: {processor.tokenizer.decode(answer)!r}"
    )


def checkpoint_of(config):
    """The checkpoint to go on from; a folder that holds some is never written over unasked."""
    folder = Path(config.output_dir)
    found = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if config.resume and found is None:
        raise ConfigError(f"resume is set, and {config.output_dir!r} has no checkpoint; set resume=false.")
    if found and not config.resume:
        raise ConfigError(f"{found!r} is there already; set resume=true, or another output_dir.")
    return found


def main(argv):
    config = finetune_config_from_argv(argv)
    checkpoint = checkpoint_of(config)
    state = PartialState(cpu=config.smoke)
    with state.local_main_process_first():  # it makes the files of a smoke run
        config = smoke_config(config) if config.smoke else config
    set_seed(config.seed)
    model, processor, front_end = load(config, checkpoint)
    trainer = make_trainer(config, model, processor, front_end)
    if state.is_main_process:
        show(trainer, processor)
    trainer.train(resume_from_checkpoint=checkpoint)
    if state.is_main_process:
        final = Path(config.output_dir) / "final"
        save_finetuned(model, processor, final)
        curve = plot_loss(trainer.state.log_history, Path(config.output_dir) / "loss.png")
        print(
            f"saved in {final}; loss curve: {curve or 'none (no loss was logged, or matplotlib is missing)'}"
        )
        # with workers their logs tell: each has a collator of its own
        for name, reason in trainer.data_collator.skipped.items():
            print(f"left out: {name}: {reason}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except FramegateError as error:
        sys.exit(f"{type(error).__name__}: {error}")
