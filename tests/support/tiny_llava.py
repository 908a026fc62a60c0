"""Tiny LLaVA-OneVision: a stock model and a stock processor (it needs torchvision), without any network."""

import numpy as np
import torch
from noted import packed
from tiny import moving_frames
from transformers.modeling_outputs import BaseModelOutputWithPooling

from framegate.models.families import family_of, unwrap
from framegate.models.families.llava_onevision import grid_pinpoints
from framegate.models.mechanism import mechanism_of
from framegate.models.tiny import chat_template, tiny_model, tiny_tokenizer
from framegate.models.towers.grid_geometry import cut_patches, patches_of_cells

HALF = [0.5, 0.5, 0.5]
FAMILY = "llava_onevision"
IMAGE_PX = 104


def llava_model(seed=0, vision=None, text=None, **settings):
    """A model whose configuration has some settings replaced; those that shape weights go before its making."""
    model = tiny_model(FAMILY, seed=seed, weight_std=0.15, vision=vision, text=text)
    if not settings:
        return model
    for name, value in settings.items():
        setattr(model.config, name, value)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        changed = type(model)(model.config)
        for module in changed.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.15)
    return changed.eval()


def llava_processor(image_px=IMAGE_PX):
    """The stock processor, with the mean and spread of SigLIP's checkpoints."""
    import transformers as tf

    size = {"height": image_px, "width": image_px}
    scaling = {"size": size, "image_mean": HALF, "image_std": HALF}
    return tf.LlavaOnevisionProcessor(
        image_processor=tf.LlavaOnevisionImageProcessor(
            image_grid_pinpoints=grid_pinpoints(image_px, 2), **scaling
        ),
        tokenizer=tiny_tokenizer(FAMILY),
        video_processor=tf.LlavaOnevisionVideoProcessor(**scaling),
        num_image_tokens=(image_px // 14) ** 2,
        vision_feature_select_strategy="full",
        chat_template=chat_template(FAMILY),
    )


def llava_inputs(processor, videos, questions, images=None):
    """Ids and masks as the stock processor writes them, and pixels apart, for videos of unlike length.

    The stock processor stacks the videos of a call, so each goes through it alone: "frames" is a list of [F, C, h, w].
    """
    flat = [torch.from_numpy(video).permute(0, 3, 1, 2) for group in videos for video in group]
    frames = [
        processor.video_processor(videos=[video], return_tensors="pt")["pixel_values_videos"][0]
        for video in flat
    ]
    pictures = [picture for group in images or [] for picture in group]
    found = processor.image_processor(pictures, return_tensors="pt") if pictures else {}
    written = iter(
        processor.replace_video_token({"pixel_values_videos": frames}, i) for i in range(len(frames))
    )
    shown = iter(processor.replace_image_token(found, i) for i in range(len(pictures)))
    texts = []
    for row, question in enumerate(questions):
        media = [{"type": "image"} for _ in (images[row] if images else [])]
        media += [{"type": "video"} for _ in videos[row]]
        chat = [{"role": "user", "content": [*media, {"type": "text", "text": question}]}]
        text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        for token, texts_of in (("<image>", shown), ("<video>", written)):
            parts = text.split(token)
            text = parts[0] + "".join(next(texts_of) + part for part in parts[1:])
        texts.append(text)
    ids = processor.tokenizer(texts, return_tensors="pt", padding=True)
    return {"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"], "frames": frames, **found}


def stock_call(inputs):
    """The same call as the stock model takes it; all videos of one length."""
    rest = {name: value for name, value in inputs.items() if name != "frames"}
    return rest | {"pixel_values_videos": torch.stack(inputs["frames"])} if inputs["frames"] else rest


def random_keeps(inputs, ratio, seed=0, cells=4):
    """Per video bool [T, H, W], at least one cell in each."""
    rng = np.random.default_rng(seed)
    keeps = [rng.random((len(frames), cells, cells)) < ratio for frames in inputs["frames"]]
    for keep in keeps:
        keep.flat[0] = True
    return keeps


def kept_rows(frames, keep):
    return cut_patches(frames, 14)[patches_of_cells(torch.from_numpy(keep), frames.shape[-1] // 14)]


def with_keeps(inputs, keeps):
    """The call as an attached processor makes it: patches under kept cells, and its keys."""
    rest = {name: value for name, value in inputs.items() if name != "frames"}
    return rest | {
        "pixel_values_videos": torch.cat(
            [kept_rows(frames, keep) for frames, keep in zip(inputs["frames"], keeps, strict=True)]
        ),
        **packed(keeps, cell_px=28, tube_frames=1),
    }


def token_mask(model, inputs, keeps):
    """bool [B, S]: tokens that stay; the newline after each video does."""
    placeholders = inputs["input_ids"] == model.config.video_token_id
    keep = torch.ones_like(placeholders)
    flat = [np.append(keep.reshape(-1), True) for keep in keeps]
    keep[placeholders] = torch.from_numpy(np.concatenate(flat))
    return keep & inputs["attention_mask"].bool()


def masked_logits(model, inputs, keeps, extra_ids=None):
    """Logits of the stock model on the full prompt, dropped tokens hidden by the attention mask."""
    ids, mask = inputs["input_ids"], token_mask(model, inputs, keeps).long()
    positions = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    if extra_ids is not None:
        ids = torch.cat([ids, extra_ids], 1)
        mask = torch.cat([mask, torch.ones_like(extra_ids)], 1)
        steps = torch.arange(extra_ids.shape[1]) + 1
        positions = torch.cat([positions, positions.amax(1, keepdim=True) + steps], 1)
    media = {"video": BaseModelOutputWithPooling(pooler_output=_features(model, inputs, keeps)[None])}
    if "pixel_values" in inputs:
        media["image"] = model.model.get_image_features(
            inputs["pixel_values"],
            inputs["image_sizes"],
            batch_num_images=inputs["batch_num_images"],
            return_dict=True,
        )
    return model(
        input_ids=ids, attention_mask=mask, position_ids=positions, mm_encoder_outputs=media, use_cache=False
    ).logits


def _features(model, inputs, keeps):
    """One row per placeholder, zeros where it was dropped."""
    parts, tower = [], mechanism_of(model.model, family_of(model))
    for frames, keep in zip(inputs["frames"], keeps, strict=True):
        whole = torch.zeros(keep.size, model.config.text_config.hidden_size)
        flat = torch.from_numpy(keep)
        whole[flat.flatten()] = tower.encode_kept(kept_rows(frames, keep), flat)
        parts += [whole, model.model.image_newline[None]]
    return torch.cat(parts)


def some_pictures():
    from PIL import Image

    return [[], [Image.fromarray(moving_frames(1, 56, 84)[0])]]


def llava_batch(*, images=False, padding_side="left"):
    """Two rows, three videos of different lengths, one row longer than the other."""
    processor = llava_processor()
    processor.tokenizer.padding_side = padding_side
    videos = [[moving_frames()], [moving_frames(6, seed=1), moving_frames(4, 84, 112, seed=2)]]
    return llava_inputs(
        processor, videos, ["What moves?", "And in the second one?"], some_pictures() if images else None
    )


def tower_rows(model):
    """A list that grows by the rows of each pass through the tower's first block."""
    rows = []
    unwrap(model).model.vision_tower.encoder.layers[0].register_forward_pre_hook(
        lambda _, args: rows.append(args[0].shape[0] * args[0].shape[1])
    )
    return rows
