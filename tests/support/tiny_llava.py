"""Tiny LLaVA-OneVision: a stock model and a stock processor (it needs torchvision), without any network."""

import torch

from framegate.models.tiny import tiny_tokenizer
from framegate.models.tiny.builders import _TURN, _spread
from framegate.models.tiny.llava_onevision import (
    IMAGE_PX,
    IMAGE_TOKEN,
    VIDEO_TOKEN,
    grid_pinpoints,
    llava_onevision_config,
)

HALF = [0.5, 0.5, 0.5]
TEMPLATE = _TURN.replace("<|vision_start|><|image_pad|><|vision_end|>", IMAGE_TOKEN).replace(
    "VIDEO", VIDEO_TOKEN
)


def llava_tokenizer():
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN, VIDEO_TOKEN]})
    return tokenizer


def llava_model(seed=0, vision=None, text=None, **settings):
    import transformers as tf

    config = llava_onevision_config(llava_tokenizer(), vision or {}, text or {})
    for name, value in settings.items():
        setattr(config, name, value)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = tf.LlavaOnevisionForConditionalGeneration(config)
        _spread(model, 0.15)
    return model.eval()


def llava_processor(image_px=IMAGE_PX):
    import transformers as tf

    size = {"height": image_px, "width": image_px}
    scaling = {"size": size, "image_mean": HALF, "image_std": HALF}
    return tf.LlavaOnevisionProcessor(
        image_processor=tf.LlavaOnevisionImageProcessor(image_grid_pinpoints=grid_pinpoints(image_px), **scaling),
        tokenizer=llava_tokenizer(),
        video_processor=tf.LlavaOnevisionVideoProcessor(**scaling),
        num_image_tokens=(image_px // 14) ** 2,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
