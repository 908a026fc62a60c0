"""Frames that are pictures: files, their bytes or Pillow's objects, turned and brought to eight bits."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from clips import gradient_frames
from PIL import Image

from framegate.errors import FrameError
from framegate.tokenizers.clip import open_video


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_exif_asks_for(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(gradient_frames(1)[0])
    path = tmp_path / "phone.png"
    stored.save(path, exif=exif)
    shown = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }[orientation](gradient_frames(1)[0])
    for frames in ([path], [path.read_bytes()], [Image.open(path)]):
        with open_video(frames, fps=1) as stream:
            (frame,) = stream.frames()
            assert (stream.info.height_px, stream.info.width_px) == shown.shape[:2]
        assert np.array_equal(frame.pixels, shown)


def test_pictures_of_sixteen_bits_keep_their_greys(tmp_path):
    greys = np.linspace(0, 65535, 48 * 64).reshape(48, 64).round().astype(np.uint16)
    path = tmp_path / "depth.png"
    Image.fromarray(greys).save(path)
    with open_video([path], fps=1) as stream:
        (frame,) = stream.frames(pixel_format="gray")
    assert np.abs(frame.pixels - greys / 257).max() <= 0.51
    Image.fromarray(greys.astype(np.float32)).save(tmp_path / "f.tiff")
    with (
        open_video([tmp_path / "f.tiff"], fps=1) as stream,
        pytest.raises(FrameError, match="no known white"),
    ):
        list(stream.frames())


def test_a_turned_tiff_is_as_large_as_it_is_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient_frames(1)[0]).save(tmp_path / "a.tiff", exif=exif)
    with open_video([tmp_path / "a.tiff"], fps=1) as stream:
        (frame,) = stream.frames()
        assert (stream.info.height_px, stream.info.width_px) == frame.pixels.shape[:2]


def test_whatever_pillow_raises_is_framegates(tmp_path):
    header = bytearray(cv2.imencode(".png", gradient_frames(1)[0])[1].tobytes())
    header[16:24] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(FrameError, match="Frame 0"):
        open_video([bytes(header)], fps=1)


def with_exif_last(png):
    """A PNG whose EXIF stands behind its pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    # Pillow writes the marker of JPEG before it, which PNG leaves out
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:-12] + chunk + png[-12:]


def test_a_png_whose_exif_follows_its_pixels_is_turned(tmp_path):
    upright = gradient_frames(1)[0]
    path = tmp_path / "late.png"
    Image.fromarray(upright).save(path)
    path.write_bytes(with_exif_last(path.read_bytes()))
    for frames in ([path], [path.read_bytes()], [Image.open(path)]):
        with open_video(frames, fps=1) as stream:
            (frame,) = stream.frames()
            assert (stream.info.height_px, stream.info.width_px) == frame.pixels.shape[:2]
        assert np.array_equal(frame.pixels, np.rot90(upright, -1))


def of_mode_i(*highest):
    """Pictures of 32-bit whole numbers, as some tools hand eight or sixteen bits over."""
    rows = [np.linspace(0, high, 48 * 64).reshape(48, 64).round().astype(np.int32) for high in highest]
    return [Image.fromarray(row) for row in rows]


def greys(frames):
    with open_video(frames, fps=1) as stream:
        return np.stack([frame.pixels for frame in stream.frames(pixel_format="gray")]), stream.warnings


def test_pictures_of_mode_i_that_hold_eight_bits_are_not_darkened():
    pictures = of_mode_i(255, 90)
    pixels, notes = greys(pictures)
    assert np.array_equal(pixels, np.stack([np.asarray(picture) for picture in pictures]))
    assert any("mode 'I' hold nothing above 255" in note for note in notes)


def test_one_bright_frame_says_that_a_video_has_sixteen_bits():
    pixels, notes = greys(of_mode_i(200, 65535))
    assert (pixels[0].max(), pixels[1].max()) == (1, 255)
    assert not any("mode 'I'" in note for note in notes)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_files_that_say_sixteen_bits_are_believed_however_dark(kind):
    content = io.BytesIO()
    Image.fromarray(np.full((48, 64), 250, np.uint16)).save(content, kind)
    pixels, notes = greys([content.getvalue()])
    assert pixels.max() == 1
    assert not any("mode 'I'" in note for note in notes)
