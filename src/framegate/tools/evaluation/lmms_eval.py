"""What lmms-eval finds under the entry point `lmms_eval.models`: the model "framegate".

    lmms-eval --model framegate --model_args pretrained=Qwen/Qwen3-VL-4B-Instruct,keep_ratio=0.25 --tasks videomme

framegate never imports lmms-eval by itself: its wheel holds PyAV back, so it lives in an environment of its own.
"""

from __future__ import annotations

from typing import Any

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
