"""What a request to `framegate serve` may ask for, without a server."""

import asyncio
import base64
import io
from types import SimpleNamespace

import pytest
from PIL import Image

from framegate.errors import CapError, ConfigError
from framegate.tokenizers.caps import Caps
from framegate.tools import serve

CAPS = Caps(cap_frames=100, cap_pixels=5000, cap_seconds=10.0, cap_bytes=1 << 20, public_only=True)


class Stock:
    """The part of transformers' handlers that a request goes through."""

    async def handle_request(self, body, request_id):
        return body

    @staticmethod
    def get_processor_inputs_from_messages(messages, modality):
        kinds = {"image_url": "image", "video_url": "video"}
        blocks = [
            {"type": kinds[block["type"]], "url": block[block["type"]]} for block in messages[0]["content"]
        ]
        return [{"role": "user", "content": blocks}]


def asked(blocks, **settings):
    body = {"messages": [{"role": "user", "content": blocks}], "chat_template_kwargs": settings}
    return asyncio.run(serve._guarded(Stock, CAPS)().handle_request(body, ""))["chat_template_kwargs"]


VIDEO = {"type": "video_url", "video_url": {"url": "http://example.org/a.mp4"}}


@pytest.mark.parametrize("name", ["processor_kwargs", "images", "size", "max_pixels", "chat_template"])
def test_settings_that_would_open_files_or_enlarge_frames_are_refused(name):
    with pytest.raises(ConfigError, match=f"holds '{name}'; a request may set fps"):
        asked([VIDEO], **{name: 1})


def test_several_videos_share_the_caps_of_one():
    assert asked([VIDEO], fps=2) == {"fps": 2}
    told = asked([VIDEO] * 4, fps=2, cap_frames=3, cap_bytes=1 << 30)
    assert told == {"fps": 2, "cap_frames": 3, "cap_pixels": 5000, "cap_seconds": 2.5, "cap_bytes": 1 << 18}


def test_a_video_whose_sound_is_opened_too_and_a_list_of_pictures_are_looked_at():
    hears = SimpleNamespace(name="MULTIMODAL")
    for kind, url, error in (
        ("video_url", "/etc/hostname", CapError),
        ("image_url", ["/etc/hostname"], ConfigError),
    ):
        messages = [{"role": "user", "content": [{"type": kind, kind: url}]}]
        with pytest.raises(error):
            serve._guarded(Stock, CAPS).get_processor_inputs_from_messages(messages, hears)


def test_pictures_have_the_pixels_of_a_frame():
    held = io.BytesIO()
    Image.new("RGB", (100, 60)).save(held, "png")
    url = f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]
    with pytest.raises(CapError, match="cap_pixels"):
        serve._guarded(Stock, CAPS).get_processor_inputs_from_messages(messages, None)
