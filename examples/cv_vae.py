"""Train CV-VAE small on real clips: an image VAE first, then the video VAE made of it; then a table and a picture.

    pip install "framegate[latents]" matplotlib
    python benchmarks/fetch_clips.py clips
    python examples/cv_vae.py clips --out out/cv_vae

A run that was stopped goes on where it was saved last, under the same settings alone. The last fifth of every clip is
held out; of vtest.avi and vtest_pan.mp4, which is cut out of it, take one.
"""

import argparse
import math
import shlex
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from common import environment, write_csv
from information.metrics import psnr_db, ssim

import framegate
from framegate.errors import ConfigError, FrameError, VideoError
from framegate.models.cv_vae import CausalVideoVAE, decoder_regularisation, encoder_regularisation

FRAMES = 17  # of a window that is measured: five latents in time
SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".webm")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder of videos")
    parser.add_argument("--out", type=Path, default=Path("out/cv_vae"))
    parser.add_argument("--unseen", type=Path, nargs="*", default=[], help="videos that are measured alone")
    parser.add_argument("--short-px", type=int, default=128, help="short side of the frames, a multiple of 8")
    parser.add_argument(
        "--crop-px", type=int, default=64, help="side of what is learnt from, a multiple of 8"
    )
    parser.add_argument(
        "--widths", type=int, nargs=4, default=[32, 32, 64, 64], help="channels of the levels"
    )
    parser.add_argument("--channels", type=int, default=16, help="of a latent: 4 as in SD 2.1, 16 as in SD 3")
    parser.add_argument("--image-steps", type=int, default=6000)
    parser.add_argument("--video-steps", type=int, default=3000)
    parser.add_argument("--image-batch", type=int, default=16)
    parser.add_argument("--video-batch", type=int, default=2)
    parser.add_argument("--clip-frames", type=int, default=9, help="frames learnt from at once, 1 + 4 k")
    parser.add_argument("--decoder-weight", type=float, default=1.0, help="of the image decoder's agreement")
    parser.add_argument("--encoder-weight", type=float, default=0.0, help="of the image encoder's agreement")
    parser.add_argument("--mapping", default="random", choices=["random", "average", "slice", "first"])
    parser.add_argument("--kl-weight", type=float, default=1e-6)
    parser.add_argument(
        "--learning-rate", type=float, default=1e-3, help="of the image VAE; a third for the video's"
    )
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument(
        "--windows", type=int, default=4, help="held-out windows of each clip that are measured"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def videos_of(folder):
    """Videos of a folder, by name."""
    paths = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES)
    if not paths:
        raise VideoError(f"{folder} holds no video ({', '.join(SUFFIXES)}); fetch_clips.py fetches some.")
    return paths


def read_clips(paths, short_px):
    """All frames of videos, uint8 [F, h, w, 3] with sides that 8 divides, by name."""
    clips = {}
    for path in tqdm(paths, desc="reading"):
        with framegate.open_video(path) as stream:
            scale = short_px / min(stream.info.height_px, stream.info.width_px)
            sides = (stream.info.height_px * scale, stream.info.width_px * scale)
            size_px = tuple(round(side / 8) * 8 for side in sides)
            clips[path.name] = np.stack([frame.pixels for frame in stream.frames(size_px=size_px)])
        if len(clips[path.name]) < 5 * FRAMES:
            raise FrameError(
                f"{path} has {len(clips[path.name])} frames; at least {5 * FRAMES} are needed, so that the last fifth "
                f"is a window of {FRAMES}."
            )
    return clips


def parted(clips):
    """What is learnt from and what is held out."""
    starts = {name: len(frames) * 4 // 5 for name, frames in clips.items()}
    return (
        {name: frames[: starts[name]] for name, frames in clips.items()},
        {name: frames[starts[name] :] for name, frames in clips.items()},
    )


def as_pixels(frames, device):
    """uint8 [..., T, h, w, 3] to what a VAE takes, float [..., 3, T, h, w]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).movedim(-1, -4).float() / 127.5 - 1


def as_frames(pixels):
    """And back, [3, T, h, w] to uint8 [T, h, w, 3]."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(-4, -1).cpu().numpy()


def batch_of(clips, rng, *, batch, frames, side_px, device):
    """Clips cut at random in time and place, [B, 3, T, h, w]."""
    cut = []
    for name in rng.choice(sorted(clips), batch):
        whole = clips[name]
        start, top, left = (
            rng.integers(whole.shape[axis] - size + 1) for axis, size in enumerate((frames, side_px, side_px))
        )
        cut.append(whole[start : start + frames, top : top + side_px, left : left + side_px])
    return as_pixels(np.stack(cut), device)


def settings_of(given):
    """What decides on the weights: a run that was saved goes on under these alone."""
    free = {"clips", "unseen", "out", "save_every", "windows", "device"}
    return {name: value for name, value in vars(given).items() if name not in free}


def learn(name, model, loss_of, *, steps, learning_rate, given):
    """Train, saving as it goes; batches and noise of a step depend on the seed and its number alone."""
    path, settings = given.out / f"{name}.pt", settings_of(given)
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    first = 0
    if path.exists():
        saved = torch.load(path, map_location=given.device, weights_only=True)
        was = saved.get("settings", {})
        others = [
            f"{key} {was.get(key)}, not {value}" for key, value in settings.items() if was.get(key) != value
        ]
        if others:
            raise ConfigError(f"{path} was trained with {'; '.join(others)}: give another --out.")
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    bar = tqdm(range(first, steps), desc=name, initial=first, total=steps)
    for step in bar:
        torch.manual_seed(given.seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            # warmed up, then a cosine, as in the paper; a plain float, for no other is read back
            group["lr"] = (
                learning_rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            )
        loss = loss_of(np.random.default_rng([given.seed, step]))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 10 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
        if (step + 1) % given.save_every == 0 or step + 1 == steps:
            part = path.with_suffix(".part")
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save(state | {"step": step + 1, "settings": settings}, part)
            part.replace(path)
    return model.eval()


def kl(mean, log_variance):
    """Kullback-Leibler divergence from a standard normal distribution, a mean over all values."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def drawn(mean, log_variance):
    return mean + torch.randn_like(mean) * (0.5 * log_variance).exp()


def image_vae(clips, given):
    """The image VAE, trained on single frames."""
    torch.manual_seed(given.seed)
    vae = AutoencoderKL(
        block_out_channels=tuple(given.widths),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=given.channels,
        norm_num_groups=8,
    ).to(given.device)

    def loss_of(rng):
        cut = {"batch": given.image_batch, "frames": 1, "side_px": given.crop_px, "device": given.device}
        frames = batch_of(clips, rng, **cut)[:, :, 0]
        spread = vae.encode(frames).latent_dist
        shown = vae.decode(spread.sample()).sample
        return (shown - frames).abs().mean() + given.kl_weight * kl(spread.mean, spread.logvar)

    steps = {"steps": given.image_steps, "learning_rate": given.learning_rate}
    return learn("image_vae", vae, loss_of, **steps, given=given).requires_grad_(False)


def video_vae(image, clips, given):
    """The video VAE, inflated and trained; the image VAE stays as it is."""
    vae = CausalVideoVAE.from_image_vae(image).to(given.device)
    how = {"image_vae": image, "mapping": given.mapping}

    def loss_of(rng):
        cut = {"batch": given.video_batch, "frames": given.clip_frames, "side_px": given.crop_px}
        clip = batch_of(clips, rng, **cut, device=given.device)
        mean, log_variance = vae.moments(clip)
        latents = drawn(mean, log_variance)
        loss = (vae.decode(latents) - clip).abs().mean() + given.kl_weight * kl(mean, log_variance)
        if given.decoder_weight:
            loss = loss + given.decoder_weight * decoder_regularisation(latents, clip, **how)
        if given.encoder_weight:
            loss = loss + given.encoder_weight * encoder_regularisation(clip, video_vae=vae, **how)
        return loss

    steps = {"steps": given.video_steps, "learning_rate": given.learning_rate / 3}
    return learn("video_vae", vae, loss_of, **steps, given=given)


def image_latents(image, clip):
    return image.encode(clip.transpose(0, 1)).latent_dist.mode()


@torch.inference_mode()
def shown_by(image, video, clip):
    """A window [3, T, h, w] as each method shows it, uint8 [T, h, w, 3], with the number of its latents in time."""
    latents = image_latents(image, clip)
    single = image.decode(latents).sample.transpose(0, 1)
    fourth = single[:, ::4]
    share = torch.arange(FRAMES, device=clip.device) / 4
    before, after = share.floor().long(), share.ceil().long()
    blended = torch.lerp(fourth[:, before], fourth[:, after], (share - before)[:, None, None])
    return {
        "image VAE, every frame": (as_frames(single), FRAMES),
        "video VAE": (as_frames(video.decode(video.encode(clip[None]))[0]), 1 + FRAMES // 4),
        "image VAE, every fourth frame, blended": (as_frames(blended), 1 + FRAMES // 4),
        "image VAE, every fourth frame, held": (as_frames(fourth[:, before]), 1 + FRAMES // 4),
    }


@torch.inference_mode()
def drift(image, video, clip):
    """How far single frames' latents are from the image VAE's, as a share of their length."""
    wanted = image_latents(image, clip)
    found = video.encode(clip.transpose(0, 1)[:, :, None])[:, :, 0]
    return float((found - wanted).norm() / wanted.norm())


def motion_error(source, shown):
    """Mean absolute error of the change from frame to frame, in levels of 255: flicker, or motion that is lost."""
    change = [np.diff(frames.astype(np.int16), axis=0) for frames in (source, shown)]
    return float(np.abs(change[0] - change[1]).mean())


def measure(image, video, clips, given):
    """A row for each held-out clip and method; and one window of each clip as every method shows it."""
    rows, windows = [], {}
    for name, frames in tqdm(sorted(clips.items()), desc="measuring"):
        starts = np.linspace(0, len(frames) - FRAMES, given.windows).astype(int)
        parts = [frames[start : start + FRAMES] for start in dict.fromkeys(starts.tolist())]
        pixels = [as_pixels(part, given.device) for part in parts]
        shown = [shown_by(image, video, part) for part in pixels]
        source = np.concatenate(parts)
        windows[name] = parts[0], {method: made for method, (made, _) in shown[0].items()}
        for method, (_, latents) in shown[0].items():
            made = np.concatenate([window[method][0] for window in shown])
            errors = [
                motion_error(part, window[method][0]) for part, window in zip(parts, shown, strict=True)
            ]
            is_video = method == "video VAE"
            rows.append(
                {
                    "clip": name,
                    "method": method,
                    "latents_in_time": latents,
                    "psnr_db": round(psnr_db(source, made), 2),
                    "ssim": round(ssim(source, made), 4),
                    "motion_error": round(float(np.mean(errors)), 3),
                    "drift_of_one_frame": round(drift(image, video, pixels[0]), 4) if is_video else 0.0,
                    "image_steps": given.image_steps,
                    "video_steps": given.video_steps,
                    "seed": given.seed,
                }
            )
    return rows, windows


def draw(windows, path):
    """Each clip's frames 0, 2, 6 and 12 side by side: the source, then every method."""
    from matplotlib.figure import Figure

    numbers = [0, 2, 6, 12]
    for name, (source, shown) in windows.items():
        rows = {"source": source, **shown}
        high = 2.2 * source.shape[1] / source.shape[2] + 0.1
        figure = Figure(figsize=(2.2 * len(numbers), high * len(rows) + 0.2), layout="constrained")
        axes = figure.subplots(len(rows), len(numbers))
        for across, (method, frames) in zip(axes, rows.items(), strict=True):
            for place, number in zip(across, numbers, strict=True):
                place.imshow(frames[number])
                place.set_xticks([])
                place.set_yticks([])
                if method == "source":
                    place.set_title(f"frame {number}", fontsize=8)
            across[0].set_ylabel(method.replace(", ", ",\n"), fontsize=7)
        figure.savefig(path / f"cv_vae_{Path(name).stem}.png", dpi=130)


def main():
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    learnt, held_out = parted(read_clips(videos_of(given.clips), given.short_px))
    image = image_vae(learnt, given)
    video = video_vae(image, learnt, given)
    rows, windows = measure(image, video, held_out | read_clips(given.unseen, given.short_px), given)
    how = {"command": shlex.join(["python", "examples/cv_vae.py", *sys.argv[1:]]), **environment()}
    write_csv(given.out / "cv_vae.csv", [row | how for row in rows])
    draw(windows, given.out)
    image.save_pretrained(given.out / "image_vae")
    video.save_pretrained(given.out / "video_vae")


if __name__ == "__main__":
    main()
