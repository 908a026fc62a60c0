"""A run over a set of questions: one front end, one question at a time, a line of results for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from framegate.configs.loader import DEFAULT_PRESET
from framegate.errors import ConfigError, FramegateError, UnanswerableError
from framegate.models.stages.registry import stages
from framegate.notebook import no_bar
from framegate.settings import read
from framegate.tokenizers.relevance import Scorer
from framegate.tokenizers.scoring import ScoredOnce
from framegate.tools.evaluation.ask import Answer, ask
from framegate.tools.evaluation.metrics import parse_seconds, score
from framegate.tools.evaluation.questions import Question, QuestionSet
from framegate.tools.evaluation.results import RESUMES_ON, Results, ResultsFile, read_results, run_header
from framegate.tools.evaluation.shared_video import SharedVideo
from framegate.tools.faults import OnFault

if TYPE_CHECKING:
    from framegate.api import ConfigLike

Asking = Callable[..., Answer]
Sampling = Callable[[Question], Mapping[str, Any]]
Videos = Literal["each", "shared", "none"]


def evaluate(
    model: Any,
    processor: Any,
    questions: QuestionSet,
    preset: ConfigLike = DEFAULT_PRESET,
    *,
    out: str | Path,
    model_name: str | None = None,
    max_new_tokens: int = 32,
    command: str = "",
    videos: Videos = "each",
    on_error: OnFault = "skip",
    show_progress: bool = True,
    scorer: Scorer | ScoredOnce | None = None,
    sampling: Sampling | None = None,
    **overrides: Any,
) -> Results:
    """Ask every question and write what came back, going on where an earlier run of the same kind was cut off.

    The front end is attached once. A video is read and gated for the first of its questions; the rows of the others
    have no `input_seconds`. Questions are asked one by one (batch size 1), greedily. A question that fails
    (a broken video, a time outside the clip, no memory) gives a row with status "error", scored as an empty answer; it
    is asked again when the run is taken up. Under on_error="raise" it ends the run.

    Args:
        model: a supported model without a front end, on its device.
        processor: its processor.
        questions: as a reader returns them.
        preset: configuration as for `framegate.attach`.
        out: the file of results, JSONL.
        model_name: of the model, for the header; None takes the one in its configuration.
        max_new_tokens: longest answer.
        command: how the run was started, for the header.
        videos: "each" question reads its video; "shared": tower and language model read a video once for all questions
            about it, with the same answers up to rounding, several times sooner, and no times in the rows but
            `input_seconds` (refused where a stage reads the question); "none": questions alone, for what can be
            guessed.
        on_error: "skip" goes on behind a question that fails, counted and listed by its row; "raise" ends the run.
        show_progress: draw a progress bar on a terminal.
        scorer: of framegate.models.scorers, scores the frames that the sampler chooses from by each question; what it
            made of a video's frames is remembered, by a ScoredOnce from run to run.
        sampling: gives settings of the sampler for a question alone, for example the intervals of "slow_fast"; its
            name stands in the header.
        overrides: settings replaced by keyword, for example keep_ratio=0.25, fps=4.

    Returns:
        Header and rows of the whole file.

    Raises:
        ConfigError: the configuration is not valid, `out` holds something else than an earlier part of this run, or a
            scorer or `sampling` where videos are not read for each question.
        UnsupportedModelError: the model's class is in no row of the family table.
        AttachmentError: a front end is attached already.
        VideoError: and what else a question may raise, under on_error="raise".
    """
    from tqdm.auto import tqdm

    import framegate

    on_error = read(on_error, OnFault, "on_error")
    header = run_header(
        model,
        questions,
        preset,
        overrides,
        model_name=model_name,
        max_new_tokens=max_new_tokens,
        command=command,
        scorer=scorer,
        sampling=sampling,
    )
    seen: dict[Path, float] = {}
    asking = _asking(model, processor, videos, scorer, sampling)
    with (
        framegate.attach(model, processor, preset, **overrides),
        last_video(processor.video_processor) as memory,
        ResultsFile(out, header, resumes_on=RESUMES_ON) as file,
        tqdm(total=len(questions.questions), unit="question", disable=no_bar(show_progress)) as bar,
    ):
        for number, question in enumerate(questions.questions):
            if question.id not in file.done:
                before = memory.num_read
                outcome = _outcome(asking, question, seen, max_new_tokens, sampling)
                if on_error == "raise" and isinstance(outcome, Exception):
                    raise outcome
                row = _row(number, question, outcome, max_new_tokens)
                untimed = ["first_token_seconds", "generate_seconds"] if videos == "shared" else []
                if memory.num_read == before:
                    untimed.append("input_seconds")
                file.append(row | dict.fromkeys(untimed))
            bar.update()
    return read_results(out)


def _asking(
    model: Any,
    processor: Any,
    videos: Videos,
    scorer: Scorer | ScoredOnce | None,
    sampling: Sampling | None,
) -> Asking:
    if (scorer is not None or sampling is not None) and videos != "each":
        raise ConfigError(
            f"videos is {videos!r}, and frames are chosen by the question; with scorer or sampling it is "
            '"each".'
        )
    if videos == "shared":
        return SharedVideo(model, processor).ask
    if videos == "none":
        return lambda *, video, **asked: ask(model, processor, video=None, **asked)
    if videos == "each":
        if scorer is not None and not isinstance(scorer, ScoredOnce):
            scorer = ScoredOnce(scorer)
        return partial(ask, model, processor, scorer=scorer)
    raise ConfigError(f"videos is {videos!r}; it must be one of {', '.join(get_args(Videos))}.")


def _outcome(
    asking: Asking,
    question: Question,
    seen: dict[Path, float],
    max_new_tokens: int,
    sampling: Sampling | None,
) -> Answer | Exception:
    """The answer, or what stood against it; a bug of ours is raised."""
    import torch

    try:
        path = check_answerable(question, seen)
        chosen = {} if sampling is None else {"sampling": sampling(question)}
        return asking(video=str(path), question=question.question, max_new_tokens=max_new_tokens, **chosen)
    except (FramegateError, OSError, MemoryError, torch.OutOfMemoryError) as error:
        return error


def check_answerable(question: Question, seen: dict[Path, float]) -> Path:
    """Find the file of a question's video, and see that the times it is about lie inside.

    `seen` holds the durations in seconds of the videos looked at so far, and grows.

    Raises:
        UnanswerableError: it has none, the file is missing, or a time lies outside.
        VideoError: the file cannot be read.
    """
    from framegate.tokenizers.clip import probe

    path = question.path
    if path is None:
        raise UnanswerableError("unanswerable: the question names no video")
    if not path.is_file():
        raise UnanswerableError(f"unanswerable: there is no video {path}")
    told = parse_seconds(question.answer) if question.kind == "when" else None
    moments = [moment for moment in (question.time_seconds, told) if moment is not None]
    if moments and path not in seen:
        seen[path] = probe(path).duration_seconds
    for moment in moments:
        if not 0 <= moment < seen[path]:
            raise UnanswerableError(f"unanswerable: {moment:g} s lies outside the clip of {seen[path]:g} s")
    return path


def _row(number: int, question: Question, outcome: Answer | Exception, max_new_tokens: int) -> dict[str, Any]:
    """One line: lmms-eval's columns of a sample, the scores, then ours."""
    answer = outcome if isinstance(outcome, Answer) else None
    text = answer.text if answer else ""
    document = question.document()
    spelled = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    counts = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens} if answer else None
    return {
        "doc_id": number,
        "doc": document,
        "target": question.answer,
        "input": question.question,
        "arguments": [question.question, {"max_new_tokens": max_new_tokens, "do_sample": False}],
        "resps": [text],
        "filtered_resps": text,
        "token_counts": [counts],
        "doc_hash": hashlib.sha256(spelled.encode()).hexdigest(),
        "input_media": [question.video],
        **score(question.kind, text, question.answer),
        "id": question.id,
        "kind": question.kind,
        "video": question.video,
        "status": "ok" if answer else "error",
        "error": None if answer else _worded(outcome),
        **_costs(answer),
    }


def _worded(outcome: Any) -> str:
    text = " ".join(str(outcome).split())
    return text if isinstance(outcome, UnanswerableError) else f"{type(outcome).__name__}: {text}"


def _costs(answer: Answer | None) -> dict[str, Any]:
    return {
        "video_tokens_dense": answer.report.dense_tokens if answer else None,
        "video_tokens_kept": answer.report.kept_tokens if answer else None,
        "video_cells_encoded": answer.report.encoded_cells if answer else None,
        "input_seconds": answer.input_seconds if answer else None,
        "first_token_seconds": answer.first_token_seconds if answer else None,
        "generate_seconds": answer.generate_seconds if answer else None,
        "after_tower_ms": _after_tower_ms(answer) if answer else None,
    }


def _after_tower_ms(answer: Answer) -> float:
    """What stands between tower and language model: refilling, merging, selecting."""
    return sum(stage.milliseconds or 0.0 for stage in answer.report.stages if stage.name in stages())


class LastVideo:
    """Stands before `preprocess` of a video processor, and gives its last result again when the same path is asked.

    Args:
        reader: an attached front end's video processor.
    """

    def __init__(self, reader: Any) -> None:
        self.reader, self.read = reader, reader.preprocess
        self.num_read = 0
        self._asked: str | None = None
        self._result: dict[str, Any] = {}

    def __call__(self, videos: Any, **call: Any) -> Any:
        """Call the method, or repeat what it gave, the account of the first call with it."""
        from transformers.video_processing_utils import BatchFeature

        asked = _spelled(videos, call)
        if asked is not None and asked == self._asked:
            return BatchFeature(dict(self._result))
        self._asked = None
        self.num_read += 1
        self._result = dict(self.read(videos, **call))
        self._asked = asked
        # the caller takes entries out of it
        return BatchFeature(dict(self._result))


def _spelled(videos: Any, call: dict[str, Any]) -> str | None:
    """What is asked, where it is about paths; None for frames, which are too long to compare."""
    from framegate.models.video_processor.sources import carried, flat_videos, is_path

    flat = [carried(video) for video in flat_videos(videos)]
    if not all(is_path(video.source) and video.asked.plan is None for video in flat):
        return None
    return repr(([(str(video.source), video.asked) for video in flat], sorted(call.items())))


@contextmanager
def last_video(reader: Any) -> Iterator[LastVideo]:
    """Let a video processor remember its last video for a block; `num_read` counts the calls that read one."""
    memory = LastVideo(reader)
    reader.preprocess = memory
    try:
        yield memory
    finally:
        del reader.preprocess
