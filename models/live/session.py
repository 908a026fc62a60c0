"""LiveSession: reads a stream on a thread, holds its tokens in bounded memory, and answers at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from transformers import BatchFeature

from framegate.errors import ConfigError, UnanswerableError
from framegate.models.live.memory import RollingMemory, StoredTube
from framegate.models.live.prompt import stored_inputs
from framegate.settings import read
from framegate.tokenizers.clip import VideoStream
from framegate.tokenizers.gate.plan import GatePlan

_LOOK_EVERY_SECONDS = 0.1


class LiveSession:
    """A stream that is followed, and can be asked about.

    Args:
        model: with a front end attached.
        processor: attached beside it.
        stream: where frames come from; closed with the session.
        plans: its tubes, gated as they come.
        encode: one tube to its tokens.
        memory: holds them.
        merge_size: patches along the side of a cell.
        tube_frames: frames of a tube.
        notes: what of the front end's configuration does not hold here.

    Made by `framegate.open_session`. Use it in a `with` statement, or close it.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        stream: VideoStream,
        *,
        plans: Iterator[GatePlan],
        encode: Callable[[GatePlan], StoredTube],
        memory: RollingMemory,
        merge_size: int,
        tube_frames: int,
        notes: Sequence[str] = (),
    ) -> None:
        self.model, self.processor, self.stream, self.memory = model, processor, stream, memory
        self._plans, self._encode, self._notes = plans, encode, tuple(notes)
        self._merge_size, self._tube_frames = merge_size, tube_frames
        # guards the memory; whoever asks copies what it holds, and the stream goes on meanwhile
        self._changed = threading.Condition()
        self._asking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None
        self._is_closed = False
        self.is_live = True

    @property
    def seconds(self) -> float:
        """Time of the newest tube, by the clock of the stream; NaN before the first."""
        with self._changed:
            return self.memory.tubes[-1].seconds if self.memory.tubes else float("nan")

    @property
    def num_tokens(self) -> int:
        """Tokens that are held."""
        return self.memory.num_tokens

    @property
    def warnings(self) -> tuple[str, ...]:
        """What had to be assumed, what stands aside, and what happened to the stream so far."""
        stream = self.stream
        told = [f"{stream.dropped_frames:,} frames came too late and were left out"] * bool(
            stream.dropped_frames
        )
        told += [f"the source was opened again {stream.reconnections} times"] * bool(stream.reconnections)
        return (*self._notes, *stream.warnings, *told)

    def start(self) -> None:
        """Follow the stream on a thread; a second time does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()

    def advance(self, until_seconds: float | None = None) -> bool:
        """Read on here, in a session that was opened with background=False.

        Args:
            until_seconds: by the clock of the stream; None for one tube.

        Returns:
            False at the end of the stream.
        """
        while self._step():
            if until_seconds is None or self.seconds >= until_seconds:
                return True
        return False

    def ask(
        self, question: str, *, ago_seconds: tuple[float, float] | None = None, max_new_tokens: int = 128
    ) -> str:
        """Ask about what is held now; the stream goes on meanwhile.

        Args:
            question: in words; "{now}" and "{now-90}" in it become the newest moment, and the one 90 seconds before it,
                as the prompt tells times.
            ago_seconds: read only what is held of this part, from so long ago to so long ago, say (150, 90); None for
                all that is held.
            max_new_tokens: most tokens of the answer.

        Returns:
            The answer. `front_end.report` is its account.

        Raises:
            UnanswerableError: the stream ended before its first tube, the session is closed, or nothing is held of the
                part.
            ConfigError: the question asks about a time before the first tube that is read, or a part that ends before
                it begins.
        """
        with self._asking:
            inputs = self.inputs(question, ago_seconds=ago_seconds)
            output = self.model.generate(**inputs, max_new_tokens=max_new_tokens)
        new = output[:, inputs["input_ids"].shape[1] :]
        answer: str = self.processor.batch_decode(new, skip_special_tokens=True)[0].strip()
        return answer

    def inputs(self, question: str, *, ago_seconds: tuple[float, float] | None = None) -> BatchFeature:
        """Make the inputs of a question, for a `model.generate` of one's own.

        Args:
            question: as for `ask`.
            ago_seconds: as for `ask`.

        Returns:
            Ids, mask and the tokens that are held, on the model's device.

        Raises:
            UnanswerableError, ConfigError: as `ask`.
        """
        held = self._held()
        now = held[-1].seconds
        inputs = stored_inputs(
            self.processor,
            held if ago_seconds is None else _part(held, ago_seconds),
            question,
            now=now,
            merge_size=self._merge_size,
            tube_frames=self._tube_frames,
        )
        at = self.model.device
        moved = {name: value.to(at) if torch.is_tensor(value) else value for name, value in inputs.items()}
        return BatchFeature(moved)

    def wait(self, until_seconds: float | None = None, *, timeout_seconds: float | None = None) -> bool:
        """Wait for a session in the background.

        Args:
            until_seconds: by the clock of the stream; None for its end.
            timeout_seconds: how long at most, None for ever.

        Returns:
            True where the moment has come, or the stream has ended.
        """
        ends = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while self.is_live and not (until_seconds is not None and self.seconds >= until_seconds):
            if ends is not None and time.monotonic() > ends:
                return False
            with self._changed:
                self._changed.wait(_LOOK_EVERY_SECONDS)
        self._raise_problem()
        return True

    def close(self) -> None:
        """End the session: the stream is closed, and what was held is let go."""
        self._is_closed = True
        self.stream.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)
        with self._changed:
            self.is_live = False
            self.memory.clear()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        tubes, state = len(self.memory.tubes), "live" if self.is_live else "ended"
        return (
            f"LiveSession({state}, {tubes} tubes, {self.num_tokens:,} of {self.memory.max_tokens:,} tokens)"
        )

    def _follow(self) -> None:
        try:
            while self._step():
                pass
        except Exception as problem:
            self._problem = problem
        finally:
            with self._changed:
                self.is_live = False
                self._changed.notify_all()

    def _step(self) -> bool:
        """Take the next tube; False where there is none."""
        plan = None if self._is_closed else next(self._plans, None)
        if plan is None or self._is_closed:
            self.is_live = False
            return False
        tube = self._encode(plan)
        with self._changed:
            self.memory.add(tube)
            self._changed.notify_all()
        return True

    def _held(self) -> list[StoredTube]:
        """The tubes that are held now; waits for the first one."""
        while True:
            self._raise_problem()
            with self._changed:
                if self.memory.tubes:
                    return list(self.memory.tubes)
                if not self.is_live or self._thread is None:
                    raise UnanswerableError(
                        f"Nothing of {self.stream.info.source} is held: the session is closed, or the stream gave no "
                        "tube yet. Ask before it is closed; with background=False call session.advance() first."
                    )
                self._changed.wait(_LOOK_EVERY_SECONDS)

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise self._problem


def _part(held: list[StoredTube], ago_seconds: tuple[float, float]) -> list[StoredTube]:
    """The tubes that stood between two times before the newest."""
    first, last = (read(one, float, "ago_seconds") for one in ago_seconds)
    if first < last:
        raise ConfigError(
            f"ago_seconds is ({first:g}, {last:g}); the first is longer ago: ({last:g}, {first:g})."
        )
    now = held[-1].seconds
    part = [tube for tube in held if now - first <= tube.seconds <= now - last]
    if not part:
        raise UnanswerableError(
            f"Nothing is held of {first:g} to {last:g} seconds ago; the first tube that is held is "
            f"{now - held[0].seconds:.1f} seconds old. Ask about a longer part, or raise max_video_tokens."
        )
    return part
