"""Settings of a fine-tuning run: read from YAML and pairs, refused with what would work."""

from pathlib import Path

import pytest

from framegate.errors import ConfigError
from framegate.tools.training import FinetuneConfig, finetune_config, finetune_config_from_argv

ROOT = Path(__file__).parents[2]
NAMED = {"model": "m", "data": "d"}


def test_pairs_are_laid_over_the_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model: a\ndata: b\nlearning_rate: 1e-4\nkeep_ratios: [0.5, 0.1]\nmax_steps: 9\n")
    words = ["--model", "c", "--max-steps=3", "--lora_rank", "4", "--bf16", "--seed", "7", "--lora=false"]
    config = finetune_config_from_argv([str(path), *words, "--front_end_settings", "{fps: 4}"])
    assert (config.model, config.data, config.max_steps, config.lora_rank) == ("c", "b", 3, 4)
    assert (config.bf16, config.lora, config.seed) == (True, False, 7)
    # YAML reads 1e-4 as text
    assert config.learning_rate == 1e-4
    assert config.keep_ratios == (0.5, 0.1)
    assert config.front_end_settings == {"fps": 4}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 1}, "'learning_rat'.*Did you mean 'learning_rate'"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5; it must be a whole number"),
        ({"batch_size": True}, "batch_size is True"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; it must be a number"),
        ({"learning_rate": float("nan")}, "must be above 0"),
        ({"keep_ratios": [0.5, 1.5]}, r"keep_ratios\[1\] is 1.5; it must be in \(0, 1\]"),
        ({"keep_ratios": 0.5}, "keep_ratios is 0.5; it must be a list"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ({"trainer": "trll"}, "Did you mean 'trl'"),
        ({"learn": "every"}, "learn is 'every'. .*all, last"),
        ({"turns": 4}, "set learn: all"),
        ({"on_too_long": "cut"}, "Known: raise, skip"),
        ({"on_too_long": "error"}, "what replaces it: on_too_long='raise'"),
        ({"on_error": "log"}, "Known: raise, skip"),
        ({"data": None}, "data is not set.*smoke=true"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        finetune_config(NAMED | values)


def test_files_and_words_that_cannot_be_read_are_refused(tmp_path):
    listed = tmp_path / "list.yaml"
    listed.write_text("[1, 2]")
    broken = tmp_path / "broken.yaml"
    broken.write_text("model: [")
    for argv, message in (
        ([], "first argument"),
        (["--model", "x"], "first argument"),
        ([str(tmp_path / "none.yaml")], "is no file"),
        ([str(listed)], "holds list"),
        ([str(broken)], "not valid YAML"),
        ([str(ROOT / "examples/finetune/smoke.yaml"), "model"], "'model' belongs to no setting"),
    ):
        with pytest.raises(ConfigError, match=message):
            finetune_config_from_argv(argv)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples/finetune").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_shipped_file_is_valid(path):
    config = finetune_config_from_argv([str(path), "--model", "m", "--data", "d"])
    assert isinstance(config, FinetuneConfig)


def test_parts_have_rates_and_may_be_frozen():
    config = finetune_config(NAMED | {"learning_rate": 2.0, "tower_learning_rate": 1.0, "freeze_llm": True})
    assert config.frozen_parts == ("tower", "merger", "llm")
    assert config.learning_rates == {"tower": 1.0, "merger": 2.0, "llm": 2.0, "front_end": 1e-3}
