"""The spoof ensemble: three recurrent networks over frames' features, and a fourth that reads what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from framegate.errors import ConfigError, FrameError
from framegate.models.dle.protocol import check_both_kinds

# hidden units as in the paper's code
PAPER_UNITS: Mapping[str, int] = MappingProxyType({"bilstm": 500, "gru": 20, "lstm": 1000})
META_UNITS = 20
_GENUINE = 1
# a label that no loss counts
_NO_FRAME = -100


class SpoofEnsemble(nn.Module):
    """Scores videos by how genuine their faces look, from the features of a few frames of each.

    A BiLSTM, a GRU and an LSTM each tell genuine from attack at every frame; their probabilities are added up, and a
    small LSTM, the meta-learner, reads the sums of a video in order. It learns on the development data.

    Args:
        features: width of a frame's features.
        units: hidden units of "bilstm", "gru" and "lstm"; those of the paper.

    Raises:
        ConfigError: a width or number of units below 1, or other networks.

    Source: DLE (arXiv 2307.02858) and its released code. Ours: each video is a sequence of its own, where the code
        reads all frames of a split as one; features are scaled by the training data; frames' scores are averaged.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, *, units: Mapping[str, int] = PAPER_UNITS) -> None:
        super().__init__()
        if features < 1 or units.keys() != PAPER_UNITS.keys() or min(units.values()) < 1:
            raise ConfigError(
                f"features is {features} and units {dict(units)}; give a width, and units for {', '.join(PAPER_UNITS)}."
            )
        self.features = features
        self.networks = nn.ModuleDict(
            {
                "bilstm": _Recurrent(nn.LSTM, features, units["bilstm"], both_ways=True),
                "gru": _Recurrent(nn.GRU, features, units["gru"]),
                "lstm": _Recurrent(nn.LSTM, features, units["lstm"], he=False),
            }
        )
        self.meta = _Recurrent(nn.LSTM, 2, META_UNITS)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def forward(self, videos: Sequence[Tensor]) -> dict[str, Tensor]:
        """Score videos.

        Args:
            videos: features of the frames of each, float [T, features], T at least 1.

        Returns:
            Probability that each video is genuine, float [N], by each network's name, by "sum", the mean of the three,
            and by "ensemble", the meta-learner.

        Raises:
            FrameError: no video, one without a frame, or features of another width or that are no finite numbers.
        """
        rows, lengths = self._batch(videos)
        each = self._each(rows, lengths)
        summed = torch.stack(list(each.values())).sum(0)
        found = each | {"sum": summed / len(each), "ensemble": self.meta(summed, lengths).softmax(-1)}
        return {name: _over_frames(shares[..., _GENUINE], lengths) for name, shares in found.items()}

    def fit(
        self,
        train: tuple[Sequence[Tensor], Sequence[bool]],
        development: tuple[Sequence[Tensor], Sequence[bool]],
        *,
        epochs: int = 1500,
        meta_epochs: int = 100,
        learning_rate: float = 1e-4,
        check_every: int = 30,
        patience: int = 3,
        seed: int = 13,
        progress: Callable[[str], Any] | None = None,
    ) -> SpoofEnsemble:
        """Train the networks on training data and the meta-learner on development data, deterministically.

        Args:
            train: features of each video and whether it is genuine.
            development: the same of other videos: each network keeps its state of the lowest loss there.
            epochs: passes of each network, at most; as the paper's code, like what follows.
            meta_epochs: passes of the meta-learner.
            learning_rate: of Adam.
            check_every: passes between two looks at the development data.
            patience: looks without improvement after which a network stops.
            seed: of weights' starts; the caller's generator is left alone.
            progress: told the name of each network before it learns.

        Returns:
            Itself, in evaluation mode.

        Raises:
            ConfigError: data of one kind alone, labels that do not fit, or settings below 1.
            FrameError: as `forward`.
        """
        if min(epochs, meta_epochs, check_every, patience) < 1:
            raise ConfigError(
                f"epochs {epochs}, meta_epochs {meta_epochs}, check_every {check_every} and patience {patience} must "
                "be 1 or more."
            )
        labels, wanted = _labels(train, "training data"), _labels(development, "development data")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in (*self.networks.values(), self.meta):
                module.reset_parameters()  # type: ignore[operator]
        self._batch(train[0])
        whole = torch.cat(list(train[0])).float()
        self.mean.copy_(whole.mean(0))
        # a feature that never changes stays where it is
        self.deviation.copy_(whole.std(0, correction=0).clamp(min=1e-6))
        learnt, judged = self._batch(train[0]), self._batch(development[0])
        for name, network in self.networks.items():
            if progress is not None:
                progress(name)
            _learn(
                network,
                (*learnt, labels),
                (*judged, wanted),
                epochs=epochs,
                learning_rate=learning_rate,
                check_every=check_every,
                patience=patience,
            )
        if progress is not None:
            progress("meta-learner")
        with torch.no_grad():
            summed = torch.stack(list(self._each(*judged).values())).sum(0)
        meta = (summed, judged[1], wanted)
        _learn(
            self.meta,
            meta,
            meta,
            epochs=meta_epochs,
            learning_rate=learning_rate,
            check_every=meta_epochs,
            patience=patience,
        )
        return self.eval()

    def _each(self, rows: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Probabilities [N, T, 2] of each network."""
        return {name: network(rows, lengths).softmax(-1) for name, network in self.networks.items()}

    def _batch(self, videos: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Scaled features side by side [N, T, features], and lengths int64 [N]."""
        if len(videos) == 0:
            raise FrameError("There is no video to score.")
        for number, video in enumerate(videos):
            if video.ndim != 2 or video.shape[1] != self.features or len(video) == 0:
                raise FrameError(
                    f"Video {number} has features {tuple(video.shape)}; this ensemble reads [T, {self.features}], T at "
                    "least 1. A video shorter than a clip of the sampler gives one frame."
                )
            if not torch.isfinite(video).all():
                raise FrameError(
                    f"Video {number} has features that are no finite numbers; look for frames that could not be read."
                )
        scaled = [(video.to(self.mean) - self.mean) / self.deviation for video in videos]
        return pad_sequence(scaled, batch_first=True), torch.tensor([len(video) for video in videos])


class _Recurrent(nn.Module):
    """A recurrent layer and a linear one: genuine or attack at every frame.

    Args:
        kind: nn.LSTM or nn.GRU.
        width: of what it reads.
        units: hidden ones.
        both_ways: it reads from the end as well.
        he: He's initialisation, as in the paper's code; torch's own otherwise.
    """

    def __init__(
        self,
        kind: type[nn.LSTM | nn.GRU],
        width: int,
        units: int,
        *,
        both_ways: bool = False,
        he: bool = True,
    ) -> None:
        super().__init__()
        self.he = he
        self.layer = kind(width, units, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(units * (2 if both_ways else 1), 2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        self.layer.reset_parameters()
        self.head.reset_parameters()
        if self.he:
            for name, weight in [*self.layer.named_parameters(), ("weight", self.head.weight)]:
                if "weight" in name:
                    nn.init.kaiming_normal_(weight)

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Logits [N, T, 2] of sequences [N, T, width]; nothing behind a sequence's end is read."""
        packed = pack_padded_sequence(rows, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(
            self.layer(packed)[0], batch_first=True, total_length=int(rows.shape[1])
        )
        out: Tensor = self.head(states)
        return out


def _learn(
    network: nn.Module,
    train: tuple[Tensor, Tensor, Tensor],
    judged: tuple[Tensor, Tensor, Tensor],
    *,
    epochs: int,
    learning_rate: float,
    check_every: int,
    patience: int,
) -> None:
    """Train one network; it keeps the state that was best on the judged data."""
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    best, kept, waited = float("inf"), deepcopy(network.state_dict()), 0
    network.train()
    for epoch in range(1, epochs + 1):
        loss = _loss(network, *train)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if epoch % check_every and epoch != epochs:
            continue
        with torch.no_grad():
            found = float(_loss(network, *judged))
        waited = 0 if found < best else waited + 1
        if found < best:
            best, kept = found, deepcopy(network.state_dict())
        if waited == patience:
            break
    network.load_state_dict(kept)


def _loss(network: nn.Module, rows: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over all frames that are there."""
    logits = network(rows, lengths)
    wanted = labels.to(logits.device)[:, None].where(_is_frame(rows, lengths), _NO_FRAME)
    return nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=_NO_FRAME)


def _over_frames(values: Tensor, lengths: Tensor) -> Tensor:
    """Mean of [N, T] over the frames that are there."""
    return (values * _is_frame(values, lengths)).sum(1) / lengths.to(values)


def _is_frame(values: Tensor, lengths: Tensor) -> Tensor:
    """Which places of [N, T, ...] hold a frame, where values lie; lengths are on the host, where packing reads them."""
    return (torch.arange(values.shape[1]) < lengths[:, None]).to(values.device)


def _labels(data: tuple[Sequence[Tensor], Sequence[bool]], what: str) -> Tensor:
    videos, genuine = data
    if len(videos) != len(genuine):
        raise ConfigError(f"The {what} hold {len(videos)} videos and {len(genuine)} labels; give one each.")
    kinds = np.asarray(genuine, bool)
    check_both_kinds(kinds, what)
    return torch.from_numpy(kinds).long()
