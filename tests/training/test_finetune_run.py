"""Runs of examples/finetune.py: the loss falls, frozen parts rest, what was learned comes back, runs go on.

One real run (`run`), and one that goes on from its middle, carry most of it; `-m slow` runs every kind.
"""

import contextlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from finetune_data import attached, benchmark_folder, checkpoint, collated, run_config
from noted import accounts_of
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from transformers import TrainerState

import framegate
from framegate.cli.run import load_pair
from framegate.errors import AttachmentError, ConfigError
from framegate.tools.training import (
    CompletionCollator,
    FrontEndCallback,
    VideoQuestions,
    add_lora,
    freeze_parts,
    load_finetuned,
    lora_targets,
    parameter_groups,
    part_of,
    plot_loss,
    restore_front_end,
    save_finetuned,
)

pytestmark = pytest.mark.floor

ROOT = Path(__file__).parents[2]
FAMILIES = ["qwen2_5_vl", "qwen3_vl"]
# on clips this short the codec's keyframes would be one frame
KFFOCUS = {"front_end": "kffocus", "front_end_settings": {"keyframe_source": "content", "num_frames": 8}}


def script():
    spec = importlib.util.spec_from_file_location("finetune_example", ROOT / "examples/finetune.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launch(*words, first=(sys.executable,), folder=ROOT):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [*first, str(ROOT / "examples/finetune.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return benchmark_folder(tmp_path_factory.mktemp("data") / "bench")


@pytest.fixture(scope="module", params=[FAMILIES[0], pytest.param(FAMILIES[1], marks=pytest.mark.slow)])
def folder(request, tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("model"), request.param)


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def moved_parts(before, model):
    return {
        part_of(name) for name, weight in model.named_parameters() if not torch.equal(before[name], weight)
    }


def learn(model, batch, groups, steps):
    optimizer, losses = torch.optim.AdamW(groups), []
    for _ in range(steps):
        loss = model(**batch).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return losses


QUICK = {"tower": 0.01, "merger": 0.01, "llm": 0.01, "front_end": 0.05}


@pytest.mark.parametrize("lora", [True, False])
def test_the_loss_falls_on_a_repeated_batch_and_frozen_parts_rest(folder, data, lora):
    model, processor, front_end = attached(folder, "kffocus", **KFFOCUS["front_end_settings"])
    if lora:
        front_end.detach()
        model = add_lora(model, run_config(folder, data, "out"))
        front_end = framegate.attach(model, processor, "kffocus", **KFFOCUS["front_end_settings"])
    freeze_parts(model, ("tower", "merger"))
    batch, before = collated(processor, data), weights(model)
    losses = learn(model, batch, parameter_groups(model, QUICK), steps=8)
    assert losses[-1] < 0.8 * losses[0]
    assert moved_parts(before, model) == {"llm", "front_end"}
    assert front_end.module.time_gate != 0


def test_each_part_may_be_trained_alone_at_its_own_rate(folder, data):
    model, processor, _ = attached(folder, "kffocus", **KFFOCUS["front_end_settings"])
    batch = collated(processor, data)
    for part in ("tower", "merger", "llm", "front_end"):
        freeze_parts(model, [other for other in ("tower", "merger", "llm", "front_end") if other != part])
        groups = parameter_groups(model, QUICK | {part: 0.125}, weight_decay=0.5)
        assert {group["lr"] for group in groups} == {0.125}
        for group in groups:
            assert {weight.ndim > 1 for weight in group["params"]} == {group["weight_decay"] > 0}
        before = weights(model)
        learn(model, batch, groups, steps=1)
        assert moved_parts(before, model) == {part}
    freeze_parts(model, ("tower", "merger", "llm", "front_end"))
    with pytest.raises(ConfigError, match="Every part is frozen"):
        parameter_groups(model, QUICK)
    with pytest.raises(ConfigError, match="Did you mean 'tower'"):
        freeze_parts(model, ("towr",))


def test_adapters_stand_only_on_parts_that_are_free(folder):
    model, _ = framegate.from_pretrained(folder)
    names = lora_targets(model, ("q_proj", "v_proj"), ("tower", "merger"))
    assert {part_of(name) for name in names} == {"llm"}
    assert len(names) == 2 * model.config.get_text_config().num_hidden_layers
    assert {part_of(name) for name in lora_targets(model, ("qkv", "q_proj"), ("merger",))} == {"tower", "llm"}
    with pytest.raises(ConfigError, match="Did you mean 'q_proj'"):
        lora_targets(model, ("q_pro",), ("tower",))
    with pytest.raises(ConfigError, match="nothing to adapt"):
        lora_targets(model, ("q_proj",), ("tower", "merger", "llm"))


@pytest.mark.parametrize("lora", [True, False])
def test_what_was_learned_is_one_folder_that_gives_equal_logits(folder, data, tmp_path, lora):
    config = run_config(folder, data, tmp_path, lora=lora, lora_targets=["q_proj", "v_proj"], **KFFOCUS)
    model, processor, front_end = script().load(config)
    batch = collated(processor, data)
    learn(model, batch, parameter_groups(model, QUICK), steps=2)
    save_finetuned(model, processor, tmp_path / "final")
    names = {path.name for path in (tmp_path / "final").iterdir()}
    assert {"front_end_config.json", "front_end.safetensors"} <= names
    assert ("adapter_model.safetensors" in names, "model.safetensors" in names) == (lora, not lora)
    with torch.no_grad():
        want = model.eval()(**batch).logits
        again, reader = load_finetuned(tmp_path / "final")
        assert torch.equal(again(**collated(reader, data)).logits, want)
    assert torch.equal(framegate.front_end_of(again).module.rows, front_end.module.rows)
    stock, _ = framegate.from_pretrained(folder)
    assert not torch.equal(stock(**batch).logits, want)
    if lora:
        open_again, _ = load_finetuned(tmp_path / "final", base=folder, trainable=True)
        trained = {name for name, weight in open_again.named_parameters() if weight.requires_grad}
        assert all("lora_" in name or part_of(name) == "front_end" for name in trained)
        assert any("lora_" in name for name in trained)
        assert any(part_of(name) == "front_end" for name in trained)


def test_the_command_line_opens_an_adapter_on_its_base(folder, data, tmp_path, capsys):
    model, processor, _ = script().load(run_config(folder, data, tmp_path, lora=True, **KFFOCUS))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
    save_finetuned(model, processor, tmp_path / "final")
    opened, _ = load_pair(str(tmp_path / "final"))
    assert framegate.front_end_of(opened) is None
    learned = [float(weight.mean()) for name, weight in opened.named_parameters() if "lora_B" in name]
    assert learned
    assert learned == pytest.approx([0.1] * len(learned))
    assert "has learned is not used" in capsys.readouterr().err


def test_saving_without_a_front_end_or_a_base_is_refused(folder, tmp_path):
    model, processor, front_end = attached(folder)
    front_end.detach()
    with pytest.raises(AttachmentError, match="no front end"):
        save_finetuned(model, processor, tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="names no base"):
        load_finetuned(tmp_path)


class Run(NamedTuple):
    """A run of the script: its settings, where it wrote, and what it printed."""

    settings: Path
    folder: Path
    printed: str


# dropout, drawn budgets and a module that learns: what a run that goes on must find again
WHOLE = {"learning_rate": 0.01, "keep_ratios": [0.9, 0.6], "max_steps": 4, "save_steps": 2, **KFFOCUS}
LORA = {"lora": True, "lora_dropout": 0.1}


def run_script(model, data, folder, **settings):
    path, printed = folder.with_suffix(".yaml"), io.StringIO()
    path.write_text(json.dumps({"model": str(model), "data": str(data), "logging_steps": 1, **settings}))
    with contextlib.redirect_stdout(printed):
        script().main([str(path), "--output_dir", str(folder)])
    return Run(path, folder, printed.getvalue())


def logged(run, name):
    """Values of a run that were logged step by step."""
    state = json.loads((run.folder / "checkpoint-4/trainer_state.json").read_text())
    return [row[name] for row in state["log_history"] if name in row]


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """The one real run of the suite."""
    folder = tmp_path_factory.mktemp("run")
    model = checkpoint(folder / "model", FAMILIES[0])
    return run_script(model, data, folder / "whole", eval_split="validation", **WHOLE, **LORA)


def test_a_run_logs_evaluates_and_saves(run):
    assert len(set(logged(run, "loss"))) == 4
    assert len(logged(run, "eval_loss")) == 2
    assert (run.folder / "loss.png").stat().st_size > 0
    assert f"saved in {run.folder / 'final'}" in run.printed
    assert "learned: '" in run.printed
    assert framegate.load_config(run.folder / "final").keep_ratio is None


def check_going_on(run, folder):
    """A run that was cut off at step 2 ends where the whole run ends, to the bit."""
    shutil.copytree(run.folder / "checkpoint-2", folder / "checkpoint-2")
    words = [str(run.settings), "--output_dir", str(folder)]
    with pytest.raises(ConfigError, match="checkpoint-2' is there already"):
        script().main(words)
    script().main([*words, "--resume"])
    learned = [path.name for path in (run.folder / "final").glob("*.safetensors")]
    assert len(learned) == 2
    for name in learned:
        want = load_file(run.folder / "final" / name)
        for place in ("final", "checkpoint-4"):
            found = load_file(folder / place / name)
            assert found.keys() == want.keys()
            assert all(torch.equal(found[key], want[key]) for key in want), (place, name)


def test_a_resumed_run_ends_where_the_whole_run_ends(run, tmp_path):
    """The data order, the drawn budgets, the adapters and the module all go on where they stopped."""
    check_going_on(run, tmp_path / "again")


@pytest.mark.slow
@pytest.mark.parametrize("lora", [True, False])
def test_every_kind_of_run_can_be_resumed(folder, data, tmp_path, lora):
    whole = run_script(folder, data, tmp_path / "whole", **WHOLE, **(LORA if lora else {"lora": False}))
    check_going_on(whole, tmp_path / "again")


def test_workers_hand_over_the_same_batches(folder, data):
    _, processor, _ = attached(folder)
    collator = CompletionCollator(
        processor=processor, dataset=VideoQuestions(data), keep_ratios=(0.5, 0.25, 0.1)
    )
    alone, beside = (
        list(DataLoader(collator.dataset, batch_size=1, collate_fn=collator, num_workers=number))
        for number in (0, 2)
    )
    assert len(alone) == len(beside) == 3
    for want, found in zip(alone, beside, strict=True):
        assert want.keys() == found.keys()
        # the notes tell milliseconds too
        assert [one.shares for one in accounts_of(want)] == [one.shares for one in accounts_of(found)]
        tensors = [key for key in want if torch.is_tensor(want[key]) and key != "framegate_notes"]
        assert all(torch.equal(want[key], found[key]) for key in tensors)


def test_checkpointing_changes_no_gradient(folder, data):
    model, processor, _ = attached(folder, "kffocus", **KFFOCUS["front_end_settings"])
    batch, found = collated(processor, data), []
    for saves_memory in (False, True):
        if saves_memory:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train().zero_grad()
        model(**batch).loss.backward()
        found.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_workers_checkpointing_evaluation_and_trl_change_no_loss(folder, data, tmp_path):
    shared = {"learning_rate": 0.01, "keep_ratios": [0.5, 0.25, 0.1], "max_steps": 4, "save_steps": 2}
    shared |= {"front_end_settings": {"fps": 10}, "split": "train"}
    plain = logged(run_script(folder, data, tmp_path / "plain", **shared), "loss")
    changes = {"workers": 2, "gradient_checkpointing": True, "eval_split": "validation"}
    other = run_script(folder, data, tmp_path / "other", **shared, **changes)
    assert logged(other, "loss") == pytest.approx(plain, rel=1e-4)
    pytest.importorskip("trl")
    by_trl = run_script(folder, data, tmp_path / "trl", **shared, trainer="trl")
    assert logged(by_trl, "loss") == pytest.approx(plain, rel=1e-4)


def test_resuming_nothing_is_refused(folder, data, tmp_path):
    config = run_config(folder, data, tmp_path / "none", resume=True)
    with pytest.raises(ConfigError, match="has no checkpoint"):
        script().checkpoint_of(config)


def test_the_front_end_of_a_checkpoint_is_put_back_in_place(folder, tmp_path):
    _, _, front_end = attached(folder, "kffocus", keep_ratio=0.5)
    front_end.module.time_gate.data.fill_(0.5)
    front_end.save_pretrained(tmp_path)
    gate = front_end.module.time_gate
    gate.data.zero_()
    restore_front_end(front_end, tmp_path)
    assert front_end.module.time_gate is gate
    assert gate == 0.5


@pytest.mark.parametrize("best", [True, False])
def test_a_trainer_that_loads_its_best_checkpoint_gets_that_ones_front_end(folder, tmp_path, best):
    _, _, front_end = attached(folder, "kffocus", keep_ratio=0.5)
    arguments = SimpleNamespace(load_best_model_at_end=best, output_dir=str(tmp_path))
    state = TrainerState(global_step=2, best_model_checkpoint=str(tmp_path / "checkpoint-2"))
    callback = FrontEndCallback(front_end)
    front_end.module.time_gate.data.fill_(0.5)
    callback.on_save(arguments, state, None)
    front_end.module.time_gate.data.fill_(0.25)
    callback.on_train_end(arguments, state, None)
    assert front_end.module.time_gate == (0.5 if best else 0.25)


def test_a_run_that_goes_on_from_elsewhere_names_the_folder(folder, tmp_path):
    _, _, front_end = attached(folder, "kffocus", keep_ratio=0.5)
    arguments = SimpleNamespace(output_dir=str(tmp_path / "new"))
    state = TrainerState(global_step=2)
    front_end.module.time_gate.data.fill_(0.5)
    front_end.save_pretrained(tmp_path / "old")
    front_end.module.time_gate.data.zero_()
    with pytest.warns(UserWarning, match=r"checkpoint-2' holds no front end.*checkpoint=\.\.\."):
        FrontEndCallback(front_end).on_train_begin(arguments, state, None)
    assert front_end.module.time_gate == 0
    FrontEndCallback(front_end, checkpoint=tmp_path / "old").on_train_begin(arguments, state, None)
    assert front_end.module.time_gate == 0.5


SMOKE = ROOT / "examples/finetune/smoke.yaml"


def test_smoke_runs_alone(tmp_path):
    alone = launch(SMOKE, "--output_dir", tmp_path / "alone", "--max_steps", "2", folder=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert "learned: 'Why dense video is cheap<|im_end|>'" in alone.stdout


@pytest.mark.slow
def test_smoke_runs_under_accelerate(tmp_path):
    accelerate = (
        str(Path(sys.executable).with_name("accelerate")),
        "launch",
        "--cpu",
        "--num_processes",
        "2",
    )
    pair = launch(
        SMOKE, "--output_dir", tmp_path / "pair", "--max_steps", "2", first=accelerate, folder=tmp_path
    )
    assert pair.returncode == 0, pair.stderr
    assert pair.stdout.count("saved in") == 1
    assert (tmp_path / "pair/checkpoint-2/adapter_model.safetensors").is_file()


def test_a_mistyped_key_ends_the_script_with_the_nearest():
    mistyped = launch(SMOKE, "--learning-rat", "1")
    assert mistyped.returncode == 1
    told = "ConfigError: Unknown fine-tuning setting 'learning_rat'. Did you mean 'learning_rate'?"
    assert told in mistyped.stderr
    assert "Traceback" not in mistyped.stderr


def test_a_curve_needs_losses(tmp_path):
    assert plot_loss([{"step": 1, "epoch": 1}], tmp_path / "loss.png") is None
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}]
    assert plot_loss(rows, tmp_path / "loss.png").stat().st_size > 0
