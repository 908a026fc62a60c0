"""Serve a checkpoint with a front end, by the server of `transformers serve`: pip install "transformers[serving]".

    python examples/serve.py FOLDER --keep-ratio 0.25
    curl localhost:8000/v1/chat/completions -H "Content-Type: application/json" -d '{"messages": [{"role": "user",
      "content": [{"type": "video_url", "video_url": {"url": "clip.mp4"}}, {"type": "text", "text": "What moves?"}]}]}'

The command itself loads stock objects and has no place to attach to them; the parts that it is made of do. The server
asks for 32 frames of a video unless the request says otherwise: "chat_template_kwargs": {"fps": 2, "num_frames": null}.
"""

from __future__ import annotations

import argparse
from typing import Any

import uvicorn
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.response import ResponseHandler
from transformers.cli.serving.server import build_server
from transformers.cli.serving.systemone import SystemOneHandler
from transformers.cli.serving.transcription import TranscriptionHandler
from transformers.cli.serving.utils import GenerationState

import framegate


def attached_server(checkpoint: str, config: Any, *, device: str = "auto", **overrides: Any) -> Any:
    """Make the application that `transformers serve CHECKPOINT` runs, with a front end on its model and processor.

    Args:
        checkpoint: folder or hub id; the server answers for it alone.
        config: as for `framegate.attach`; the folder itself where a front end was saved in it.
        device: as `transformers serve --device`.
        overrides: settings replaced by keyword, for example keep_ratio=0.25.

    Returns:
        The application, for uvicorn.
    """
    manager, state = ModelManager(device=device, force_model=checkpoint), GenerationState()
    model, processor = manager.load_model_and_processor(manager.process_model_name(checkpoint))
    framegate.attach(model, processor, config, **overrides)
    return build_server(
        manager,
        ChatCompletionHandler(manager, state),
        completion_handler=CompletionHandler(manager, state),
        response_handler=ResponseHandler(manager, state),
        transcription_handler=TranscriptionHandler(manager, state),
        systemone_handler=SystemOneHandler(manager, state),
        generation_state=state,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--config", default="framegate", help="preset, YAML file, or the checkpoint's folder")
    parser.add_argument("--keep-ratio", type=float, default=0.25)
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    app = attached_server(options.checkpoint, options.config, keep_ratio=options.keep_ratio)
    uvicorn.run(app, port=options.port)
