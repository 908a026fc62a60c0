"""The spatiotemporal module: a trainable residual over time and place, zero at first; and its weights as a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from framegate.errors import ConfigError
from framegate.models.stages.registry import StageCall
from framegate.models.stages.spatiotemporal import SpatiotemporalConfig
from framegate.models.video_tokens import VideoTokens, first_tubes, tokens_per_tube, tube_means, tube_of_token


class SpatiotemporalModule(nn.Module):
    """Tells tokens what the other tubes of their video show, and where in the picture they stand.

    z = y + g_time * attention(norm(tube means + time))[tube] + g_space * (row + column). Both gates start at 0: the
    module then leaves every bit as it is, and the gates have gradients, so that it can be trained.

    Args:
        settings: heads, and sides that have embeddings of their own.
        width: features of a token, D; a multiple of settings.time_heads.

    Raises:
        ConfigError: a width that is no multiple of time_heads.

    Source: ours; KFFocus (arXiv 2508.08989) names the module, and its details were not recovered.
    """

    def __init__(self, settings: SpatiotemporalConfig | None, width: int) -> None:
        super().__init__()
        config = settings or SpatiotemporalConfig()
        if width < 1 or width % config.time_heads:
            raise ConfigError(
                f"spatiotemporal.time_heads is {config.time_heads}; it must divide the model's width of {width}."
            )
        self.width, self.config = width, config
        self.norm = nn.LayerNorm(width)
        self.attention = TimeAttention(width, config.time_heads)
        self.rows = nn.Parameter(torch.randn(config.max_side, width) * width**-0.5)
        self.columns = nn.Parameter(torch.randn(config.max_side, width) * width**-0.5)
        # of one value, not of no dimension: what shards parameters (FSDP2) needs one to cut
        self.time_gate = nn.Parameter(torch.zeros(1))
        self.space_gate = nn.Parameter(torch.zeros(1))

    def forward(self, tokens: VideoTokens, call: StageCall | None = None) -> VideoTokens:
        """Add what time and space tell to what enters the language model.

        Args:
            tokens: tokens of all videos, as wide as the module.
            call: `times_seconds` of each tube, [T] for each video; without them the tube's number is taken, and noted.

        Returns:
            The same tokens with other features, in their dtype; the other layers stay. Each video as if it were alone.

        Raises:
            ConfigError: tokens of another width, or not one time per tube.
        """
        call = call or StageCall()
        times_seconds = call.times_seconds
        if times_seconds is None:
            call.note("spatiotemporal counts tubes: the call does not say their times.")
        if tokens.features.shape[1] != self.width:
            raise ConfigError(
                f"The spatiotemporal module is {self.width} wide and the model's tokens are "
                f"{tokens.features.shape[1]}: it was made for another model."
            )
        added = self.time_gate * self._over_time(tokens, times_seconds) + self.space_gate * self._in_space(
            tokens
        )
        return tokens.with_features(tokens.features + added.to(tokens.features))

    def _over_time(self, tokens: VideoTokens, times_seconds: Sequence[Tensor] | None) -> Tensor:
        """What each token's tube learns from the tubes of its video that hold tokens, [N, D]."""
        starts, times = first_tubes(tokens), _times(tokens, times_seconds)
        means = tube_means(tokens).to(self.rows)
        # in float32 whatever the weights are: half an hour in bfloat16 is right to 8 seconds
        moments = time_embedding(torch.cat(times).to(means.device, torch.float32), self.width).to(means)
        learned = torch.zeros_like(means)
        present = tokens_per_tube(tokens) > 0
        for first, behind in zip(starts, starts[1:], strict=False):
            mine = (present[first:behind].nonzero()[:, 0] + first).to(means.device)
            if len(mine):
                seen = self.norm(means[mine] + moments[mine])[None]  # [1, S, D]
                learned = learned.index_put((mine,), self.attention(seen[0]))
        return learned[tube_of_token(tokens).to(means.device)]

    def _in_space(self, tokens: VideoTokens) -> Tensor:
        """Row and column embedding of each token, [N, D]."""
        found, (video, place) = [], (tokens.video, tokens.tyx.to(self.rows.device))
        for number, (_, rows, columns) in enumerate(tokens.shapes):
            _, row, column = place[(video == number).to(place.device)].T
            found.append(side_embedding(self.rows, row, rows) + side_embedding(self.columns, column, columns))
        return torch.cat(found)


class TimeAttention(nn.Module):
    """Attention of the tubes of one video with one another, by weights of its own names and by no linear layer.

    Adapters aimed at linear layers, or at those of a language model by name (PEFT's "all-linear", "out_proj"), leave it
    alone.

    Args:
        width: features of a tube.
        heads: of the attention; width is a multiple.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        start = nn.MultiheadAttention(width, heads)
        self.heads = heads
        self.in_proj_weight, self.in_proj_bias = start.in_proj_weight, start.in_proj_bias
        self.out_proj_weight, self.out_proj_bias = start.out_proj.weight, start.out_proj.bias

    def forward(self, tubes: Tensor) -> Tensor:
        """Attend, [S, width] -> [S, width]."""
        query, key, value = (
            part.unflatten(1, (self.heads, -1)).transpose(0, 1)
            for part in nn.functional.linear(tubes, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=1)
        )
        seen = nn.functional.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        return nn.functional.linear(seen.transpose(0, 1).flatten(1), self.out_proj_weight, self.out_proj_bias)


def _times(tokens: VideoTokens, times_seconds: Sequence[Tensor] | None) -> list[Tensor]:
    """Time of each tube of each video, checked; the tubes' numbers where none are given."""
    tubes = [shape[0] for shape in tokens.shapes]
    if times_seconds is None:
        return [torch.arange(count) for count in tubes]
    if [tuple(times.shape) for times in times_seconds] != [(count,) for count in tubes]:
        raise ConfigError(
            f"times_seconds are {[tuple(times.shape) for times in times_seconds]}; the videos have {tubes} tubes, and "
            "each tube needs one time."
        )
    return list(times_seconds)


LONGEST_SECONDS = 10_000.0


def time_embedding(times_seconds: Tensor, width: int) -> Tensor:
    """Sines and cosines of the time, [S] -> [S, width].

    Wavelengths run from 2 pi seconds to 2 pi times 10,000, as in Vaswani et al. (arXiv 1706.03762), so that seconds
    and hours can both be told apart; an odd last value is 0.
    """
    half = width // 2
    steps = torch.arange(half, device=times_seconds.device, dtype=times_seconds.dtype) / max(half, 1)
    angle = times_seconds[:, None] * torch.exp(-math.log(LONGEST_SECONDS) * steps)
    found = torch.cat([angle.sin(), angle.cos()], dim=1)
    return torch.nn.functional.pad(found, (0, width - 2 * half))


def side_embedding(table: Tensor, position: Tensor, side: int) -> Tensor:
    """Embedding of rows or columns at `position`, int64 [n] in [0, side), from a table [max_side, D]: [n, D].

    For sides longer than the table linearly interpolated, its ends on the grid's ends.
    """
    if side <= len(table):
        return table[position]
    place = position.to(table) * ((len(table) - 1) / (side - 1))
    below = place.floor().long().clamp(max=len(table) - 2)
    return torch.lerp(table[below], table[below + 1], (place - below)[:, None])


# as 0.1 wrote them, its gates of no dimension
_NAMES_TO_0_1 = {f"attention.out_proj.{part}": f"attention.out_proj_{part}" for part in ("weight", "bias")}


def load_spatiotemporal(path: str | Path, width: int, config: SpatiotemporalConfig) -> SpatiotemporalModule:
    """Read a module back from the weights that a front end saved.

    Args:
        path: the safetensors file.
        width: features of a token of the model that it is for.
        config: the settings with which the weights were made.

    Returns:
        The module, on the CPU, in the weights' dtype.

    Raises:
        ConfigError: no such file, one that holds no such weights, weights of another width, or another max_side.
    """
    module = SpatiotemporalModule(config, width)
    try:
        weights = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise ConfigError(
            f"The spatiotemporal module's weights {str(path)!r} cannot be read: {error}"
        ) from error
    wanted = module.state_dict()
    weights = {_NAMES_TO_0_1.get(name, name): weight for name, weight in weights.items()}
    weights = {name: weight.reshape(1) if weight.ndim == 0 else weight for name, weight in weights.items()}
    if weights.keys() != wanted.keys():
        raise ConfigError(
            f"{str(path)!r} holds {sorted(weights)}; the spatiotemporal module's weights are {sorted(wanted)}."
        )
    max_side, found = weights["rows"].shape
    if found != width:
        raise ConfigError(
            f"{str(path)!r} holds weights of another width: they were trained for {found} features per token, and this "
            f"model has {width}. Use the model that they were trained on, or train them anew."
        )
    if max_side != config.max_side:
        raise ConfigError(
            f"spatiotemporal.max_side is {config.max_side} and {str(path)!r} was made with {max_side}: "
            f"set max_side={max_side}."
        )
    module.load_state_dict(weights)
    return module.to(weights["rows"].dtype)
