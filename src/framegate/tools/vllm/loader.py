"""The loader class that vLLM calls. Importing this needs vLLM."""

from __future__ import annotations

import os
from typing import Any

from vllm.multimodal.video import VideoLoader  # type: ignore[import-not-found]

from framegate.tools.vllm.frames import CAPS_VARIABLE, read_video, served_caps
from framegate.types import UInt8Array


class FramegateVideoLoader(VideoLoader):
    """Reads videos of requests by framegate: its frame plan, true times, caps before decoding."""

    @classmethod
    def load_bytes(
        cls, data: bytes, num_frames: int = -1, **settings: Any
    ) -> tuple[UInt8Array, dict[str, Any]]:
        """Read a video.

        Args:
            data: the file.
            num_frames: vLLM's own, 32 where nobody says otherwise.
            settings: `media_io_kwargs` of server and request: sampler, its settings, and caps.

        Returns:
            Frames, uint8 [F, h, w, 3], and what transformers' VideoMetadata holds.

        Raises:
            ConfigError, FrameError, CapError: as `read_video`; vLLM answers with 400 and the text.

        Source: vLLM 0.33.0, multimodal/media/video.py.
        """
        caps = served_caps(os.environ.get(CAPS_VARIABLE))
        return read_video(data, settings, caps, num_frames=num_frames)
