"""Apollo's resampler as a stage: learned queries read the filled grid of every clip, each clip by itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from framegate.errors import ConfigError
from framegate.models.apollo.resampler import Resampler
from framegate.models.stages.apollo import ApolloConfig
from framegate.models.stages.registry import StageCall
from framegate.models.video_tokens import VideoTokens


class ApolloStage(nn.Module):
    """Brings every clip down to the tokens of its queries.

    A token stands at a place of its run: the clip's tokens in their order, cut into as many runs as there are queries.
    Further layers (DeepStack) hold the means of the runs.

    Args:
        settings: clips, queries, and the attention's size.
        width: features of a token.
    """

    def __init__(self, settings: ApolloConfig | None, width: int) -> None:
        super().__init__()
        self.config, self.width = settings or ApolloConfig(), width
        self.resampler = Resampler(
            width,
            queries=self.config.queries,
            depth=self.config.resampler_depth,
            heads=self.config.resampler_heads,
            kv_heads=self.config.resampler_kv_heads,
            head_dim=self.config.resampler_head_dim,
        )
        # of one value, not of no dimension: what shards parameters (FSDP2) needs one to cut
        self.gate = nn.Parameter(torch.zeros(1)) if self.config.pooled_start else None

    def forward(self, tokens: VideoTokens, call: StageCall | None = None) -> VideoTokens:
        """Resample.

        Args:
            tokens: of all videos of a call.
            call: targets, which a video's clips share by their tokens; without any a clip has as many tokens as there
                are queries.

        Returns:
            So many tokens of each clip; all of a clip that has fewer, one query each.

        Raises:
            ConfigError: a target above what the queries give, or tokens of another width.
        """
        call = call or StageCall()
        if tokens.features.shape[1] != self.width:
            raise ConfigError(
                f"The resampler is {self.width} wide and the model's tokens are {tokens.features.shape[1]}: it was "
                "made for another model."
            )
        lengths, counts = [], []
        for number, clips in enumerate(clip_lengths(tokens, self.config.clip_tubes)):
            lengths += clips
            counts += self._counts(call, number, clips)
        pooled = tokens.merged(runs(lengths, counts))
        read = self._read(tokens.features, lengths, counts)
        call.report.stage(
            "apollo"
        ).note = f"{len(lengths):,} clips, {sum(counts):,} queries for {tokens.num_tokens:,} tokens"
        made = read if self.gate is None else pooled.features + self.gate * read
        return pooled.with_features(made.to(tokens.features))

    def _counts(self, call: StageCall, number: int, clips: list[int]) -> list[int]:
        """Tokens to make of each clip of a video."""
        queries, present = self.config.queries, sum(clips)
        if call.targets is None:
            if present and min(clips) < queries:
                call.note(
                    f"apollo: a clip of {min(clips)} tokens has no more than that, and there are {queries} queries"
                )
            return [min(clip, queries) for clip in clips]
        wanted = min(call.targets[number], present)
        ends = [wanted * sum(clips[: last + 1]) // max(present, 1) for last in range(len(clips))]
        shares = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        if call.exact and max(shares, default=0) > queries:
            raise ConfigError(
                f"The budget asks for {max(shares)} tokens of a clip, and apollo.queries is {queries}: raise queries, "
                "lower keep_ratio, or make clips shorter by clip_tubes."
            )
        return [min(share, queries) for share in shares]

    def _read(self, features: Tensor, lengths: list[int], counts: list[int]) -> Tensor:
        """What the queries read, [sum of counts, D]; clips of one size go through together."""
        parts = features.to(self.resampler.perceiver.latents).split(lengths)
        alike: dict[tuple[int, int], list[int]] = {}
        for number, size in enumerate(zip(lengths, counts, strict=True)):
            if size[1]:
                alike.setdefault(size, []).append(number)
        found: dict[int, Tensor] = {}
        for (_, count), numbers in alike.items():
            read = self.resampler(torch.stack([parts[number] for number in numbers]), count=count)
            found |= dict(zip(numbers, read, strict=True))
        return torch.cat([features.new_zeros(0, self.width), *(found[number] for number in sorted(found))])


def clip_lengths(tokens: VideoTokens, clip_tubes: int | None) -> list[list[int]]:
    """Count the tokens of each clip of each video, of clips that have any; a video is one clip for None."""
    found: list[list[int]] = [[] for _ in tokens.shapes]
    clip = torch.zeros_like(tokens.cell) if clip_tubes is None else tokens.tyx[:, 0] // clip_tubes
    places, lengths = torch.stack([tokens.video, clip], 1).unique_consecutive(dim=0, return_counts=True)
    for video, length in zip(places[:, 0].tolist(), lengths.tolist(), strict=True):
        found[video].append(length)
    return found


def runs(lengths: list[int], counts: list[int]) -> Tensor:
    """Cut each of several stretches into so many equal runs, numbered through: int64 [N]; -1 where into none."""
    found, first = [torch.zeros(0, dtype=torch.long)], 0
    for length, count in zip(lengths, counts, strict=True):
        within = torch.arange(length) * count // max(length, 1)
        found.append(first + within if count else torch.full_like(within, -1))
        first += count
    return torch.cat(found)


def load_apollo(path: str | Path, width: int, config: ApolloConfig) -> ApolloStage:
    """Read a stage back from the weights that a front end saved.

    Args:
        path: the safetensors file.
        width: features of a token of the model that it is for.
        config: the settings with which the weights were made.

    Returns:
        The stage, on the CPU, in the weights' dtype.

    Raises:
        ConfigError: no such file, or weights of another width or other settings.
    """
    stage = ApolloStage(config, width)
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise ConfigError(f"The resampler's weights {str(path)!r} cannot be read: {error}") from error
    wanted = {name: tuple(value.shape) for name, value in stage.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != wanted:
        name = sorted(dict(found.items() ^ wanted.items()))[0]
        raise ConfigError(
            f"{str(path)!r} holds weights of another width or other settings: {name} is {found.get(name)} there, and "
            f"{wanted.get(name)} for a width of {width} and {asdict(config)}."
        )
    stage.load_state_dict(weights)
    return stage.to(next(iter(weights.values())).dtype)
