"""Attach a front end to a model, ask about a video, look at the report, take it off again.

    python examples/quickstart.py [VIDEO] [CHECKPOINT]

Without a checkpoint a tiny randomly initialised model answers: its words mean nothing, its token counts are real.
"""

import sys
from importlib import resources

import transformers

import framegate
from framegate.models.tiny import tiny_pair


def load(checkpoint):
    if checkpoint is None:
        return tiny_pair("qwen2_5_vl")
    model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint, dtype="auto")
    return model, transformers.AutoProcessor.from_pretrained(checkpoint)


def main(video=None, checkpoint=None):
    model, processor = load(checkpoint)
    video = video or str(resources.files("framegate") / "assets/slides.mp4")
    content = [{"type": "video", "path": video}, {"type": "text", "text": "What is the order code?"}]

    with framegate.attach(model, processor, keep_ratio=0.25) as front_end:
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        out = model.generate(**inputs, max_new_tokens=16)
        answer = out[:, inputs["input_ids"].shape[1] :]
        print(repr(processor.batch_decode(answer, skip_special_tokens=True)[0]))
        print(front_end.report)
    assert framegate.front_end_of(model) is None


if __name__ == "__main__":
    main(*sys.argv[1:3])
