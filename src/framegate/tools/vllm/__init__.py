"""What vLLM finds under the entry point `vllm.general_plugins`: a video loader, and models with the gate in front.

    vllm serve Qwen/Qwen3-VL-4B-Instruct --media-io-kwargs '{"video": {"video_backend": "framegate", "fps": 4}}' \\
        --video-pruning-rate 0.75 --hf-overrides '{
            "architectures": ["FramegateQwen3VLForConditionalGeneration"], "framegate": {"keep_ratio": 0.25}}'

Untested on a GPU; `benchmarks/scale/check_vllm.py` checks it there. framegate never imports vLLM by itself.
"""

from __future__ import annotations

import os

from framegate.tools.vllm.frames import CAPS_VARIABLE, served_caps

LOADER = "framegate"
# name among vLLM's architectures -> where the class is, which vLLM imports when the name is asked for
MODELS = {
    "FramegateQwen3VLForConditionalGeneration": (
        "framegate.tools.vllm.qwen3_vl:FramegateQwen3VLForConditionalGeneration"
    ),
}


def register() -> None:
    """Add the loader and the models to vLLM's registries.

    The loader is used where `video_backend` or VLLM_VIDEO_LOADER_BACKEND names it, a model where `--hf-overrides` does.

    Raises:
        ConfigError: FRAMEGATE_VLLM_CAPS does not hold caps.
        ImportError: vLLM is not installed, or has no such registries.

    Source: vLLM 0.33.0, plugins/__init__.py, multimodal/video.py and model_executor/models/registry.py.
    """
    from vllm import ModelRegistry  # type: ignore[import-not-found]
    from vllm.multimodal.video import VIDEO_LOADER_REGISTRY  # type: ignore[import-not-found]

    from framegate.tools.vllm.loader import FramegateVideoLoader

    # told when the server starts, not by its first request
    served_caps(os.environ.get(CAPS_VARIABLE))
    VIDEO_LOADER_REGISTRY.register(LOADER)(FramegateVideoLoader)
    for name, place in MODELS.items():
        ModelRegistry.register_model(name, place)
