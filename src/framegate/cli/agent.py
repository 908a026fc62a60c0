"""`framegate agent`: a policy that looks at a video more than once, turn by turn, and why it stopped."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.cli.options import make_console
from framegate.errors import ConfigError

if TYPE_CHECKING:
    from framegate.tools.agents.episode import Episode
    from framegate.tools.agents.policies._policy import BasePolicy
    from framegate.tools.agents.speakers import Speak


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """Which agent looks at what; `settings` are the policy's, `overrides` the front end's."""

    video: str
    question: str
    policy: str
    settings: dict[str, Any]
    model: str | None
    family: str | None
    preset: str
    overrides: dict[str, Any]
    script: Path | None
    scorer: str | None
    is_constrained: bool
    max_new_tokens: int | None
    max_video_tokens: int | None
    seed: int


def agent_command(options: AgentOptions, *, as_json: bool, html: Path | None) -> None:
    """Let the agent look, print its turns, and write the page."""
    with ExitStack() as attached:
        episode = _episode(options, attached)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(episode.to_html(), encoding="utf-8")
    if as_json:
        print(episode.to_json())
    else:
        _print(episode, html)


def _episode(options: AgentOptions, attached: ExitStack) -> Episode:
    from framegate.cli.run import check_video
    from framegate.tools.agents.loop import run_agent
    from framegate.tools.agents.policies import policy_named
    from framegate.tools.agents.speakers import scripted

    # a mistyped name, setting or path is told before a model is loaded
    policy = policy_named(options.policy, options.settings)
    _refuse_unread(options)
    check_video(options.video)
    script = None if options.script is None else script_of(options.script)
    if script is None:
        _warn_of_nano(options, policy)
    settings = dict(options.settings)
    speak: Speak
    if script is None or (options.policy == "sevila" and options.scorer != "screen_text"):
        speak, scorer = _loaded(options, attached)
    if script is not None:
        speak = scripted(script)
    if options.policy == "sevila":
        from framegate.models.scorers import scorer_named

        settings["scorer"] = scorer_named("screen_text") if options.scorer == "screen_text" else scorer
        policy = policy_named(options.policy, settings)
    return run_agent(
        speak, options.video, options.question, policy, max_video_tokens=options.max_video_tokens
    )


def _warn_of_nano(options: AgentOptions, policy: BasePolicy) -> None:
    """Say on stderr what the shipped model cannot be asked for, where it is the one that looks."""
    from framegate.models.nano import NANO
    from framegate.models.nano.asked import NEVER_LOOKED, advice_on
    from framegate.tools.agents.policies._policy import AnswersAtOnce

    if options.model not in (None, NANO) or options.family is not None:
        return
    looks = None if isinstance(policy, AnswersAtOnce) else NEVER_LOOKED
    for warning in filter(None, (looks, advice_on(options.question))):
        print(f"warning: {warning}", file=sys.stderr)


def _refuse_unread(options: AgentOptions) -> None:
    """Name options that nothing would follow."""
    if options.scorer is not None and options.policy != "sevila":
        raise ConfigError(f"--scorer is sevila's; {options.policy} has no localizer.")
    given: dict[str, object] = {
        "--constrained": options.is_constrained,
        "--max-new-tokens": options.max_new_tokens,
    }
    if options.policy != "sevila" or options.scorer == "screen_text":
        given |= {"--model": options.model, "--family": options.family}
    unread = [name for name, value in given.items() if value] if options.script else []
    if unread:
        raise ConfigError(f"With --script no model writes turns; leave {', '.join(unread)} off.")


def _loaded(options: AgentOptions, attached: ExitStack) -> tuple[Speak, Any]:
    """The model as a speaker, its front end attached while the command runs, and its own localizer."""
    import framegate
    from framegate.cli.run import load_pair
    from framegate.models.scorers import scorer_named
    from framegate.tools.agents.model_speaker import ModelSpeaker

    framegate.load_config(options.preset, **options.overrides)
    model, processor = load_pair(options.model, options.family)
    attached.enter_context(framegate.attach(model, processor, options.preset, **options.overrides))
    speak = ModelSpeaker(
        model,
        processor,
        is_constrained=options.is_constrained,
        max_new_tokens=options.max_new_tokens,
        seed=options.seed,
    )
    return speak, scorer_named(options.scorer or "yes_logit", model, processor)


def script_of(path: Path) -> list[str]:
    r"""Read turns from a file: a JSON list of texts, or texts with a line "---" between them."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return [turn.strip("\n") for turn in f"\n{text}\n".split("\n---\n")]
    try:
        turns = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--script {path} is no JSON ({error}).") from error
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise ConfigError(f'--script {path} must hold a list of texts, ["first turn", "second turn"].')
    return turns


def _print(episode: Episode, html: Path | None) -> None:
    from framegate.cli.run import printable
    from framegate.tools.agents.episode import COUNTS
    from framegate.tools.agents.page import described, looked

    console = make_console()
    notes = list[str]()
    for number, turn in enumerate(episode.turns, start=1):
        attempt = f", attempt {turn.attempt + 1}" if turn.attempt else ""
        console.print(f"turn {number}{attempt}: {looked(turn)}", style="bold", highlight=False)
        if turn.text:
            console.print(printable(turn.text), highlight=False)
        style = "yellow" if turn.to_dict()["action"]["kind"] == "invalid" else None
        console.print(printable(described(turn)), highlight=False, style=style)
        counts = [
            f"{getattr(turn, count):,} {count.replace('_', ' ')}"
            for count in COUNTS
            if getattr(turn, count) is not None
        ]
        console.print(
            ", ".join([*counts, f"{turn.seconds:.2f} seconds"]) + "\n", style="dim", highlight=False
        )
        notes += [note for note in turn.notes if note not in notes]
    answer = "no answer" if episode.answer is None else f"answer: {printable(episode.answer)}"
    console.print(f"{answer} (stopped: {episode.stopped})", style="bold", highlight=False)
    for note in notes:
        console.print(f"note: {note}", highlight=False)
    if html is not None:
        console.print(f"page: {html}", highlight=False)
