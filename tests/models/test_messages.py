"""What a message says of a video: keys of transformers and qwen-vl-utils are followed, noted, or refused by name."""

import base64
import io
import pickle
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from clips import write_clip, write_streams
from noted import accounts_of
from PIL import Image
from processor_cases import DENSE, GATE, chat, text_of
from tiny import moving_frames, stock_processor

from framegate.configs.loader import load_config
from framegate.errors import ConfigError, FrameError, VideoError, VideoNotFoundError
from framegate.models.tiny import tiny_pair
from framegate.models.video_processor import attach_processor
from framegate.models.video_processor.sources import CarriedVideo

pytestmark = pytest.mark.floor

SIDE_PX = {"qwen2_5_vl": 28, "qwen3_vl": 32}


def attached(family="qwen2_5_vl", config=GATE):
    processor = stock_processor(family)
    attach_processor(processor, family, config.plan)
    return processor


def asked(processor, video, **keys):
    """Frame count, pixels of a frame at the tower, and notes of a message's video."""
    inputs = chat(processor, [{"type": "video", "video": video, **keys}])
    (account,) = accounts_of(inputs)
    tubes, rows, columns = inputs["video_grid_thw"][0].tolist()
    patch_px = processor.video_processor.patch_size
    return account.num_frames, (rows * patch_px, columns * patch_px), account.notes


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for number, frame in enumerate(moving_frames(6)):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return [str(path) for path in sorted(folder.iterdir())]


class TestFiles:
    @pytest.mark.parametrize("config", [GATE, DENSE], ids=["gate", "dense"])
    @pytest.mark.parametrize(
        ("keys", "frames"),
        [
            ({"fps": 4.0}, 40),
            ({"fps": "1.0"}, 10),
            ({"nframes": 6}, 6),
            ({"num_frames": 6}, 6),
            ({"fps": 4, "max_frames": 12}, 12),
            ({"fps": 0.5, "min_frames": 8}, 8),
            ({"fps": 2, "video_start": 2, "video_end": 4}, 4),
        ],
    )
    def test_sampling_is_followed(self, keys, frames, config, clip):
        assert asked(attached(config=config), str(clip), **keys)[0] == frames

    @pytest.mark.parametrize(
        ("keys", "told"),
        [
            ({"nframes": 500}, "num_frames=500: the video has 80 there"),
            ({"fps": 1, "min_frames": 200}, "min_frames=200: the video has 80 there"),
            ({"fps": 100}, "fps=100: the video has 8.02 frames a second"),
            ({"nframes": 40, "video_start": 2, "video_end": 4}, "num_frames=40: the video has 16 there"),
            ({"fps": 8}, None),
        ],
    )
    def test_more_frames_than_there_are_is_noted(self, keys, told, tmp_path):
        clip = write_clip(tmp_path / "a.mp4", moving_frames(80), times_ms=range(0, 10_000, 125))
        notes = asked(attached(), str(clip), **keys)[2]
        found = [note for note in notes if "none is shown twice" in note]
        assert len(found) == (told is not None), notes
        assert told is None or told in found[0]

    def test_the_stream_of_a_file_is_chosen(self, tmp_path):
        colours = [((200, 20, 20), 96, 128, 0), ((20, 200, 20), 112, 224, 0)]
        path = str(write_streams(tmp_path / "two.mkv", colours))
        processor = attached()
        assert asked(processor, path)[1] == asked(processor, path, video_stream=1)[1] == (84, 168)
        assert asked(processor, path, video_stream="0")[1] == (84, 140)
        with pytest.raises(FrameError, match="video_stream=0 is for files"):
            asked(processor, moving_frames(4), video_stream=0)

    def test_the_message_wins_over_the_call_and_holds_for_its_video_alone(self, clip):
        processor = attached()
        content = [{"type": "video", "video": str(clip), "nframes": 6}, {"type": "video", "video": str(clip)}]
        inputs = chat(processor, content, processor_kwargs={"fps": 1})
        assert [account.num_frames for account in accounts_of(inputs)] == [6, 10]

    def test_sound_is_not_looked_for_where_the_model_takes_none(self, clip):
        """`transformers serve` asks every processor for it, which a silent file would fail."""
        inputs = chat(attached(), [{"type": "video", "video": str(clip)}], load_audio_from_video=True)
        (account,) = accounts_of(inputs)
        assert "load_audio_from_video: not followed, for this model takes no audio" in account.notes

    @pytest.mark.parametrize("family", SIDE_PX)
    @pytest.mark.parametrize(
        ("keys", "cells"),
        [
            ({"resized_height": 60, "resized_width": 90}, (2, 3)),
            ({"max_pixels": "4"}, None),
            ({"total_pixels": 40}, None),
            ({"min_pixels": 30}, None),
        ],
    )
    def test_sizes_are_followed(self, family, keys, cells, clip):
        side = SIDE_PX[family]
        processor = attached(family)
        usual = asked(processor, str(clip))[1]
        scaled = {name: int(value) * side * side for name, value in keys.items() if "pixels" in name}
        frames, size, notes = asked(processor, str(clip), **(scaled or keys))
        area, usual_area = size[0] * size[1], usual[0] * usual[1]
        if cells is not None:
            assert size == (cells[0] * side, cells[1] * side)
        elif "min_pixels" in keys:
            assert usual_area < scaled["min_pixels"] <= area
        elif "total_pixels" in keys:
            assert area * frames / 2 <= scaled["total_pixels"]
            assert area < usual_area
        else:
            assert area <= scaled["max_pixels"] < usual_area
        assert not any("not followed" in note for note in notes)

    def test_bounds_that_change_nothing_change_nothing(self, clip):
        processor = attached()
        usual = asked(processor, str(clip))[1]
        for keys in ({"max_pixels": 28 * 28 * 1000}, {"min_pixels": 28 * 28}, {"total_pixels": 10**9}):
            assert asked(processor, str(clip), **keys)[1] == usual, keys

    def test_a_size_that_the_tower_cannot_take_is_noted(self, clip):
        _, processor = tiny_pair("llava_onevision")
        attach_processor(processor, "llava_onevision", GATE.plan)
        (account,) = accounts_of(chat(processor, [{"type": "video", "video": str(clip), "max_pixels": 3136}]))
        assert (
            "max_pixels of the message: not followed, for this tower takes frames of one size"
            in account.notes
        )

    def test_times_of_its_own_are_noted(self, clip):
        notes = asked(attached(), str(clip), sample_fps=1.0)[2]
        assert any("sample_fps=1 of the message: not followed" in note for note in notes)

    def test_settings_of_the_checkpoints_processor_are_noted_where_they_do_not_count(self, clip):
        processor = stock_processor("qwen2_5_vl")
        processor.video_processor.num_frames = 4
        attach_processor(processor, "qwen2_5_vl", GATE.plan)
        frames, _, notes = asked(processor, str(clip))
        assert frames == 20
        assert any("num_frames=4 of the checkpoint's own processor: not followed" in note for note in notes)
        frames, _, notes = asked(processor, str(clip), nframes=4)
        assert frames == 4
        assert not any("checkpoint's own" in note for note in notes)


class TestRefusals:
    @pytest.mark.parametrize(
        ("keys", "words"),
        [
            ({"video_strat": 2}, "'video_strat'.*Did you mean 'video_start'"),
            ({"nframe": 4}, "Did you mean 'nframes'"),
            ({"fps": 2, "nframes": 4}, "exclude each other"),
            ({"fps": 0}, "fps is 0; it must be above 0"),
            ({"nframes": 2.5}, "nframes is 2.5; it must be a whole number"),
            ({"max_pixels": "many"}, "max_pixels is 'many'"),
            ({"resized_height": 56}, "resized_width is None"),
            ({"min_pixels": 9000, "max_pixels": 4000}, "swap them"),
        ],
    )
    def test_slips_are_refused(self, keys, words, clip):
        with pytest.raises(ConfigError, match=words):
            asked(attached(), str(clip), **keys)

    def test_an_empty_window_is_refused(self, clip):
        with pytest.raises(FrameError, match="empty"):
            asked(attached(), str(clip), video_start=4, video_end=2)

    def test_unknown_keys_are_noted_and_empty_ones_are_none(self, clip):
        keys = {"source_id": "a17", "text": None, "fps": None, "url": None}
        frames, _, notes = asked(attached(), str(clip), **keys)
        assert frames == 20
        assert [note for note in notes if "key '" in note] == [
            "key 'source_id' of the message's video: not known, not followed"
        ]


class TestFrames:
    @pytest.mark.parametrize(
        ("keys", "times"),
        [
            ({"sample_fps": 1.0}, [0, 1, 2, 3, 4, 5]),
            ({"sample_fps": "2"}, [0, 0.5, 1, 1.5, 2, 2.5]),
            ({"fps": 1}, [0, 1, 2, 3, 4, 5]),
            ({"sample_fps": 1, "video_start": 2, "video_end": 4}, [2, 3]),
            # the picture that is on screen when the window opens
            ({"sample_fps": 1, "video_start": 2.5, "video_end": 4}, [2.5, 3]),
            ({"sample_fps": 1, "nframes": 2}, [0, 5]),
            ({"sample_fps": 1, "max_frames": 3}, [0, 2, 5]),
            ({"sample_fps": 2, "fps": 1}, [0, 1, 2.5]),
        ],
    )
    def test_their_times_are_those_that_the_message_tells(self, keys, times, files):
        processor = attached("qwen3_vl", DENSE)
        blocks = [{"type": "video", "video": files, **keys}]
        inputs = chat(processor, blocks, processor_kwargs={"return_metadata": True})
        assert accounts_of(inputs)[0].num_frames == len(times)
        assert inputs["video_metadata"][0].timestamps == pytest.approx(times)
        written = [float(time) for time in re.findall(r"<([\d.]+) seconds>", text_of(processor, inputs))]
        tubes = [np.mean((times + times[-1:])[at : at + 2]) for at in range(0, len(times), 2)]
        assert written == pytest.approx(tubes, abs=0.051)

    def test_more_frames_than_there_are_is_noted(self, files):
        for keys in ({"nframes": 30}, {"min_frames": 30}, {"fps": 9}):
            count, _, notes = asked(attached(), files, sample_fps=2, **keys)
            assert count == 6
            assert len([note for note in notes if "none is shown twice" in note]) == 1

    def test_the_step_of_time_follows(self, files):
        processor = attached("qwen2_5_vl")
        inputs = chat(processor, [{"type": "video", "video": files, "sample_fps": 0.5}])
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(4.0)
        window = {"sample_fps": 0.5, "video_start": 2, "video_end": 6}
        inputs = chat(processor, [{"type": "video", "video": files, **window}])
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(4.0)

    def test_a_window_over_frames_without_times_is_refused(self, files):
        with pytest.raises(FrameError, match="came without times; give sample_fps"):
            asked(attached(), files, video_start=1, video_end=2)
        with pytest.raises(FrameError, match="holds no frame of the frames: its 6 frames"):
            asked(attached(), files, video_start=7, video_end=9, sample_fps=1)

    def test_metadata_of_the_call_wins_with_a_note(self, files):
        metadata = {"fps": 2.0, "total_num_frames": 6, "frames_indices": list(range(6))}
        blocks = [{"type": "video", "video": files, "sample_fps": 1}]
        options = {"video_metadata": [metadata], "do_sample_frames": False, "return_metadata": True}
        inputs = chat(attached(), blocks, processor_kwargs=options)
        assert inputs["video_metadata"][0].timestamps == pytest.approx(np.arange(6) / 2)
        assert any("1 fps: not followed" in note for note in accounts_of(inputs)[0].notes)

    def test_fps_of_a_call_without_metadata_is_the_rate_of_its_frames(self):
        processor = attached("qwen2_5_vl", DENSE)
        video, text = moving_frames(6), ["<|vision_start|><|video_pad|><|vision_end|>"]
        inputs = processor(text=text, videos=[video], fps=1.0, return_tensors="pt")
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(2.0)
        assert any("fps=1 is the rate of the frames" in note for note in accounts_of(inputs)[0].notes)
        metadata = [{"fps": 4.0, "total_num_frames": 6, "frames_indices": list(range(6))}]
        inputs = processor(text=text, videos=[video], fps=1.0, video_metadata=metadata, return_tensors="pt")
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(0.5)

    def test_where_the_processor_samples_the_assumed_rate_is_noted(self):
        processor = attached("qwen3_vl", DENSE)
        inputs = processor(text=["<|video_pad|>"], videos=[moving_frames(48)], fps=1.0, return_tensors="pt")
        assert any("24 frames per second assumed" in note for note in accounts_of(inputs)[0].notes)

    def test_dark_chunks_of_qwen_vl_utils_and_grey_frames_are_taken(self):
        processor, text = attached(), ["<|vision_start|><|video_pad|><|vision_end|>"]
        dark = torch.zeros(4, 3, 112, 168)
        black = processor(text=text, videos=[dark], return_tensors="pt")["pixel_values_videos"]
        dark[1] = 1.0
        found = processor(text=text, videos=[dark], return_tensors="pt")["pixel_values_videos"]
        assert float((found[: len(black)] - black).abs().max()) < 0.02
        grey = processor(text=text, videos=[torch.zeros(4, 112, 168)], return_tensors="pt")
        assert torch.equal(grey["pixel_values_videos"], black)


class TestAddresses:
    @pytest.mark.parametrize("way", ["message", "videos", "nested videos", "video processor"])
    @pytest.mark.parametrize("spelling", ["file", "encoded", "data", "bytes", "BytesIO", "path"])
    def test_every_spelling_gives_the_same(self, way, spelling, tmp_path):
        path = write_clip(tmp_path / "a b.mp4", moving_frames(8))
        content = path.read_bytes()
        source = {
            "file": f"file://{path}",
            "encoded": path.as_uri(),
            "data": "data:video/mp4;base64," + base64.b64encode(content).decode(),
            "bytes": content,
            "BytesIO": io.BytesIO(content),
            "path": path,
        }[spelling]
        processor = attached()
        expected = chat(processor, [{"type": "video", "path": str(path)}])["pixel_values_videos"]
        if way == "message":
            found = chat(processor, [{"type": "video", "video": source}])
        elif way == "video processor":
            found = processor.video_processor(source, return_tensors="pt")
        else:
            videos = [source] if way == "videos" else [[source]]
            found = processor(text=["<|video_pad|>"], videos=videos, return_tensors="pt")
        assert torch.equal(found["pixel_values_videos"], expected)

    def test_the_spelling_of_servers_is_taken(self, clip):
        processor = attached()
        expected = chat(processor, [{"type": "video", "url": str(clip)}])
        for given in ({"url": clip.as_uri()}, clip.as_uri()):
            found = chat(processor, [{"type": "video_url", "video_url": given}])
            assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])
        with pytest.raises(FrameError, match="give the address there"):
            chat(processor, [{"type": "video_url"}])

    def test_a_web_address_is_read_as_the_file(self, clip):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "video/mp4")
                self.end_headers()
                self.wfile.write(clip.read_bytes())

            def log_message(self, *_):
                """Say nothing."""

        processor = attached()
        expected = chat(processor, [{"type": "video", "path": str(clip)}])
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_port}/clip.mp4"
            found = chat(processor, [{"type": "video", "url": address}])
            server.shutdown()
        assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])

    def test_lists_of_frames(self, files):
        processor = attached()
        expected = asked(processor, moving_frames(6))
        for spelled in (files, [f"file://{file}" for file in files]):
            assert asked(processor, spelled) == expected

    def test_windows_and_shares_hold_for_bytes(self, clip):
        block = {"video_start": 4.0, "video_end": 6.0, "keep_ratio": 0.5}
        processor = attached()
        expected = chat(processor, [{"type": "video", "video": str(clip), **block}])
        found = chat(processor, [{"type": "video", "video": clip.read_bytes(), **block}])
        assert torch.equal(found["framegate_plan"], expected["framegate_plan"])

    @pytest.mark.parametrize(
        ("video", "error", "words"),
        [
            (base64.b64encode(bytes(9000)).decode(), VideoNotFoundError, "bare base64 is decoded first"),
            ("y" * 300 + ".mp4", VideoNotFoundError, "304 characters"),
            ([], FrameError, "0 frames"),
            ([3, 4], FrameError, "Frame 0 is a int"),
            (7, FrameError, "Cannot read frames from a int"),
            ("http://127.0.0.1:9/a.mp4", VideoError, "cannot be fetched.*network"),
        ],
    )
    def test_what_is_none_is_refused(self, video, error, words):
        with pytest.raises(error, match=words) as caught:
            asked(attached(), video)
        assert len(str(caught.value)) < 600

    def test_a_list_of_videos_is_refused(self, clip):
        with pytest.raises(FrameError, match="each video an entry of its own"):
            asked(attached(), [str(clip), str(clip)])

    def test_what_is_carried_survives_a_pickle(self, clip):
        (block,) = [{"type": "video", "video": str(clip), "fps": 4}]
        seen = []
        processor = stock_processor("qwen2_vl")
        processor.apply_chat_template = lambda conversation, **_: seen.append(conversation)
        attach_processor(processor, "qwen2_vl", load_config("gate").plan)
        chat(processor, [block])
        carried = seen[0][0]["content"][0]["video"]
        again = pickle.loads(pickle.dumps(carried))
        assert isinstance(again, CarriedVideo)
        assert (again, again.source, again.asked) == (carried, str(clip), carried.asked)
        assert again.asked.sampling == {"fps": 4}
