"""Draw what the queries of a trained stage `apollo` read: shares of attention over the cells of one clip.

python docs/make_apollo_picture.py out/apollo/final src/framegate/assets/codes.mp4 --out docs/img/apollo_attention.png
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import framegate
from framegate.models.attachment.learned import module_that_learns

QUERIES = 6


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="of a fine-tuned model with stage apollo")
    parser.add_argument("video")
    parser.add_argument("--question", default="What text stands at 2.0 seconds?")
    parser.add_argument("--clip", type=int, default=1, help="number of the clip that is drawn")
    parser.add_argument("--out", type=Path, default=Path("docs/img/apollo_attention.png"))
    return parser.parse_args()


@torch.inference_mode()
def attention(model, processor, given):
    """Shares [queries, tubes, rows, columns] of the first clips of one size, and their settings."""
    stage = module_that_learns(framegate.front_end_of(model).modules)
    seen = {}
    # weights are only given by the plain implementation
    stage.resampler.perceiver.config._attn_implementation = "eager"
    attend = stage.resampler.perceiver.layers[0].self_attn
    attend.register_forward_hook(lambda module, args, out: seen.update(weights=seen.get("weights", out[1])))
    # a hook that gives something back would replace what it was given
    stage.register_forward_pre_hook(lambda module, args: seen.update(shapes=args[0].shapes))
    message = {
        "role": "user",
        "content": [{"type": "video", "video": given.video}, {"type": "text", "text": given.question}],
    }
    inputs = processor.apply_chat_template(
        [message], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    model(**inputs)
    _, rows, columns = seen["shapes"][0]
    weights = seen["weights"][min(given.clip, len(seen["weights"]) - 1)].mean(0)  # heads
    cells = weights[:, : -weights.shape[0]]  # without the queries themselves
    return cells.unflatten(1, (-1, rows, columns)), stage.config


def frames_of(video, config, front_end, clip, tubes):
    """The first frame of each tube of the clip."""
    fps = front_end.config.frames.to_dict().get("fps") or 2
    plan = framegate.plan_frames(video, "fps", fps=fps)
    first = clip * (config.clip_tubes or 0)
    places = [min(2 * (first + tube), len(plan.indices) - 1) for tube in range(tubes)]
    with framegate.open_video(video) as stream:
        return [frame.pixels for frame in stream.frames(plan.part(torch.tensor(places).unique().numpy()))]


def main():
    """Run one call and draw."""
    given = arguments()
    model, processor = framegate.from_pretrained(given.folder)
    shares, config = attention(model, processor, given)
    chosen = torch.linspace(0, len(shares) - 1, min(QUERIES, len(shares))).round().long().tolist()
    tubes = shares.shape[1]
    frames = frames_of(given.video, config, framegate.front_end_of(model), given.clip, tubes)
    figure = Figure(figsize=(1.7 * (1 + len(chosen)), 1.2 * tubes), layout="constrained")
    axes = figure.subplots(tubes, 1 + len(chosen), squeeze=False)
    for tube in range(tubes):
        axes[tube, 0].imshow(frames[min(tube, len(frames) - 1)])
        axes[tube, 0].set_ylabel(f"tube {tube}", fontsize=8)
        for place, query in zip(axes[tube, 1:], chosen, strict=True):
            place.imshow(shares[query, tube], cmap="magma", vmin=0, vmax=float(shares[query].max()))
            if tube == 0:
                place.set_title(f"query {query}", fontsize=8)
    for place in axes.flat:
        place.set_xticks([])
        place.set_yticks([])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.out, dpi=140)


if __name__ == "__main__":
    main()
