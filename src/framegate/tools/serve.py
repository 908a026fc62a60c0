"""The server of `transformers serve` with a front end on its model, capped, for callers on other machines."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from framegate.configs.loader import load_config
from framegate.errors import CapError, ConfigError, FramegateError
from framegate.models.video_processor.message import SAMPLING, SHARES
from framegate.tokenizers.caps import CAPS, SERVED_CAPS, Caps
from framegate.tokenizers.clip.pictures import stored_size

# what a request may set of how its videos are read; sizes, files of pictures and templates are not among them
SETTABLE = (*SAMPLING, "do_sample_frames", *SHARES, *CAPS, "enable_thinking")
_MEDIA = ("video_url", "image_url", "input_image", "audio_url", "input_audio")
# of the server's, those that answer; others load, drop or switch models, which would leave the front end behind
_ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/models", "/health")
# base64 takes four bytes for three, and there is a question beside the video
_BODY_SHARE, _BODY_SPARE_BYTES = 4 / 3, 1 << 20
_TOO_LARGE, _FORBIDDEN, _BAD, _LENGTH_REQUIRED = 413, 403, 400, 411


def attached_app(
    checkpoint: str, config: Any, *, device: str = "auto", allow_local: bool = False, **overrides: Any
) -> Any:
    """Make the application that `transformers serve CHECKPOINT` runs, with a front end on its model and processor.

    A request beyond a cap of the configuration, or one that names a source which callers may not, is answered by a 4xx
    whose `error.code` is the cap's name.

    Args:
        checkpoint: folder or hub id; the server answers for it alone.
        config: as for `framegate.attach`; the folder itself where a front end was saved in it.
        device: as `transformers serve --device`.
        allow_local: open paths and private addresses that a request names.
        overrides: settings replaced by keyword, for example keep_ratio=0.25; caps that are not set are SERVED_CAPS.

    Returns:
        The application, for uvicorn.

    Raises:
        ConfigError: transformers[serving] is not installed, or the configuration is not valid.
        UnsupportedModelError: the checkpoint's class is in no row of the family table.
    """
    import framegate

    parts = _serving_parts()
    loaded = load_config(config, **overrides)
    own = {name: most for name in CAPS if (most := getattr(loaded.caps, name)) is not None}
    caps = Caps(**{**SERVED_CAPS, **own, "public_only": not allow_local})
    state = parts["GenerationState"]()
    manager = parts["ModelManager"](device=device, force_model=checkpoint)
    model, processor = manager.load_model_and_processor(manager.process_model_name(checkpoint))
    framegate.attach(model, processor, config, **overrides | {"caps": caps})
    # the front end chooses frames; the server would ask for 32 of every video
    frames = {"chat_template_kwargs": {"num_frames": None}}
    app = parts["build_server"](
        manager,
        _guarded(parts["ChatCompletionHandler"], caps)(manager, state, **frames),
        completion_handler=parts["CompletionHandler"](manager, state),
        response_handler=_guarded(parts["ResponseHandler"], caps)(manager, state, **frames),
        transcription_handler=parts["TranscriptionHandler"](manager, state),
        systemone_handler=parts["SystemOneHandler"](manager, state),
        generation_state=state,
    )
    app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") in _ROUTES]
    app.add_exception_handler(FramegateError, _refusal)
    if caps.cap_bytes is not None:
        _limit_bodies(app, int(caps.cap_bytes * _BODY_SHARE) + _BODY_SPARE_BYTES)
    return app


def _serving_parts() -> dict[str, Any]:
    try:
        from transformers.cli.serving.chat_completion import ChatCompletionHandler
        from transformers.cli.serving.completion import CompletionHandler
        from transformers.cli.serving.model_manager import ModelManager
        from transformers.cli.serving.response import ResponseHandler
        from transformers.cli.serving.server import build_server
        from transformers.cli.serving.systemone import SystemOneHandler
        from transformers.cli.serving.transcription import TranscriptionHandler
        from transformers.cli.serving.utils import GenerationState
        from transformers.utils.import_utils import is_serve_available
    except ImportError as error:
        raise ConfigError(f"This transformers has no server of these parts ({error}): update it.") from error
    if not is_serve_available():
        raise ConfigError("framegate serve needs transformers' server: pip install 'framegate[serve]'.")
    parts = (ChatCompletionHandler, CompletionHandler, ModelManager, ResponseHandler, SystemOneHandler)
    return {part.__name__: part for part in (*parts, build_server, TranscriptionHandler, GenerationState)}


def _guarded(handler: type[Any], caps: Caps) -> type[Any]:
    """A handler whose pictures and sounds come by the same rule as videos; the stock readers would open any path."""

    class Guarded(handler):  # type: ignore[misc]
        async def handle_request(self, body: Any, request_id: str) -> Any:
            given = body.get("chat_template_kwargs") or {}
            settings = request_settings(given, caps, count_media(body.get("messages") or body.get("input")))
            return await super().handle_request(
                body | ({"chat_template_kwargs": settings} if settings else {}), request_id
            )

        @staticmethod
        def get_processor_inputs_from_messages(messages: Any, modality: Any) -> Any:
            parsed = handler.get_processor_inputs_from_messages(messages, modality)
            parts = [part for message in parsed for part in message["content"] if isinstance(part, dict)]
            # of a model that hears, transformers opens videos as well, for their sound
            hears = getattr(modality, "name", "") == "MULTIMODAL"
            for part in parts:
                if part["type"] in ("image", "audio") or (hears and part["type"] == "video"):
                    part["url"] = _as_data(part["url"], part["type"], caps.shared(count_media(messages)))
            return parsed

    return Guarded


def count_media(messages: Any) -> int:
    """Count the videos, pictures and sounds of a request, at any depth."""
    if isinstance(messages, Mapping):
        return int(messages.get("type") in _MEDIA) or sum(map(count_media, messages.values()))
    return sum(map(count_media, messages)) if isinstance(messages, list) else 0


def request_settings(given: Mapping[str, Any], caps: Caps, media: int) -> dict[str, Any]:
    """What a request sets for itself, with the caps of one video shared by several.

    Raises:
        ConfigError: a setting that is not one for callers.
    """
    unknown = [name for name in given if name not in SETTABLE]
    if unknown:
        raise ConfigError(
            f"chat_template_kwargs holds {unknown[0]!r}; a request may set {', '.join(SETTABLE)}."
        )
    if media < 2:
        return dict(given)
    shares = {name: most for name in CAPS if (most := getattr(caps.shared(media), name)) is not None}
    # what is no number is refused where it is read
    lower = {
        name: min(own, shares[name]) if type(own := given.get(name)) in (int, float) else own
        for name in shares
        if given.get(name) is not None
    }
    return {**given, **shares, **lower}


def _as_data(url: Any, kind: str, caps: Caps) -> str:
    from framegate.tokenizers.clip.address import fetched

    if not isinstance(url, str):
        # of a list each entry would be opened
        raise ConfigError(f"The address of the {kind} is a {type(url).__name__}; give one address as text.")
    found = fetched(url, caps)
    if kind == "image" and isinstance(found, bytes):
        caps.check_pixels(*stored_size(found, 0), "The picture")
    return f"data:{kind}/*;base64,{base64.b64encode(found).decode()}" if isinstance(found, bytes) else url


async def _refusal(_request: Any, error: FramegateError) -> Any:
    """An answer in the form that OpenAI's clients read."""
    cap = error.cap if isinstance(error, CapError) else None
    status = _BAD if cap is None else _FORBIDDEN if cap == "public_only" else _TOO_LARGE
    return _error(status, str(error), cap)


def _error(status: int, message: str, code: str | None) -> Any:
    from fastapi.responses import JSONResponse

    told = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": told}, status_code=status)


def _limit_bodies(app: Any, most_bytes: int) -> None:
    """Answer too large a request by its header, before it is read."""

    @app.middleware("http")  # type: ignore[untyped-decorator]
    async def limit(request: Any, call_next: Any) -> Any:
        length = request.headers.get("content-length")
        # in chunks a body has whatever length, whatever its header says besides
        is_told = (length or "").isdigit() and "transfer-encoding" not in request.headers
        if request.method == "POST" and not is_told:
            return _error(_LENGTH_REQUIRED, "The request does not say its Content-Length.", "cap_bytes")
        if length is not None and int(length) > most_bytes:
            told = f"The request has {int(length):,} bytes, and cap_bytes leaves room for {most_bytes:,}."
            return _error(_TOO_LARGE, told, "cap_bytes")
        return await call_next(request)
