"""Tell replayed and printed faces from live ones: DLE's frame skipping and its ensemble, each source left out once.

    pip install "framegate[bench]"
    python examples/anti_spoofing.py --out out/anti_spoofing
    python examples/anti_spoofing.py --folders Replay-Attack MSU-MFSD OULU-NPU

Without folders of public sets a rendered stand-in is used: four cameras, live drawn faces and their screens and prints
filmed again; with --clips also what real clips show. It says nothing about faces. Features are kept in the out folder.
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from common import write_csv
from information.features import MEAN, STD, load_network

import framegate
from framegate.errors import ConfigError
from framegate.models.dle import (
    SpoofEnsemble,
    eer_threshold,
    half_total_error,
    leave_one_source_out,
    read_spoof_folder,
)
from framegate.models.dle.protocol import error_rates
from framegate.types import FramePlan, VideoInfo

SIDE_PX, FRAMES, FPS = 128, 150, 25
SUBJECTS = 16  # of each source, a live video and an attack of each
SAMPLINGS = ("clip_stride", "adjacent")
# smaller than the paper's 500, 20 and 1000, for four folds in minutes on a CPU
UNITS = {"bilstm": 32, "gru": 20, "lstm": 64}
# noise, blur, gain of red and blue, and how strong attacks show
CAMERAS = {
    "office": {"noise": 3.0, "blur_px": 0.6, "tint": (1.0, 1.0), "strength": 2.0},
    "lab": {"noise": 6.0, "blur_px": 0.9, "tint": (0.93, 1.08), "strength": 1.6},
    "phone": {"noise": 2.0, "blur_px": 0.4, "tint": (1.06, 0.95), "strength": 1.5},
    "street": {"noise": 8.0, "blur_px": 1.2, "tint": (1.0, 1.05), "strength": 1.8},
}


class Record(NamedTuple):
    source: str
    subject: str
    is_genuine: bool
    features: dict  # by sampling, float32 [T, D]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/anti_spoofing"))
    parser.add_argument(
        "--folders", type=Path, nargs="*", default=[], help="unpacked public sets, a source each"
    )
    parser.add_argument(
        "--clips", type=Path, help="folder of real clips that half of the stand-in's videos show"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--clip-frames", type=int, default=30, help="of which the sampler takes one")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--meta-epochs", type=int, default=150)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    return parser.parse_args()


def chosen(info, clip_frames):
    """Frames by sampling: DLE's, and as many from the start on."""
    plan = framegate.plan_frames(info, "clip_stride", clip_frames=clip_frames)
    return {"clip_stride": plan.indices, "adjacent": np.arange(len(plan.indices))}


@torch.inference_mode()
def described(network, frames):
    """Features of uint8 frames [F, h, w, 3], float32 [F, D]."""
    batch = (torch.from_numpy(np.stack(frames)).float() - MEAN) / STD
    return network(batch.permute(0, 3, 1, 2)).numpy()


# the stand-in


def scene(rng):
    """What a drawn face looks like; all of it stays over the video."""
    tone = rng.uniform(0.45, 1.0)
    # a wall under uneven light
    light = cv2.resize(rng.uniform(110, 190, (3, 3)).astype(np.float32), (SIDE_PX, SIDE_PX))
    backdrop = light[..., None] * np.float32([1.0, 0.98, 0.93])
    return {
        "skin": np.array([225, 180, 150]) * tone,
        "hair": rng.uniform(15, 120, 3),
        "shirt": rng.uniform(30, 220, 3),
        "backdrop": backdrop,
        "pores": rng.normal(0, 4, (SIDE_PX, SIDE_PX, 1)),
        "width_px": rng.uniform(22, 30),
        "length_px": rng.uniform(30, 40),
        "sway": rng.uniform(0.05, 0.2, 2),
        "phase": rng.uniform(0, 6, 4),
        "blinks": rng.integers(10, 40),
    }


def face(look, number):
    """A frame of a drawn face that sways, blinks and talks, float32 [side, side, 3]."""
    frame = look["backdrop"].copy()
    seconds, phase = number / FPS, look["phase"]
    x = SIDE_PX / 2 + 5 * np.sin(2 * np.pi * look["sway"][0] * 4 * seconds + phase[0])
    y = SIDE_PX / 2 + 3 * np.sin(2 * np.pi * look["sway"][1] * 4 * seconds + phase[1])
    wide, long = look["width_px"], look["length_px"]

    def ellipse(dx, dy, half_wide, half_long, colour):
        centre, axes = (
            (round((x + dx) * 16), round((y + dy) * 16)),
            (round(half_wide * 16), round(half_long * 16)),
        )
        cv2.ellipse(frame, centre, axes, 0, 0, 360, tuple(map(float, colour)), -1, cv2.LINE_8, 4)

    ellipse(0, long + 26, wide * 1.9, 26, look["shirt"])
    ellipse(0, -6, wide * 1.12, long * 1.05, look["hair"])
    ellipse(0, 0, wide, long, look["skin"])
    turn = 2 * np.sin(2 * np.pi * 0.3 * seconds + phase[2])
    is_shut = (number + look["blinks"]) % 45 < 4
    for side in (-1, 1):
        ellipse(side * wide * 0.42 + turn, -long * 0.18, 4.5, 0.8 if is_shut else 2.8, (245, 245, 245))
        ellipse(side * wide * 0.42 + turn * 1.3, -long * 0.18, 1.8, 0.8 if is_shut else 2.2, (40, 30, 25))
    ellipse(turn, long * 0.12, 2.6, 5.5, look["skin"] * 0.85)
    opened = 1.2 + 2.2 * abs(np.sin(2 * np.pi * 1.7 * seconds + phase[3]))
    ellipse(turn * 0.8, long * 0.5, wide * 0.34, opened, (150, 60, 60))
    return frame + look["pores"]


def tricks(rng, strength):
    """How an attack shows: on a screen or as a print, each sign more or less strong."""
    return {
        "is_print": rng.random() < 0.4,
        "moire": strength * rng.uniform(0.02, 0.06),
        "pitch": rng.uniform(0.11, 0.23, 2),
        "drift": rng.uniform(0.02, 0.3),
        "flicker": strength * rng.uniform(0.01, 0.05),
        "flicker_hz": rng.uniform(3, 11),
        "border": rng.random() < 0.35,
        "inset_px": rng.integers(4, 12),
        "gamma": 1 + strength * rng.uniform(0.05, 0.25),
        "wash": strength * rng.uniform(0.04, 0.18),
        "shake": rng.uniform(0.3, 1.2),
        "phase": rng.uniform(0, 6, 3),
    }


def filmed_again(content, number, how):
    """A frame of a screen or a print that shows `content(number)`, float32."""
    seconds = number / FPS
    shown = content(0 if how["is_print"] else number)
    shown = 255 * np.clip(shown / 255, 0, 1) ** how["gamma"]
    shown = shown * (1 - how["wash"]) + how["wash"] * (200 if how["is_print"] else 90)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32)
    if not how["is_print"]:
        wave = 2 * np.pi * (how["pitch"][0] * columns + how["pitch"][1] * rows + how["drift"] * number)
        grating = np.stack([np.cos(wave + how["phase"][0] + shift) for shift in (0, 0.7, 1.4)], -1)
        band = np.sin(2 * np.pi * (1.5 * rows / SIDE_PX + how["flicker_hz"] * seconds))[..., None]
        shown = shown * (1 + how["moire"] * grating + how["flicker"] * band)
    if how["border"]:
        edge = how["inset_px"]
        inner = cv2.resize(shown.astype(np.float32), (SIDE_PX - 2 * edge, SIDE_PX - edge))
        shown = np.full_like(shown, 225 if how["is_print"] else 25)
        shown[edge:, edge:-edge] = inner
    shift = how["shake"] * np.sin(2 * np.pi * 0.9 * seconds + how["phase"][1:])
    return cv2.warpAffine(
        shown.astype(np.float32),
        np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]),
        (SIDE_PX, SIDE_PX),
        borderMode=cv2.BORDER_REPLICATE,
    )


def through(camera, frame, rng):
    """A frame as a camera gives it, uint8."""
    frame = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), camera["blur_px"])
    frame = frame * np.float32([camera["tint"][0], 1, camera["tint"][1]])
    return np.clip(frame + rng.normal(0, camera["noise"], frame.shape), 0, 255).astype(np.uint8)


def real_content(folder):
    """Middles of the first frames of real clips, uint8 [F, side, side, 3] each."""
    found = []
    for path in sorted(folder.glob("*")) if folder else []:
        if path.suffix not in (".avi", ".mp4", ".mov"):
            continue
        with framegate.open_video(path) as stream:
            height, width = stream.info.height_px, stream.info.width_px
            size_px = tuple(round(side * SIDE_PX / min(height, width)) for side in (height, width))
            frames = stream.frames(size_px=size_px)
            middle = (size_px[1] - SIDE_PX) // 2
            found.append(
                np.stack([next(frames).pixels[:SIDE_PX, middle : middle + SIDE_PX] for _ in range(FRAMES)])
                if len(stream.info.frame_times_seconds) >= FRAMES
                else np.stack([frame.pixels[:SIDE_PX, middle : middle + SIDE_PX] for frame in frames])
            )
    if folder and len(found) < len(CAMERAS):
        raise ConfigError(
            f"{folder} holds {len(found)} videos, and there are {len(CAMERAS)} sources: give one each, or a source "
            "that is left out shows what was learnt from."
        )
    return found


def stand_in(seed, subjects, clips):
    """Source, subject, kind, and a function from a frame's number to that frame, of every rendered video."""
    for place, (source, camera) in enumerate(CAMERAS.items()):
        for subject in range(subjects):
            for is_genuine in (True, False):
                rng = np.random.default_rng([seed, place, subject, is_genuine])
                look, how = scene(rng), tricks(rng, camera["strength"])
                # a clip of its own for each source; of fetch_clips.py's, vtest_pan.mp4 is cut out of vtest.avi
                clip = clips[place] if clips and subject % 2 else None

                def content(number, look=look, clip=clip):
                    if clip is None:
                        return face(look, number)
                    back_and_forth = number % (2 * len(clip) - 2)
                    return clip[min(back_and_forth, 2 * len(clip) - 2 - back_and_forth)].astype(np.float32)

                def frame(number, content=content, how=how, is_genuine=is_genuine, camera=camera, rng=rng):
                    shown = content(number) if is_genuine else filmed_again(content, number, how)
                    return through(camera, shown, rng)

                yield source, str(subject), is_genuine, frame


def rendered_records(seed, given, network, clips):
    """Features of the stand-in, kept in a file of the seed."""
    shown = hashlib.blake2b(b"".join(clip.tobytes() for clip in clips), digest_size=6).hexdigest()
    path = given.out / f"features_{seed}_{given.subjects}_{given.clip_frames}_{shown}.pt"
    if path.exists():
        return [Record(*values) for values in torch.load(path, weights_only=False)]
    info = VideoInfo(
        source=None,
        width_px=SIDE_PX,
        height_px=SIDE_PX,
        frame_times_seconds=np.arange(FRAMES) / FPS,
        duration_seconds=FRAMES / FPS,
        codec="raw",
    )
    numbers, records = chosen(info, given.clip_frames), []
    videos = list(stand_in(seed, given.subjects, clips))
    for source, subject, is_genuine, frame in tqdm(videos, desc=f"rendering, seed {seed}"):
        features = {
            name: described(network, [frame(number) for number in numbers[name]]) for name in SAMPLINGS
        }
        records.append(Record(source, subject, is_genuine, features))
    torch.save([tuple(record) for record in records], path)
    return records


def folder_records(folders, given, network):
    """Features of public sets."""
    videos = [video for folder in folders for video in read_spoof_folder(folder)]
    records = []
    for video in tqdm(videos, desc="reading"):
        with framegate.open_video(video.path) as stream:
            features = {}
            for name, numbers in chosen(stream.info, given.clip_frames).items():
                plan = FramePlan.from_indices(numbers, stream.info.frame_times_seconds)
                frames = stream.frames(plan, size_px=(224, 224))
                features[name] = described(network, [frame.pixels for frame in frames])
        records.append(Record(video.source, video.subject, video.is_genuine, features))
    return records


def pairs(records, sampling):
    """Features and kinds, as the ensemble takes them."""
    return (
        [torch.from_numpy(record.features[sampling]) for record in records],
        [record.is_genuine for record in records],
    )


def judge(records, given, seed):
    """A row for each source left out, sampling and network; and all scores, by sampling and network."""
    rows, scores = [], {}
    for left_out, is_test in leave_one_source_out([record.source for record in records]):
        test = [record for record, out in zip(records, is_test, strict=True) if out]
        rest = [record for record, out in zip(records, is_test, strict=True) if not out]
        # half of the others' subjects, drawn, are development data: the meta-learner learns from it alone
        names = sorted({(record.source, record.subject) for record in rest})
        drawn = np.random.default_rng(seed).permutation(len(names))[: len(names) // 2]
        held = {names[number] for number in drawn}
        development = [record for record in rest if (record.source, record.subject) in held]
        train = [record for record in rest if (record.source, record.subject) not in held]
        for sampling in SAMPLINGS:
            ensemble = SpoofEnsemble(train[0].features[sampling].shape[1], units=UNITS).fit(
                pairs(train, sampling),
                pairs(development, sampling),
                epochs=given.epochs,
                meta_epochs=given.meta_epochs,
                learning_rate=given.learning_rate,
                check_every=5,
                seed=seed,
            )
            with torch.no_grad():
                judged = ensemble(pairs(development, sampling)[0])
                found = ensemble(pairs(test, sampling)[0])
            genuine, wanted = pairs(test, sampling)[1], pairs(development, sampling)[1]
            for name in found:
                threshold = eer_threshold(judged[name].tolist(), wanted)
                scores.setdefault((sampling, name), []).append((found[name].numpy(), np.array(genuine)))
                rows.append(
                    {
                        "seed": seed,
                        "left_out": left_out,
                        "sampling": sampling,
                        "network": name,
                        "videos": len(test),
                        "threshold": round(threshold, 4),
                        "hter_percent": round(half_total_error(found[name].tolist(), genuine, threshold), 2),
                    }
                )
    return rows, scores


def summary(rows):
    """Mean HTER of each sampling and network, by seed and over all."""
    print(f"{'sampling':12} {'network':9} HTER %, by seed and all")
    for sampling in SAMPLINGS:
        for network in dict.fromkeys(row["network"] for row in rows):
            mine = [row for row in rows if (row["sampling"], row["network"]) == (sampling, network)]
            seeds = sorted({row["seed"] for row in mine})
            each = [np.mean([row["hter_percent"] for row in mine if row["seed"] == seed]) for seed in seeds]
            print(
                f"{sampling:12} {network:9} {'  '.join(f'{one:5.1f}' for one in each)}  {np.mean(each):5.1f}"
            )


def draw_roc(scores, path):
    """ROC over all videos, sources and seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="attacks accepted", ylabel="live videos accepted")
    for (sampling, name), parts in scores.items():
        if sampling == "adjacent" and name != "ensemble":
            continue
        found, genuine = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
        edges = np.concatenate([[-1.0], np.unique(found)])
        accepted, refused = error_rates(found.astype(np.float64), genuine, edges)
        label = name if sampling == "clip_stride" else f"{name}, adjacent frames"
        wide = {"ensemble": 2.5}.get(name, 1.2)
        axes.plot(
            accepted,
            1 - refused,
            label=label,
            linewidth=wide,
            linestyle="-" if sampling != "adjacent" else ":",
        )
    axes.plot([0, 1], [1, 0], color="0.8", linewidth=0.8, zorder=0)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=150)


def draw_stand_in(path):
    """A live video and an attack of each camera, with the attack twelve frames later."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    axes = figure.subplots(3, len(CAMERAS))
    shown = {}
    for source, subject, is_genuine, frame in stand_in(0, 2, []):
        if subject == "1":
            shown[source, is_genuine] = frame
    for column, source in enumerate(CAMERAS):
        for row, (is_genuine, number) in enumerate(((True, 0), (False, 0), (False, 12))):
            axes[row, column].imshow(shown[source, is_genuine](number))
            axes[row, column].set_xticks([])
            axes[row, column].set_yticks([])
            axes[0, column].set_title(source, fontsize=9)
    for row, text in enumerate(("live", "attack", "attack,\n12 frames later")):
        axes[row, 0].set_ylabel(text, fontsize=9)
    figure.savefig(path, dpi=130)


def main():
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = load_network()
    clips = real_content(given.clips)
    fixed = folder_records(given.folders, given, network) if given.folders else None
    rows, scores = [], {}
    for seed in given.seeds:
        records = fixed or rendered_records(seed, given, network, clips)
        found, judged = judge(records, given, seed)
        rows += found
        for key, parts in judged.items():
            scores.setdefault(key, []).extend(parts)
    write_csv(given.out / "anti_spoofing.csv", rows)
    summary(rows)
    draw_roc(scores, given.out / "anti_spoofing_roc.png")
    if not given.folders:
        draw_stand_in(given.out / "anti_spoofing_stand_in.png")


if __name__ == "__main__":
    main()
