"""`framegate serve`: an OpenAI-compatible server of a checkpoint with a front end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framegate.tools.serve import attached_app


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What to serve, where, and to whom; the options of `framegate serve`."""

    model: str | None
    preset: str
    overrides: dict[str, Any]
    caps: dict[str, Any]
    allow_local: bool
    device: str
    host: str
    port: int


def serve_command(options: ServeOptions) -> None:
    """Serve until it is stopped."""
    from framegate.models.nano import NANO, shipped_folder

    given = {name: value for name, value in options.caps.items() if value is not None}
    app = attached_app(
        str(shipped_folder(options.model or NANO)),
        options.preset,
        device=options.device,
        allow_local=options.allow_local,
        **given,
        **options.overrides,
    )
    import uvicorn

    uvicorn.run(app, host=options.host, port=options.port)
