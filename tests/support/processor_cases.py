"""What the tests of the video processor share."""

from framegate.configs.loader import load_config
from framegate.models.towers.patches import PatchLayout

DENSE, GATE = load_config("dense"), load_config("gate")
LAYOUT = PatchLayout(
    patch_size_px=14, temporal_patch_size=2, merge_size=2, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
)


def chat(processor, blocks, **options):
    messages = [{"role": "user", "content": [*blocks, {"type": "text", "text": "What moves?"}]}]
    return processor.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", **options
    )


def text_of(processor, inputs):
    return processor.tokenizer.decode(inputs["input_ids"][0])
