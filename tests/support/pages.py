"""What the written pages hold: tables, blocks of code, commands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def pages():
    """The README and everything under docs."""
    return [README, *sorted((ROOT / "docs").rglob("*.md"))]


def tables_in(text):
    """Tables in the order of the page, each as its lines, ended by a newline."""
    return [match.group() for match in re.finditer(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)]


def blocks_in(text, language):
    """Fenced blocks of one language; "" for those without."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [block for found, block in fenced if found == language]


def commands_in(text):
    """Words of every command line, the program's name first; where a block has prompts, the rest is output."""
    for block in [*blocks_in(text, ""), *blocks_in(text, "bash")]:
        lines = block.splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in prompted or lines:
            words = re.sub(r"\s#.*", "", line).split()
            if words and re.fullmatch(r"(\S*/)?(framegate|make|python)", words[0]):
                yield [words[0].rsplit("/")[-1], *words[1:]]
