"""The Perceiver resampler: learned queries that read a clip's features, one token each."""

from __future__ import annotations

from torch import Tensor, nn

from framegate.errors import ConfigError


class Resampler(nn.Module):
    """Turns features of any number into the tokens of its queries, by transformers' Perceiver block of Idefics2.

    Keys and values are shared by groups of heads. Queries see the features and one another.

    Args:
        width: of features and tokens.
        queries: tokens that come out, at most.
        depth: blocks.
        heads: of the attention.
        kv_heads: heads of keys and values, which divide the others.
        head_dim: width of a head.

    Raises:
        ConfigError: a number below 1, or heads that kv_heads does not divide.

    Source: Apollo (arXiv 2412.10360): 128 queries a clip, depth 1, 16 heads of 96, 4 of keys and values. Ours: queries
        that start apart from one another, and that the first few can be used alone.
    """

    def __init__(
        self,
        width: int,
        *,
        queries: int = 128,
        depth: int = 1,
        heads: int = 16,
        kv_heads: int = 4,
        head_dim: int = 96,
    ) -> None:
        super().__init__()
        from transformers.models.idefics2.configuration_idefics2 import Idefics2PerceiverConfig
        from transformers.models.idefics2.modeling_idefics2 import Idefics2PerceiverResampler

        if min(width, queries, depth, heads, kv_heads, head_dim) < 1 or heads % kv_heads:
            raise ConfigError(
                f"width {width}, queries {queries}, depth {depth}, heads {heads}, kv_heads {kv_heads} and head_dim "
                f"{head_dim} must be at least 1, and kv_heads must divide heads."
            )
        self.width, self.queries = width, queries
        config = Idefics2PerceiverConfig(
            hidden_size=width,
            resampler_n_latents=queries,
            resampler_depth=depth,
            resampler_n_heads=heads,
            resampler_head_dim=head_dim,
            num_key_value_heads=kv_heads,
        )
        self.perceiver = Idefics2PerceiverResampler(config)
        # transformers starts all of them at ones: equal queries give equal tokens, and learn as one
        nn.init.normal_(self.perceiver.latents)

    def forward(self, features: Tensor, *, count: int | None = None) -> Tensor:
        """Resample features [N, S, width] of N clips into [N, count, width]; all queries for None.

        Raises:
            ConfigError: features of another width, or more tokens than there are queries.
        """
        count = self.queries if count is None else count
        if features.shape[-1] != self.width or not 1 <= count <= self.queries:
            raise ConfigError(
                f"Features are {features.shape[-1]} wide and {count} tokens are asked for; this resampler is "
                f"{self.width} wide and has {self.queries} queries."
            )
        tokens = self.perceiver.latents[:count].expand(len(features), -1, -1)
        for block in self.perceiver.layers:
            tokens = block(tokens, features)
        out: Tensor = self.perceiver.norm(tokens)
        return out
