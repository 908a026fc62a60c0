"""What lmms-eval finds under the entry point `lmms_eval.models`: the model "framegate".

    lmms-eval --model framegate --model_args pretrained=Qwen/Qwen3-VL-4B-Instruct,keep_ratio=0.25 --tasks videomme

framegate never imports lmms-eval by itself: its wheel holds PyAV back, so it lives in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from framegate.errors import ConfigError

MODEL_ID = "framegate"
CLASS_PATH = "framegate.tools.evaluation.lmms_eval_model.FramegateModel"


def manifest() -> Any:
    """Describe the model to lmms-eval, which calls this while it starts.

    Returns:
        A ModelManifest of lmms-eval 0.7.

    Raises:
        ImportError: lmms-eval is not installed.

    Source: lmms-eval 0.7.3, models/registry_v2.py.
    """
    from lmms_eval.models.registry_v2 import ModelManifest  # type: ignore[import-not-found]

    return ModelManifest(model_id=MODEL_ID, chat_class_path=CLASS_PATH)


def hf_messages(
    messages: Iterable[Mapping[str, Any]], system_prompt: str | None = None
) -> list[dict[str, Any]]:
    """Translate messages.

    Args:
        messages: of lmms-eval: role, and content as a list of typed parts whose media stand under "url".
        system_prompt: comes first, in place of any system turn; None leaves the turns as they are.

    Returns:
        The messages for `apply_chat_template`; videos are paths, with their window where one was given.

    Raises:
        ConfigError: a part of another type, or a video that is no path.

    Source: lmms-eval 0.7.3, protocol.py.
    """
    turns = [
        {"role": turn["role"], "content": [_part(part) for part in turn["content"]]} for turn in messages
    ]
    if system_prompt is None:
        return turns
    system = {"role": "system", "content": [{"type": "text", "text": system_prompt}]}
    return [system, *(turn for turn in turns if turn["role"] != "system")]


def first_stop(text: str, until: str | Iterable[str] | None) -> str:
    """Cut a text where the first of the stop texts begins."""
    stops = [until] if isinstance(until, str) else list(until or ())
    ends = [text.find(stop) for stop in stops if stop and stop in text]
    return text[: min(ends)] if ends else text


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part["type"]
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    if kind == "image":
        return {"type": "image", "image": part["url"]}
    if kind != "video":
        raise ConfigError(f"A message holds {kind!r}; framegate takes text, image and video.")
    if not isinstance(part["url"], str):
        raise ConfigError(f"A video of a message is {type(part['url']).__name__}; framegate takes a path.")
    window = {"video_start": part.get("start_time"), "video_end": part.get("end_time")}
    return {"type": "video", "path": part["url"]} | {
        name: value for name, value in window.items() if value is not None
    }
