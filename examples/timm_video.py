"""Tell clips apart by a vision transformer of timm that encodes what changed: pip install "framegate[timm]".

    python examples/timm_video.py [MODEL] [VIDEO VIDEO ...]

Every video is a class, and windows of two seconds are its clips: an embedding of each, and a linear probe that learns
on every other one. Weights are random; create_model(..., pretrained=True) fetches trained ones.
"""

import sys
from importlib import resources

import timm
import torch

import framegate

ASSETS = resources.files("framegate") / "assets"
WINDOW_SECONDS = 2.0


def windows(video):
    """Start and end of windows that lie side by side, in seconds."""
    with framegate.open_video(video) as stream:
        count = int(stream.info.duration_seconds / WINDOW_SECONDS)
    return [(number * WINDOW_SECONDS, (number + 1) * WINDOW_SECONDS) for number in range(count)]


@torch.inference_mode()
def embedding(tower, video, window):
    """What the head of the model reads of each frame, averaged over the window; and the report."""
    out = tower(tower.plan(video, start_seconds=window[0], end_seconds=window[1]))
    return tower.model.forward_head(out.sequence, pre_logits=True).mean(0), out.report


def probe(clips, labels):
    """A linear classifier of embeddings, learnt in closed form: [N, D] and [N] -> a function of embeddings."""
    middle, targets = clips.mean(0), torch.nn.functional.one_hot(labels).float()
    weights = torch.linalg.lstsq(clips - middle, targets - targets.mean(0)).solution
    return lambda new: ((new - middle) @ weights).argmax(1)


def main(name="vit_tiny_patch16_224", *videos):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0).eval()
    tower = framegate.gate_tower(model, tower_ratio=0.25, fps=4)
    clips, labels = [], []
    for label, video in enumerate(videos or [str(ASSETS / "codes.mp4"), str(ASSETS / "slides.mp4")]):
        for window in windows(video):
            clip, report = embedding(tower, video, window)
            clips.append(clip)
            labels.append(label)
    clips, labels = torch.stack(clips), torch.tensor(labels)
    right = probe(clips[::2], labels[::2])(clips[1::2]) == labels[1::2]
    print(report)
    print(f"{len(clips)} clips of {clips.shape[1]} features; {int(right.sum())} of {len(right)} told apart")


if __name__ == "__main__":
    main(*sys.argv[1:])
