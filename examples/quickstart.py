"""Load a model with a front end, ask about a video, look at the report, take the front end off again.

    python examples/quickstart.py [VIDEO] [QUESTION] [CHECKPOINT]

Without a checkpoint framegate/nano answers, the small model that ships in the package and reads codes in rendered
video.
"""

import sys
from importlib import resources

import framegate

QUESTION = "What text stands at 4.9 seconds?"


def main(video=None, question=QUESTION, checkpoint="framegate/nano"):
    model, processor = framegate.from_pretrained(checkpoint, front_end={"keep_ratio": 0.25, "fps": 4})
    video = video or str(resources.files("framegate") / "assets/codes.mp4")
    content = [{"type": "video", "path": video}, {"type": "text", "text": question}]
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
    front_end = framegate.front_end_of(model)
    print(front_end.report)
    front_end.detach()


if __name__ == "__main__":
    main(*sys.argv[1:4])
