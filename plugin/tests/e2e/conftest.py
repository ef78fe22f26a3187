"""A real Chromium, driven by Playwright, and the libraries that run models."""

import base64
import gc
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
_PATIENCE_MS = 60_000.0
_PATIENCE_S = _PATIENCE_MS / 1000


class Page:
    """One tab, what its console and its exceptions said, and which addresses it asked for."""

    def __init__(self, tab: Any) -> None:
        self._tab = tab
        self._devtools = tab.context.new_cdp_session(tab)
        self._opened = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        tab.set_default_timeout(_PATIENCE_MS)
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.requests.append(request.url))

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Set the size of the window, in CSS pixels."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self._devtools.send("Emulation.setDeviceMetricsOverride", screen)

    def emulate(self, *, media: str = "screen", scheme: str = "light") -> None:
        """Show the page as on paper (`media="print"`) or in the colours of a system."""
        self._tab.emulate_media(media=media, color_scheme=scheme)

    def open(self, url: str) -> None:
        """Load a page, anew even where only its fragment differs, and wait until its script has run."""
        self._opened += 1
        address, _, fragment = url.partition("#")
        self._tab.goto(f"{address}?{self._opened}{f'#{fragment}' if fragment else ''}")
        self.wait("document.documentElement.dataset.ready === 'true'")
        self.settle()

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        return self._tab.evaluate(expression)

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript condition holds, asked from here: the page's policy forbids it to evaluate text."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.run(condition):
            assert time.monotonic() < deadline, f"not within {_PATIENCE_S} s: {condition}"
            self._tab.wait_for_timeout(20)

    def press(self, key: str) -> None:
        """Press and release a key."""
        self._tab.keyboard.press(key)
        self.settle()

    def click(self, selector: str) -> None:
        """Click the middle of an element, where a reader would."""
        self._tab.locator(selector).first.click()
        self.settle()

    def choose(self, name: str, value: str) -> None:
        """Choose an option of a select, by its id."""
        self._tab.locator(f"#{name}").select_option(value)
        self.settle()

    def search(self, text: str) -> None:
        """Search the cases by the keyboard."""
        self.press("/")
        self.run("document.activeElement.value = ''")
        self._tab.keyboard.insert_text(text)
        self.settle()

    def shows(self) -> list[str]:
        """Return the ids of the cases that are drawn where the list begins."""
        self.run("document.getElementById('liste').scrollIntoView({behavior: 'instant'})")
        self.settle()
        return list(self.run("[...document.querySelectorAll('.case')].map((one) => one.id)"))

    def text_of(self, selector: str) -> str:
        """Return the text of an element as a reader would copy it."""
        return str(self._tab.locator(selector).first.inner_text())

    def settle(self) -> None:
        """Wait until two frames are drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def screenshot(self, file: Path) -> None:
        """Write what is on the screen as a PNG."""
        shot = self._devtools.send("Page.captureScreenshot", {"format": "png"})  # Playwright's own undoes `resize`
        file.write_bytes(base64.b64decode(shot["data"]))

    def forget(self) -> None:
        """Start anew: an ordinary window, and nothing said so far counts."""
        self.complaints.clear()
        self.requests.clear()
        self.resize(1280, 900)
        self.emulate()


@pytest.fixture(scope="session")
def libraries() -> None:
    """Import what runs models, and keep it out of the collector's rounds: each engine that closes makes a full one."""
    from pytest_jarvis.engines.transformers.loading.base import quiet_libraries

    with quiet_libraries("error"):
        import transformers.models.qwen3_moe.modeling_qwen3_moe  # noqa: F401
    gc.freeze()


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """Give a tab; skipped, or an error under JARVIS_REQUIRE_BROWSER=1, where there is no browser.

    One for a file: Playwright's event loop lets no other run in this thread.
    """
    executable = os.environ.get("JARVIS_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        said = f"no Chromium on this machine ({', '.join(_NAMES)}): the page was not tested in a browser"
        if os.environ.get("JARVIS_REQUIRE_BROWSER") == "1":
            pytest.fail(said)
        pytest.skip(said)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=executable, args=_FLAGS) as chrome:
        yield Page(chrome.new_page())


@pytest.fixture
def page(tab) -> Iterator[Page]:
    """Give the tab; the test must leave no word on its console and no request to a network."""
    tab.forget()
    yield tab
    assert [] == tab.complaints
    assert [] == [url for url in tab.requests if not url.startswith(("file:", "data:", "about:"))]
