"""Processors that write timestamps, for the tests of prompts and positions."""

import re
from dataclasses import replace

from PIL import Image
from processor_cases import DENSE
from tiny import moving_frames, stock_inputs, stock_processor

from framegate.models.video_processor import attach_processor
from framegate.tokenizers.timestamps import TimestampsConfig

STAMPED_FAMILIES = ("qwen2_vl", "qwen2_5_vl")
SECONDS, CLOCK = TimestampsConfig(), TimestampsConfig(stamp_format="clock")


def with_stamps(config, timestamps=SECONDS):
    return replace(config, timestamps=timestamps)


def stamped(family, config=DENSE, timestamps=SECONDS):
    processor = stock_processor(family)
    attach_processor(processor, family, with_stamps(config, timestamps).plan)
    return processor


def written(text):
    """The text of a prompt with runs of placeholders shortened to their length."""
    return re.sub(r"(<\|video_pad\|>)+", lambda run: f"[{len(run.group()) // 13}]", text)


def stamps_of(text):
    return re.findall(r"<[-\d.:]+s?>", text)


def mixed_inputs(processor):
    """Two rows: two images before a video; an image before a video of one tube and one of three."""
    picture = Image.fromarray(moving_frames(1, 84, 140)[0])
    videos = [[moving_frames(7)], [moving_frames(2), moving_frames(6, 140, 84)]]
    questions = ["What?", "And how do these two differ?"]
    return stock_inputs(processor, videos, questions, images=[[picture, picture], [picture]])
