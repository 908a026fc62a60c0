"""The site: pages and navigation fit, what it writes itself is whole, messages that it explains are in the code."""

import importlib.util
import re
import tomllib

import pytest
import yaml
from import_graph import product_files
from pages import ROOT

import framegate

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site():
    """docs/site_pages.py, which mkdocs loads as a hook."""
    return script("site_pages")


def script(name):
    """A script of docs as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_samplers_is_what_their_docstrings_say():
    page = script("make_samplers_page").page()
    assert (DOCS / "samplers.md").read_text() == page, "run python docs/make_samplers_page.py"


def test_the_gallery_is_what_its_rows_say_and_shows_no_fetched_clip():
    made = script("make_gallery")
    assert (DOCS / "gallery.md").read_text() == made.page(made.read()), (
        "run python docs/make_gallery.py --page"
    )
    committed = {path.stem.removeprefix("gallery_") for path in (DOCS / "img").glob("gallery_*")}
    assert committed == {made.stem(row["clip"]) for row in made.read() if row["kind"] != "fetched"}
    assert {"", "unknown"} & {row["commit"] for row in made.read()} == set()


def navigation():
    """Pages that mkdocs.yml names, at any depth."""
    pending, found = [yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]], []
    while pending:
        entry = pending.pop()
        if isinstance(entry, str):
            found.append(entry)
        else:
            pending += entry.values() if isinstance(entry, dict) else entry
    return found


def test_every_page_is_in_the_navigation_and_every_entry_a_page(site):
    named, written = navigation(), {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert len(named) == len(set(named))
    assert set(named) - written - set(site.generated_pages()) == set()
    listed = {name for name in written if name.startswith("decisions/")}  # by decisions.md
    assert written - listed - set(named) == set(), "name it in mkdocs.yml"


def test_links_of_the_site_lead_to_its_pages_and_anchors(site):
    """As mkdocs checks them, for those who do not build it."""
    pages = {path.relative_to(DOCS).as_posix(): path.read_text() for path in DOCS.rglob("*.md")}
    pages = {name: site.relinked(text, f"docs/{name}", name) for name, text in pages.items()}
    pages |= site.generated_pages()
    dead = []
    for name, text in pages.items():
        for _, _, target in site.LINK.findall(re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
            path, _, anchor = target.partition("#")
            found = (DOCS / name).parent.joinpath(path).resolve() if path else DOCS / name
            other = found.relative_to(DOCS).as_posix() if found.is_relative_to(DOCS) else ""
            if re.match(r"\w+:", target) or (not anchor and found.is_file()):
                continue
            if other not in pages or (anchor and anchor not in anchors_of(pages[other])):
                dead.append(f"{name}: {target}")
    assert dead == []


def anchors_of(text):
    """The addresses of a page's headings."""
    plain = (
        re.sub(r"[`*]|\[(.*?)\]\(.*?\)", r"\1", title)
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    )
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in plain}


def test_presets_and_public_names_are_all_there(site):
    pages = site.generated_pages()
    assert re.findall(r"^## (\w+)$", pages["presets.md"], re.MULTILINE)[0] == "framegate"
    assert set(re.findall(r"^## (\w+)$", pages["presets.md"], re.MULTILINE)) == set(framegate.preset_names())
    told = "".join(text for name, text in pages.items() if name.startswith("reference/"))
    assert set(re.findall(r"heading: framegate\.(\w+)$", told, re.MULTILINE)) >= set(framegate.__all__) - {
        "__version__"
    }


def test_extras_that_are_told_of_are_there():
    told = re.findall(r"^\| `([\w-]+)` \|", (DOCS / "guides/install.md").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(told) > 6
    assert set(told) <= set(project["optional-dependencies"])


def test_every_decision_has_a_file_and_its_line_in_the_list():
    listed = re.findall(
        r"^- \[(\d+)\. (.+)\]\(decisions/(.+)\)$", (DOCS / "decisions.md").read_text(), re.MULTILINE
    )
    assert [int(number) for number, *_ in listed] == list(range(1, len(listed) + 1))
    assert sorted(name for *_, name in listed) == sorted(path.name for path in (DOCS / "decisions").iterdir())
    for number, title, name in listed:
        assert (DOCS / "decisions" / name).read_text().startswith(f"# {number}. {title}\n")


def test_a_link_out_of_the_site_leaves_its_words(site):
    told = "[`a`](../../examples/quickstart.py), [x](../families.md), [n](../../src/framegate/assets/nano/README.md#a)"
    turned = site.relinked(told, "docs/guides/a.md", "guides/a.md")
    assert turned == "`a`, [x](../families.md), [n](../nano.md#a)"


def test_every_message_that_is_explained_is_one_of_the_code():
    source = "".join(path.read_text() for path in product_files().values())
    source = re.sub(r"""["']\n\s+f?["']""", "", source)  # strings that go on in the next line
    page = (DOCS / "guides/troubleshooting.md").read_text()
    tables = page[: page.index("## It runs, and")]
    messages = re.findall(r"^\| `(.+?)` \|", tables, re.MULTILINE)
    assert len(messages) > 25
    assert [message for message in messages if message not in source] == []
