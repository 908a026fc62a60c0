"""Draws docs/img/demo.png: the page of `framegate demo` at a desk and on a phone, after one question.

    pip install ".[demo]" playwright && python docs/make_demo_picture.py

Needs Chromium on the path.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).parent / "img" / "demo.png"
PORT = 7893
DESK, PHONE, GAP_PX = (1180, 1000), (390, 1000), 24
GROUND = "#e3e5e8"
# where in the overlay: a text has just changed
SECONDS = 4.6


def main():
    """Serve, ask at both widths, and put the pictures side by side."""
    command = [sys.executable, "-m", "framegate", "demo", "--port", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().split()[1]
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                shots = [shot(browser, address, DESK, "framegate"), shot(browser, address, PHONE, "Dense")]
        finally:
            server.terminate()
    width = sum(picture.width for picture in shots) + 3 * GAP_PX
    whole = Image.new("RGB", (width, DESK[1] + 2 * GAP_PX), GROUND)
    left = GAP_PX
    for picture in shots:
        whole.paste(picture, (left, GAP_PX))
        left += picture.width + GAP_PX
    whole.quantize(128, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size / 1024:.0f} kB, {whole.size[0]} x {whole.size[1]}")


def shot(browser, address, size, heading):
    """The page after its first question, from a heading on."""
    page = browser.new_page(viewport=dict(zip(("width", "height"), size, strict=True)))
    page.set_default_timeout(120_000)
    page.goto(address)
    page.get_by_role("button", name="Ask").click()
    page.get_by_text("Done.").wait_for()
    overlay = page.locator("video").nth(1)
    overlay.evaluate("(video, at) => { video.pause(); video.currentTime = at }", SECONDS)
    page.get_by_role("heading", name=heading, exact=True).evaluate("head => head.scrollIntoView()")
    page.wait_for_timeout(1000)
    return Image.open(io.BytesIO(page.screenshot()))


if __name__ == "__main__":
    main()
