"""A real Chromium, driven over a pipe by its own DevTools protocol: nothing to install beside it."""

import base64
import fcntl
import gc
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and writes to 4, whatever they are in this process.
_LAUNCH = "import os,sys; r,w=map(int,sys.argv[1:3]); os.dup2(r,3); os.dup2(w,4); os.execv(sys.argv[3], sys.argv[3:])"
_PATIENCE_S = 60.0

Json = dict[str, object]


class Chromium:
    """A browser process and its connection."""

    def __init__(self, executable: str, folder: Path) -> None:
        """Start it with a new profile in `folder`."""
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]
        command = [executable, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _LAUNCH, *map(str, theirs), *command],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, *theirs):
            os.close(end)
        self._number = 0
        self._buffer = b""
        self.events: list[Json] = []

    def command(self, method: str, session: str | None = None, **parameters: object) -> Json:
        """Send a command and return its result; events that come before it are kept."""
        self._number += 1
        number = self._number
        message: Json = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return _mapping(answer["result"])
            self.events.append(answer)

    def close(self) -> None:
        """End the process."""
        try:
            self.command("Browser.close")
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._in)
            os.close(self._out)

    def _read(self) -> Json:
        limit = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, limit - time.monotonic()))
            part = os.read(self._in, 1 << 20) if ready else b""
            if not part:
                raise AssertionError(f"Chromium: no answer within {_PATIENCE_S:.0f} s")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return _mapping(json.loads(message))


class Page:
    """One tab."""

    def __init__(self, browser: Chromium) -> None:
        """Open it, and watch its console, its exceptions and its requests."""
        self._browser = browser
        target = browser.command("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.command("Target.attachToTarget", targetId=target, flatten=True)
        self._target, self._session = str(target), str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")
        self._opened = 0

    def command(self, method: str, **parameters: object) -> Json:
        """Send a command to the tab."""
        return self._browser.command(method, self._session, **parameters)

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Set the size of the window, in CSS pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    def emulate(self, *, media: str = "", scheme: str = "light") -> None:
        """Show the page as on paper (`media="print"`) or in the colours of a system."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, url: str) -> None:
        """Load a page, anew even where only its fragment differs, and wait until its script has run."""
        self._opened += 1
        address, _, fragment = url.partition("#")
        self.command("Page.navigate", url=f"{address}?{self._opened}{f'#{fragment}' if fragment else ''}")
        self.wait(f"location.search === '?{self._opened}' && document.documentElement?.dataset.ready === 'true'")
        self.settle()

    def run(self, expression: str) -> object:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return _mapping(answer["result"]).get("value")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript condition holds."""
        limit = time.monotonic() + _PATIENCE_S
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > limit:
                raise AssertionError(f"not within {_PATIENCE_S:.0f} s: {condition}")
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and release a key, as a keyboard does."""
        text = {"text": key} if len(key) == 1 else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def click(self, selector: str) -> None:
        """Click the middle of an element, where a reader would."""
        place = self.run(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)}); "
            "node.scrollIntoView({block: 'center'}); const box = node.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        assert isinstance(place, list)
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)
        self.settle()

    def type(self, text: str) -> None:
        """Insert a text where the focus is."""
        self.command("Input.insertText", text=text)
        self.settle()

    def choose(self, name: str, value: str) -> None:
        """Choose an option of a select, by its id, as a reader does."""
        self.run(
            f"(() => {{ const box = document.getElementById('{name}'); box.value = {json.dumps(value)}; "
            "box.dispatchEvent(new Event('change')); })()"
        )
        self.settle()

    def search(self, text: str) -> None:
        """Search the cases by the keyboard."""
        self.press("/")
        self.run("document.activeElement.value = ''")
        self.type(text)

    def shows(self) -> list[str]:
        """Return the ids of the cases that are drawn where the list begins."""
        self.run("document.getElementById('liste').scrollIntoView({behavior: 'instant'})")
        self.settle()
        found = self.run("[...document.querySelectorAll('.case')].map((one) => one.id)")
        assert isinstance(found, list)
        return found

    def text_of(self, selector: str) -> str:
        """Return the text of an element as a reader would copy it."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def settle(self) -> None:
        """Wait until two frames are drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def screenshot(self, file: Path) -> None:
        """Write what is on the screen as a PNG."""
        shot = self.command("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(str(shot["data"])))

    def complaints(self) -> list[str]:
        """Return what the console, the security policy or an exception said in this tab."""
        kinds = {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}
        return [json.dumps(event["params"]) for event in self._events() if event["method"] in kinds]

    def requests(self) -> list[str]:
        """Return the addresses the tab asked for, apart from files and what stands in the page itself."""
        urls = [
            str(_mapping(_mapping(event["params"])["request"])["url"])
            for event in self._events()
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "about:"))]

    def forget(self) -> None:
        """Start anew: an ordinary window, and nothing said so far counts."""
        self._browser.events.clear()
        self.resize(1280, 900)
        self.emulate()

    def _events(self) -> list[Json]:
        return [event for event in self._browser.events if event.get("sessionId") == self._session]


def _mapping(value: object) -> Json:
    assert isinstance(value, dict)
    return value


@pytest.fixture(scope="session")
def libraries() -> None:
    """Import what runs models, and keep it out of the collector's rounds: each engine that closes makes a full one."""
    from pytest_jarvis.engines.transformers.loading.base import quiet_libraries

    with quiet_libraries("error"):
        import transformers.models.qwen3_moe.modeling_qwen3_moe  # noqa: F401
    gc.freeze()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[Chromium]:
    """Give the one browser of the session; skipped, or an error under JARVIS_REQUIRE_BROWSER=1, where there is none."""
    executable = os.environ.get("JARVIS_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        said = f"no Chromium on this machine ({', '.join(_NAMES)}): the page was not tested in a browser"
        if os.environ.get("JARVIS_REQUIRE_BROWSER") == "1":
            pytest.fail(said)
        pytest.skip(said)
    browser = Chromium(executable, tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="session")
def tab(chromium) -> Page:
    """Give the one tab of the session: a new one for each test would cost a process each."""
    return Page(chromium)


@pytest.fixture
def page(tab) -> Iterator[Page]:
    """Give the tab; the test must leave no word on its console and no request to a network."""
    tab.forget()
    yield tab
    assert [] == tab.complaints()
    assert [] == [url for url in tab.requests() if not url.startswith("file:")]
