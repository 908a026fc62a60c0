"""Live sessions: tokens of a stream in bounded memory, asked at any time as the same tokens are asked offline."""

import threading

import pytest
import torch
from clips import gradient_frames, write_clip
from tiny import moving_frames

import framegate
from framegate.errors import (
    AttachmentError,
    BudgetError,
    ConfigError,
    UnanswerableError,
    UnsupportedModelError,
)
from framegate.models.families import families
from framegate.models.tiny import tiny_pair
from framegate.tokenizers.clip.opening import open_segments
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.stream import gate_stream

# one of each way to tell times and positions; the others are slow together
CORE = ("qwen2_5_vl", "qwen3_vl")
SERVED = [
    pytest.param(name, marks=() if name in CORE else pytest.mark.slow)
    for name, family in families().items()
    if family.serves_live
]
GENERATE = {"max_new_tokens": 3, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
FPS = 4.0


@pytest.fixture(scope="module")
def clip_of(tmp_path_factory):
    """A clip of twelve frames in whole cells, which no size rule changes."""
    folder, written = tmp_path_factory.mktemp("clips"), {}

    def clip(cell_px):
        if cell_px not in written:
            rows, columns = (10, 14) if cell_px == 28 else (4, 6)
            frames = moving_frames(12, height_px=rows * cell_px, width_px=columns * cell_px)
            written[cell_px] = write_clip(
                folder / f"{cell_px}.mp4", frames, times_ms=[250 * number for number in range(12)]
            )
        return written[cell_px]

    return clip


@pytest.fixture
def pair(clip_of):
    """An attached tiny Qwen3-VL, and a clip for it."""
    model, processor = tiny_pair("qwen3_vl")
    with framegate.attach(model, processor):
        yield model, processor, clip_of(32)


def offline(front_end, processor, clip):
    """Inputs of the same cells of the same frames, as a message with its plan."""
    mechanism = front_end._attached.mechanism
    settings = processor.video_processor.request(front_end.config.plan, {}).settings
    with framegate.open_video(clip) as stream:
        plans = list(
            gate_stream(
                stream,
                framegate.load_config("framegate", fps=FPS).plan,
                width_px=stream.info.width_px,
                cell_px=mechanism.cell_px,
                tube_frames=mechanism.tube_frames,
                resample=settings.resample,
            )
        )
    run = GatePlan.concatenate(plans)
    frames = torch.from_numpy(run.source_frames()).permute(0, 3, 1, 2)
    video = {"type": "video", "video": frames, "plan": run, "sample_fps": FPS}
    return processor.apply_chat_template(
        [{"role": "user", "content": [video, {"type": "text", "text": "What moves?"}]}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    ), run


@pytest.mark.parametrize("family", SERVED)
def test_where_nothing_was_let_go_it_answers_as_offline(family, clip_of):
    model, processor = tiny_pair(family)
    # with tower_ratio alone every cell that is shown has a token
    with framegate.attach(model, processor, tower_ratio=0.5) as front_end:
        clip = clip_of(front_end._attached.mechanism.cell_px)
        with framegate.open_session(
            model, processor, clip, fps=FPS, background=False, refresh_seconds=None
        ) as session:
            while session.advance():
                pass
            inputs = session.inputs("What moves?")
            live = model.generate(**inputs, **GENERATE)
            told = front_end.report
        whole, run = offline(front_end, processor, clip)
        assert torch.equal(inputs["input_ids"], whole["input_ids"])
        reference = model.generate(**whole, **GENERATE)
    assert 0 < run.num_kept < run.num_cells
    assert torch.equal(live.sequences, reference.sequences)
    for mine, other in zip(live.logits, reference.logits, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
    assert (told.dense_tokens, told.encoded_cells, told.kept_tokens) == (
        run.num_cells,
        run.num_kept,
        run.num_cells,
    )


def test_other_families_are_refused_by_name():
    model, processor = tiny_pair("internvl")
    with (
        framegate.attach(model, processor),
        pytest.raises(UnsupportedModelError, match=r"does not serve InternVL.*qwen3_vl"),
    ):
        framegate.open_session(model, processor, "none.mp4")


def test_it_is_asked_while_the_stream_goes_on(pair):
    model, processor, clip = pair
    goes_on = threading.Event()

    def segments():
        yield clip
        goes_on.wait(30)
        yield clip

    with framegate.open_session(model, processor, segments(), fps=FPS, max_video_tokens=96) as session:
        assert session.wait(2.5, timeout_seconds=30)
        first = session.inputs("What moves?")
        assert isinstance(session.ask("What moves at {now-1} seconds?", max_new_tokens=2), str)
        assert session.is_live
        goes_on.set()
        assert session.wait(timeout_seconds=30)
        assert not session.is_live
        # the second file goes on where the first ended
        assert 5 < session.seconds < 6
        assert 48 < session.num_tokens <= 96
        # what is held can still be asked about, and what was asked before has not changed
        assert isinstance(session.ask("What moves?", max_new_tokens=2), str)
        assert first["framegate_stored"].tokens.num_tokens == 96
        assert session.memory.num_bytes > 0
    with pytest.raises(UnanswerableError, match="closed"):
        session.ask("What moves?")


def test_inputs_go_through_a_plain_forward_as_well(pair):
    model, processor, clip = pair
    with framegate.open_session(model, processor, clip, fps=FPS, background=False) as session:
        session.advance(1.0)
        inputs = session.inputs("What moves?")
        with torch.no_grad():
            logits = model(**inputs).logits
            generated = model.generate(**inputs, **GENERATE)
    torch.testing.assert_close(logits[:, -1], generated.logits[0], rtol=1e-4, atol=1e-4)


def test_a_part_of_what_is_held_is_asked_about_by_itself(pair):
    model, processor, clip = pair
    with framegate.open_session(model, processor, clip, fps=FPS, background=False) as session:
        while session.advance():
            pass
        part = session.inputs("What moves at {now-1} seconds?", ago_seconds=(1.5, 0.5))
        # tubes begin at 0, 0.5, ... 2.5 seconds; the prompt's clock at the first that is read
        assert part["framegate_stored"].tokens.shapes == ((3, 4, 6),)
        assert "at 0.5 seconds?" in processor.tokenizer.decode(part["input_ids"][0])
        assert isinstance(session.ask("What moves?", ago_seconds=(1.5, 0.5), max_new_tokens=1), str)
        with pytest.raises(ConfigError, match=r"\(0\.5, 1\.5\); the first is longer ago"):
            session.ask("What moves?", ago_seconds=(0.5, 1.5))
        with pytest.raises(UnanswerableError, match="Nothing is held of 9 to 8 seconds ago"):
            session.ask("What moves?", ago_seconds=(9, 8))


def test_pixels_beside_stored_tokens_are_refused(pair):
    model, processor, clip = pair
    with framegate.open_session(model, processor, clip, fps=FPS, background=False) as session:
        session.advance()
        inputs = session.inputs("What moves?")
        with pytest.raises(AttachmentError, match="stands for the one video"):
            model.generate(**inputs, pixel_values_videos=torch.zeros(4, 1536), max_new_tokens=1)


def test_what_happens_on_the_thread_is_raised_where_somebody_asks(pair):
    model, processor, clip = pair

    def segments():
        yield clip
        raise RuntimeError("the recorder is gone")

    with framegate.open_session(model, processor, segments(), fps=FPS) as session:
        with pytest.raises(RuntimeError, match="the recorder is gone"):
            session.wait(timeout_seconds=30)
        with pytest.raises(RuntimeError, match="the recorder is gone"):
            session.ask("What moves?")


def test_every_cell_is_refreshed_though_nothing_changed(pair, tmp_path):
    model, processor, _ = pair
    still = write_clip(
        tmp_path / "still.mp4",
        gradient_frames(1, height_px=128, width_px=192).repeat(16, 0),
        times_ms=range(0, 4000, 250),
    )
    encoded = {}
    for refresh_seconds in (None, 1.0):
        with framegate.open_session(
            model, processor, still, fps=FPS, refresh_seconds=refresh_seconds, background=False
        ) as session:
            while session.advance():
                pass
            encoded[refresh_seconds] = session.memory.tubes[-1].encoded_cells
            # a refreshed cell is no news
            assert sum(int(one.news.sum()) for one in session.memory.tubes[1:]) == 0
    assert encoded == {None: 24, 1.0: 24 * 4}


def test_what_of_the_front_end_stands_aside_is_told(clip_of):
    model, processor = tiny_pair("qwen3_vl")
    settings = {"keep_ratio": 0.5, "motion": "camera", "context": "anchored"}
    with (
        framegate.attach(model, processor, **settings),
        framegate.open_session(model, processor, clip_of(32), background=False) as session,
    ):
        told = " ".join(session.warnings)
    for words in ("keep_ratio of the front end", "'camera' stands aside", "'anchored' stands aside"):
        assert words in told


def test_bad_input_is_refused(pair, tmp_path):
    model, processor, clip = pair
    with pytest.raises(BudgetError, match=r"max_video_tokens is 40.*Give 48 or more"):
        framegate.open_session(model, processor, clip, max_video_tokens=40)
    with pytest.raises(ConfigError, match="fps"):
        framegate.open_session(model, processor, clip, fps=0)
    with pytest.raises(ConfigError, match="source is a int"):
        framegate.open_session(model, processor, 0)
    with pytest.raises(framegate.errors.VideoError, match="none of the segments"):
        framegate.open_session(model, processor, tmp_path / "none.mp4")
    with (
        framegate.open_session(model, processor, clip, background=False) as session,
        pytest.raises(UnanswerableError, match=r"session\.advance\(\)"),
    ):
        session.ask("What moves?")


def test_both_have_to_be_attached_and_times_told(clip_of):
    model, processor = tiny_pair("qwen2_5_vl")
    with pytest.raises(AttachmentError, match=r"framegate\.attach\(model, processor\) first"):
        framegate.open_session(model, processor, clip_of(28))
    with framegate.attach(model), pytest.raises(AttachmentError, match="attach both"):
        framegate.open_session(model, processor, clip_of(28))
    with framegate.attach(model, processor, timestamps=None), pytest.raises(ConfigError, match="no times"):
        framegate.open_session(model, processor, clip_of(28))


def test_a_refresh_goes_by_the_rate_of_a_stream_that_is_open(pair):
    model, processor, clip = pair
    kept = []
    for fps in (4.0, 1.0):
        stream = open_segments([clip], live_fps=4.0)
        settings = {"fps": fps, "refresh_seconds": 1.0, "background": False}
        with framegate.open_session(model, processor, stream, **settings) as session:
            while session.advance():
                pass
            kept.append(session.memory.tubes[-1].encoded_cells)
            assert ("fps 1 is not followed" in " ".join(session.warnings)) == (fps != 4.0)
    assert kept[0] == kept[1]
