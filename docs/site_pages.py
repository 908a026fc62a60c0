"""What the site has besides the pages of this folder: presets, reference, shelves; a hook of mkdocs (mkdocs.yml).

Written while the site is built, from the repository alone: nothing of framegate is imported. Pages link to one another
as they do in the repository; where such a link leads out of the site, its words stay.
"""

import ast
import os.path
import re
import shutil
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SHELVES = ("models", "tokenizers", "kernels", "configs")
# pages of the repository outside docs, and where they stand in the site
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "src/framegate/assets/nano/README.md": "nano.md",
}
REFERENCE = {
    "attach": ("Functions and report", ("framegate.api", "framegate.models.a", "framegate.report")),
    "plans": ("Videos and plans", ("framegate.tokenizers", "framegate.types")),
    "configuration": ("Configuration", ("framegate.config",)),
    "tools": ("Evaluation and training", ("framegate.tools",)),
    "modules": ("Modules", ("framegate.models",)),
}
TOOLS = ("framegate.tools.evaluation", "framegate.tools.training", "framegate.models.scorers")
LINK = re.compile(r"(?<!\\)(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def elsewhere():
    """{path in the repository: page of the site} of the pages outside docs, the shelves' own included."""
    found = {f"{shelf}/README.md": f"shelves/{shelf}.md" for shelf in SHELVES}
    for page in sorted(ROOT.glob("kernels/*/README.md")):
        found[page.relative_to(ROOT).as_posix()] = f"shelves/kernels/{page.parent.name}.md"
    return ELSEWHERE | found


def generated_pages():
    """{page: text} of all that is written while the site is built; links are those of the site."""
    pages = {"presets.md": presets_page(), "reference/errors.md": errors_page()}
    pages |= {f"reference/{name}.md": text for name, text in reference_pages().items()}
    for place, page in elsewhere().items():
        if page != "index.md":
            pages[page] = relinked((ROOT / place).read_text(), place, page)
    return pages


def relinked(text, place, page):
    """Turn links of a file of the repository into those of the page it becomes; what leads out of the site is words."""
    homes = elsewhere()

    def turned(link):
        picture, words, target = link.groups()
        if re.match(r"\w+:", target) or target.startswith("#"):
            return link[0]
        path, hash_mark, anchor = target.partition("#")
        found = os.path.normpath(os.path.join(os.path.dirname(place), path))
        home = found.removeprefix("docs/") if found.startswith("docs/") else homes.get(found)
        if home is None:
            return words
        return f"{picture}[{words}]({os.path.relpath(home, os.path.dirname(page) or '.')}{hash_mark}{anchor})"

    return LINK.sub(turned, text)


def presets_page():
    """Every preset: what its file says of itself, and what it sets."""
    parts = [
        "# Presets\n\nGenerated from `configs/presets`. `framegate.attach(model, processor, NAME)`, `--preset NAME`, "
        "or a file of your own that names the one it is laid over. A file's comments say whose each number is: the "
        "paper's, the released code's, or ours. No result of a paper is claimed to be reproduced.\n"
    ]
    for path in sorted(
        (ROOT / "configs/presets").glob("*.yaml"), key=lambda path: (path.stem != "framegate", path.stem)
    ):
        lines = path.read_text().splitlines()
        told = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
        settings = yaml.safe_load("\n".join(lines))
        body = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=110)
        comment = "\n".join(f"> {line}  " for line in told)
        parts.append(f"## {path.stem}\n\n{comment}\n\n```yaml\n{body}```\n")
    return "\n".join(parts)


def public_names():
    """{name: module that it is loaded from} of the package's face."""
    tree = ast.parse((ROOT / "src/framegate/__init__.py").read_text())
    homes = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "_HOMES"
    )
    return ast.literal_eval(homes)


def reference_pages():
    """{page: text}: each public name under the first group whose modules hold it, for mkdocstrings to fill in."""
    groups = {name: [] for name in REFERENCE}
    for name, home in public_names().items():
        group = next(key for key, (_, modules) in REFERENCE.items() if home.startswith(modules))
        groups[group].append(_entry(f"{home}.{name}", f"framegate.{name}"))
    groups["tools"] += [_entry(module, module) for module in TOOLS]
    return {key: f"# {REFERENCE[key][0]}\n\n" + "\n".join(entries) for key, entries in groups.items()}


def errors_page():
    """The errors, which have a module of their own."""
    return "# Errors\n\n" + _entry("framegate.errors", "framegate.errors")


def _entry(path, heading):
    options = f"      heading: {heading}\n      toc_label: {heading.removeprefix('framegate.')}\n"
    return f"::: {path}\n    options:\n{options}"


def on_startup(command, dirty):
    """Copy the package, as mkdocs asks a hook to: griffe reads no folder that has no __init__.py."""
    source = ROOT / "out/site_source/framegate"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "src/framegate", source, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    for folder in {path.parent for path in source.rglob("*.py")}:
        (folder / "__init__.py").touch()


def on_files(files, config):
    """Add the generated pages, as mkdocs asks a hook to."""
    from mkdocs.structure.files import File

    for page, text in generated_pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links of a page of docs, as mkdocs asks a hook to."""
    name = page.file.src_uri
    if page.file.generated_by is not None:
        return markdown
    return relinked(markdown, f"docs/{name}", name)
