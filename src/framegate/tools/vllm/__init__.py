"""What vLLM finds under the entry point `vllm.general_plugins`: a video loader by the name "framegate".

    vllm serve Qwen/Qwen3-VL-4B-Instruct --media-io-kwargs '{"video": {"video_backend": "framegate", "fps": 4}}'

Untested: vLLM needs a GPU, and no server has run with it yet; `benchmarks/scale/check_vllm.py` starts one. framegate
never imports vLLM by itself.
"""

from __future__ import annotations

import os

from framegate.tools.vllm.frames import CAPS_VARIABLE, served_caps

LOADER = "framegate"


def register() -> None:
    """Add the loader to vLLM's registry; it is used where `video_backend` or VLLM_VIDEO_LOADER_BACKEND names it.

    Raises:
        ConfigError: FRAMEGATE_VLLM_CAPS does not hold caps.
        ImportError: vLLM is not installed, or has no registry of loaders.

    Source: vLLM 0.33.0, plugins/__init__.py and multimodal/video.py.
    """
    from vllm.multimodal.video import VIDEO_LOADER_REGISTRY  # type: ignore[import-not-found]

    from framegate.tools.vllm.loader import FramegateVideoLoader

    # told when the server starts, not by its first request
    served_caps(os.environ.get(CAPS_VARIABLE))
    VIDEO_LOADER_REGISTRY.register(LOADER)(FramegateVideoLoader)
