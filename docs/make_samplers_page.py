"""Writes docs/samplers.md from the samplers' own docstrings.

    python docs/make_samplers_page.py

Nothing on that page is typed by hand but its opening; tests/test_site.py checks that it is what this writes.
"""

import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path

from framegate.settings import saved_settings_of, settings_of
from framegate.tokenizers.samplers import sampler, sampler_names, tells_clips

PAGE = Path(__file__).parent / "samplers.md"
PICTURE = "img/plans.png"
OPENING = f"""# Which frames: the samplers

Written by `python docs/make_samplers_page.py` from the docstrings. A sampler chooses frames before anything is encoded;
the gate, refill and select then work on those. By name from Python, a message or the command line:

```python
plan = framegate.plan_frames("clip.mp4", "apollo", max_frames=64)
block = {{"type": "video", "video": "clip.mp4", "plan": {{"sampler": "tass", "num_frames": 32}}}}
```

```bash
framegate view clip.mp4 --set sampler=apollo
framegate run clip.mp4 "What is the order code?" --set sampler=tass --scorer screen_text
```

![Frames that every sampler chooses of one clip]({PICTURE})

The picture is drawn by `python docs/make_plans_picture.py`. What the plans are worth in answers stands under
[Plans of frames](results.md#plans-of-frames-at-equal-prompt-tokens).
"""
_PAPER = re.compile(r"arXiv (\d{4}\.\d{5})")


def page():
    """The text of docs/samplers.md."""
    lines = [
        "| sampler | what it takes | paper | looks at | in the prompt |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [row(name) for name in sampler_names()]
    return "\n".join([OPENING, *lines, "", *(section(name) for name in sampler_names())])


def row(name):
    """A sampler in the table, with links to its section and its paper."""
    summary = module_of(name).__doc__.split("\n")[0].rstrip(".")
    looks = "pixels" if "scorer" in settings_of(sampler(name)) else "times alone"
    looks = "the codec, or pixels" if name == "keyframes" else looks
    shown = "clip by clip" if tells_clips(name) else "one video"
    return f"| [`{name}`](#{name}) | {summary} | {papers(name) or 'common practice'} | {looks} | {shown} |"


def section(name):
    """What a sampler's docstring says, under its name."""
    doc = inspect.getdoc(sampler(name))
    about, _, rest = doc.partition("\nArgs:\n")
    args, _, rest = rest.partition("\nReturns:\n")
    found, _, rest = rest.partition("\nRaises:\n")
    source = rest.partition("\nSource: ")[2]
    told = [f"## {name}\n", flowing(about), f"Gives: {flowing(found)}", settings_table(name, args)]
    if source:
        told.append(f"Source: {linked(flowing(source))}\n")
    return "\n".join(f"{part.strip()}\n" for part in told)


def settings_table(name, args):
    """Settings with their defaults, the video left out; those marked come with a call alone."""
    saved, parameters = saved_settings_of(sampler(name)), inspect.signature(sampler(name)).parameters
    lines = ["| option | default | what it says |", "| --- | --- | --- |"]
    for setting, text in re.findall(r"^    (\w+): (.*(?:\n        .*)*)", args, re.M):
        if setting == "info":
            continue
        default = parameters[setting].default
        told = "must be given" if default is inspect.Parameter.empty else spelled(default)
        mark = "" if setting in saved else " (of a call)"
        lines.append(f"| `{setting}`{mark} | {told} | {flowing(text)} |")
    return "\n".join(lines)


def spelled(default):
    """A default as a user would write it."""
    return f"{default:.4g}" if isinstance(default, float) else f"`{default!r}`"


def papers(name):
    """Links to the papers that a sampler's docstring names."""
    found = dict.fromkeys(_PAPER.findall(f"{module_of(name).__doc__} {sampler(name).__doc__}"))
    return ", ".join(f"[{number}](https://arxiv.org/abs/{number})" for number in found)


def linked(text):
    """Text with links where it names papers."""
    return _PAPER.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def flowing(text):
    """Lines of a docstring as one, with nothing that Markdown would read as a table."""
    return " ".join(textwrap.dedent(text).split()).replace("|", "\\|")


def module_of(name):
    """The sampler's file."""
    return import_module(f"framegate.tokenizers.samplers.{name}")


def main():
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
