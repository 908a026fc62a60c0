"""The page of `framegate demo` in a headless Chromium: asked by mouse and by keys, at a desk and on a phone."""

import json
import shutil
import socket
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from framegate.cli.run import load_pair
from framegate.models.nano.asked import advice_on
from framegate.tools.demo.compare import Asked
from framegate.tools.demo.page import demo_page, launch

pytestmark = pytest.mark.clients

DESK, PHONE = (1200, 900), (390, 844)
WITHIN_MS = 60_000


@pytest.fixture(scope="module")
def address():
    """The page, asked of framegate/nano."""
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model, processor = load_pair(None)
    asked = Asked(
        model=model,
        processor=processor,
        name="framegate/nano",
        preset="framegate",
        overrides={},
        max_new_tokens=8,
    )
    page = demo_page(asked, {"tower_ratio": 0.25, "keep_ratio": 0.25, "fps": 4.0}, advise=advice_on)
    yield launch(page, host="127.0.0.1", port=port)
    page.close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("neither chromium nor google-chrome is on the path")
    with playwright.sync_playwright() as started:
        # as root, Chromium has no sandbox to offer
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def opened(browser, address, size, scheme="light"):
    """The page, and the addresses that it asked elsewhere for."""
    context = browser.new_context(
        viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=scheme
    )
    page, elsewhere = context.new_page(), []
    page.set_default_timeout(WITHIN_MS)
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((address, "data:", "blob:")) else elsewhere.append(request.url)
        ),
    )
    page.goto(address)
    page.get_by_role("button", name="Ask").wait_for()
    yield page, elsewhere
    context.close()


def answers(page):
    """Dense and compressed, when all is there."""
    page.get_by_role("status").filter(has_text="Done.").wait_for()
    return page.locator(".fg-answer").all_inner_texts()


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (PHONE, "light"), (PHONE, "dark")])
def test_it_answers_is_accessible_fits_and_loads_nothing_from_elsewhere(browser, address, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(browser, address, size, scheme) as (page, elsewhere):
        assert violations(axe, page) == []
        page.get_by_role("button", name="Ask").click()
        assert answers(page) == ["7HP", "7HP"]
        assert page.get_by_text("96 of 384 (25.0%)").count() == 2
        page.wait_for_function("document.querySelectorAll('video')[1]?.videoWidth > 0")
        page.get_by_role("img", name="Tokens per tube over time").wait_for()
        assert (
            "preset framegate: tower 25.0%"
            in page.get_by_role("region", name="Report: compressed").inner_text()
        )
        assert violations(axe, page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        assert elsewhere == []


def violations(axe, page):
    """What axe-core holds against the page: labels, keyboard, contrast and the rest of its rules."""
    found = axe.run(page).response["violations"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


def test_keys_alone_are_enough(browser, address):
    with opened(browser, address, DESK) as (page, _):
        press_until(page, "Tab", "tower_ratio: share", tag="INPUT", kind="range")
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        press_until(page, "Tab", "Ask", tag="BUTTON")
        page.keyboard.press("Enter")
        assert answers(page) == ["7HP", "7HP"]
        assert page.get_by_text("192 of 384 (50.0%)").count() == 1
        press_until(page, "Tab", "Report: compressed", tag="DIV")
        press_until(page, "Tab", "Save the plan as a page", tag="BUTTON")
        with page.expect_download() as saved:
            page.keyboard.press("Enter")
        assert "<title>codes.mp4" in saved.value.path().read_text()


def press_until(page, key, name, *, tag, kind=None):
    """Press a key until what it brings one to is called so."""
    seen = []
    for _ in range(60):
        page.keyboard.press(key)
        held = page.evaluate(
            "(e => [e.tagName, e.type ?? null, (e.ariaLabel || e.innerText || '').trim()])(document.activeElement)"
        )
        seen.append(held)
        if held[0] == tag and name in held[2] and kind in (None, held[1]):
            return
    raise AssertionError(seen)


def test_an_uploaded_video_and_what_it_cannot_be_asked(browser, address, clip):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(browser, address, PHONE) as (page, _):
        page.get_by_role("button", name="Clear").click()
        page.locator("input[type=file]").first.wait_for(state="attached")
        assert violations(axe, page) == []
        page.locator("input[type=file]").first.set_input_files(str(clip))
        page.wait_for_function("document.querySelector('video')?.videoWidth > 0")
        page.get_by_label("Question").fill("What moves?")
        page.get_by_label("Question").press("Enter")
        answers(page)
        assert "was never asked this; its answer means nothing" in page.locator(".fg-told").inner_text()


def test_a_mistake_is_told_in_words(browser, address, tmp_path):
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video")
    with opened(browser, address, DESK) as (page, _):
        page.get_by_role("button", name="slides.mp4").click()
        page.wait_for_function("document.querySelector('textarea').value.includes('order code')")
        page.get_by_label("Question").fill(" ")
        page.get_by_role("button", name="Ask").click()
        page.get_by_role("alert").filter(has_text="Choose a video and write a question.").wait_for()
        page.get_by_role("button", name="Clear").click()
        page.locator("input[type=file]").first.set_input_files(str(notes))
        page.get_by_label("Question").fill("What moves?")
        page.get_by_role("button", name="Ask").click()
        page.get_by_role("alert").filter(has_text="notes.mp4").wait_for()
        assert page.locator(".fg-answer").all_inner_texts() == ["\N{EN DASH}"] * 2


def test_it_opens_no_path_that_a_caller_names(address, clip):
    """Who speaks to the page's server without the page may hand over uploads alone."""
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{address}gradio_api/file={clip}")
    video = {"path": str(clip), "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [video, "What moves?", 0.5, 0.5, 4]}).encode()
    ask = f"{address}gradio_api/call/ask"
    call = urllib.request.Request(ask, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call) as begun:
        event = json.load(begun)["event_id"]
    with urllib.request.urlopen(f"{ask}/{event}", timeout=60) as told:
        assert told.read().startswith(b"event: error")
