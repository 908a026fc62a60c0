"""The model class that lmms-eval loads: any supported checkpoint with a front end. Importing this needs lmms-eval.

The tests run it against a stub of lmms-eval's base class; `make test-clients` runs a whole task of lmms-eval 0.7.3, in
an environment of its own, for it holds PyAV and filelock back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from lmms_eval.api.instance import GenerationResult, TokenCounts  # type: ignore[import-not-found]
from lmms_eval.api.model import lmms  # type: ignore[import-not-found]

from framegate.errors import ConfigError
from framegate.notebook import no_bar
from framegate.tools.evaluation.lmms_eval import first_stop, hf_messages

DEFAULT_MAX_NEW_TOKENS = 128
_SAMPLING = ("temperature", "top_p", "top_k")


class FramegateModel(lmms):
    """A supported model with a front end, asked one request at a time, in one process.

    Args:
        pretrained: folder or hub id of the checkpoint.
        preset: preset name or YAML file.
        device: where the model goes; None takes the GPU where there is one.
        dtype: of the weights, as "bfloat16"; None keeps the checkpoint's.
        batch_size: must be 1.
        system_prompt: text of a system turn before each request, or a file that holds it; None for none.
        settings: anything else of the front end, by name: keep_ratio=0.25, fps=4.

    Raises:
        ConfigError: a batch size above 1, several processes, or settings that are not valid.
        UnsupportedModelError: the checkpoint's class is in no row of the family table.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        preset: str = "framegate",
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | str = 1,
        system_prompt: str | None = None,
        **settings: Any,
    ) -> None:
        import torch

        import framegate

        super().__init__()
        if str(batch_size) != "1":
            raise ConfigError(f"batch_size is {batch_size!r}; this model asks one request at a time, give 1.")
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise ConfigError(
                "This model runs in one process; start lmms-eval without accelerate or torchrun."
            )
        config = framegate.load_config(preset, **settings)
        options = {} if dtype is None else {"dtype": dtype}
        model, self.processor = framegate.from_pretrained(pretrained, config, **options)
        self.model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        self.system_prompt = self._resolve_system_prompt(system_prompt) if system_prompt else None

    def generate_until(self, requests: list[Any]) -> list[Any]:
        """Answer requests in their order.

        Args:
            requests: lmms-eval's, each with context, doc_to_messages, generation settings, doc_id, task and split.

        Returns:
            One GenerationResult per request, with the tokens of prompt (every video cell counted) and answer.

        Raises:
            ConfigError: a part of a message that framegate does not take: sound, or frames in memory as a video.
        """
        from tqdm.auto import tqdm

        return [
            self._answered(*request.args) for request in tqdm(requests, disable=no_bar(True), unit="request")
        ]

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """Refuse: likelihoods are not offered."""
        raise NotImplementedError("framegate answers generate_until tasks; take a task's generative form.")

    def generate_until_multi_round(self, requests: list[Any]) -> list[Any]:
        """Refuse: several rounds are not offered."""
        raise NotImplementedError("framegate answers generate_until tasks, in one round.")

    def _answered(
        self,
        context: str,
        doc_to_messages: Any,
        settings: Mapping[str, Any],
        doc_id: Any,
        task: str,
        split: str,
    ) -> Any:
        messages = hf_messages(doc_to_messages(self.task_dict[task][split][doc_id]), self.system_prompt)
        inputs = self.processor.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        ).to(self.model.device)
        output = self.model.generate(**inputs, **_generation(settings))
        new_tokens = output[:, inputs["input_ids"].shape[1] :]
        text = self.processor.batch_decode(new_tokens, skip_special_tokens=True)[0]
        text = first_stop(text, settings.get("until"))
        self.cache_hook.add_partial(
            "generate_until", (context, json.dumps(dict(settings), default=str)), text
        )
        counts = TokenCounts(input_tokens=inputs["input_ids"].shape[1], output_tokens=new_tokens.shape[1])
        return GenerationResult(text=text, token_counts=counts)


def _generation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A task's settings as arguments of generate: greedy unless it asks for a temperature above 0."""
    sampled = bool(settings.get("do_sample", True)) and (settings.get("temperature") or 0) > 0
    chosen: dict[str, Any] = {
        "max_new_tokens": int(settings.get("max_new_tokens") or DEFAULT_MAX_NEW_TOKENS),
        "num_beams": int(settings.get("num_beams") or 1),
        "do_sample": sampled,
    }
    return chosen | {name: settings[name] for name in _given(settings) if sampled}


def _given(settings: Mapping[str, Any]) -> Iterable[str]:
    return (name for name in _SAMPLING if settings.get(name) is not None)
