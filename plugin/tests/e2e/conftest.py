"""A real Chromium, driven over a pipe by its own DevTools protocol, and reports whose every response is given."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import msgspec
import pytest

from pytest_jarvis.contrasts import pair_replicates
from pytest_jarvis.records import BASE_ARM, Category, PromptCase, Tool
from pytest_jarvis.report import (
    AdapterStatistics,
    FailureRow,
    Report,
    ResultRow,
    Sample,
    category_averages,
    make_averages,
)
from pytest_jarvis.scoring import Dictionary, score_text
from pytest_jarvis.statistics import Decision, decide

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
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
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
def tab(chromium: Chromium) -> Page:
    """Give the one tab of the session: a new one for each test would cost a process each."""
    return Page(chromium)


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """Give the tab; the test must leave no word on its console and no request to a network."""
    tab.forget()
    yield tab
    assert [] == tab.complaints()
    assert [] == [url for url in tab.requests() if not url.startswith("file:")]


_TERMS = {
    "volume_up_tool": ("volume", "plus fort", "augmente", "son"),
    "open_app_tool": ("ouvre", "application", "lance", "logiciel"),
    "screenshot_tool": ("capture", "écran", "image", "photo"),
}
_DICTIONARY = Dictionary.of(
    [Tool(name=name, description=name, parameters={}, terms=terms) for name, terms in _TERMS.items()]
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One prompt and what each arm answered, by replicate; None is a failure."""

    prompt_id: str
    base: Sequence[str | None]
    tuned: Sequence[str | None] | Mapping[str, Sequence[str | None]]
    """Of the only adapter, or by adapter."""
    text: str = "monte le son"
    category: str = "tool_routing"
    keywords: tuple[str, ...] = ("son", "volume")
    expected_tool: str | None = None
    intended: str | None = None
    reason: str = "no answer after 30 s"
    sample: Mapping[str, object] = field(default_factory=dict)
    """Fields of every sample that are not the plain ones."""

    def answers(self, arm: str) -> Sequence[str | None]:
        """Return what an arm answered."""
        if arm == BASE_ARM:
            return self.base
        return self.tuned[arm] if isinstance(self.tuned, Mapping) else self.tuned


WriteReport = Callable[..., Report]


@pytest.fixture(scope="session")
def asked() -> type[Asked]:
    """Give the class of the prompts that `write_report` takes."""
    return Asked


@pytest.fixture(scope="session")
def write_report(make_report: Callable[..., Report]) -> WriteReport:
    """Give `write_report(asked, adapters=..., labels=..., metadata=...)`: scored and decided by the real code."""

    def write(
        asked: Sequence[Asked],
        *,
        adapters: Sequence[str] = ("jarvis",),
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Report:
        plain = make_report(gains=dict.fromkeys(adapters, 0.0), categories=1, prompts=1, replicates=len(asked[0].base))
        rows = tuple(_row(one, adapter) for adapter in adapters for one in asked)
        failures = tuple(failure for one in asked for arm in (BASE_ARM, *adapters) for failure in _failed(one, arm))
        statistics = {name: _statistics(name, rows, failures, asked, labels or {}) for name in adapters}
        candidate = statistics[adapters[0]]
        decisions = {name: decision for name in adapters if (decision := _decide(rows, name)) is not None}
        return msgspec.structs.replace(
            plain,
            complete=not failures,
            metadata=msgspec.structs.replace(plain.metadata, **(metadata or {})),
            decisions=decisions,
            statistics=candidate.statistics,
            by_category=candidate.by_category,
            by_adapter=statistics,
            results=rows,
            failures=failures,
        )

    return write


def _row(one: Asked, adapter: str) -> ResultRow:
    base, tuned = (
        [_sample(one, arm, place, answer) for place, answer in enumerate(one.answers(arm)) if answer is not None]
        for arm in (BASE_ARM, adapter)
    )

    def mean(found: list[Sample], value: str) -> float | None:
        known = [score for sample in found if (score := getattr(sample, value)) is not None]
        return fmean(known) if known else None

    return ResultRow(
        prompt_id=one.prompt_id,
        category=one.category,
        prompt=one.text,
        adapter=adapter,
        keywords_expected=one.keywords,
        expected_tool=one.expected_tool,
        intended=one.intended,
        base_model_response=base[0].text if base else None,
        finetuned_response=tuned[0].text if tuned else None,
        cosine_similarity_score=0.8 if base and tuned and base[0].text and tuned[0].text else None,
        keyword_match_base=mean(base, "keyword_match"),
        keyword_match_finetuned=mean(tuned, "keyword_match"),
        jarvis_relevance_base=mean(base, "relevance"),
        jarvis_relevance_finetuned=mean(tuned, "relevance"),
        timestamp="2026-01-02T03:04:05+00:00",
        samples=(*base, *tuned),
    )


def _sample(one: Asked, arm: str, replicate: int, text: str) -> Sample:
    case = PromptCase(prompt_id=one.prompt_id, category=one.category, text=one.text, keywords=one.keywords)
    score = score_text(text, case, _DICTIONARY)
    plain = Sample(
        arm=arm,
        replicate=replicate,
        text=text,
        thinking=None,
        finish_reason="stop",
        prompt_tokens=5,
        tokens=len(text.split()),
        seconds=0.25 if arm == BASE_ARM else 0.5,
        first_token_s=0.1,
        cut_chars=0,
        keywords_found=score.keywords_found,
        keyword_match=score.keyword_match,
        terms_found=score.terms_found,
        tools_named=score.tools_named,
        relevance=score.relevance,
    )
    return msgspec.structs.replace(plain, **one.sample)


def _failed(one: Asked, arm: str) -> Iterator[FailureRow]:
    for replicate, answer in enumerate(one.answers(arm)):
        if answer is None:
            yield FailureRow(
                prompt_id=one.prompt_id,
                category=one.category,
                arm=arm,
                replicate=replicate,
                stage="timeout",
                reason=one.reason,
            )


def _decide(rows: Sequence[ResultRow], adapter: str) -> Decision | None:
    pairs = []
    for row in rows:
        if row.adapter == adapter:
            scores = (
                {one.replicate: one.relevance for one in row.of_arm(arm) if one.relevance is not None}
                for arm in (BASE_ARM, adapter)
            )
            pairs.append(pair_replicates(*scores))
    whole = [pair for pair in pairs if all(pair)]
    return decide([pair[0] for pair in whole], [pair[1] for pair in whole]) if whole else None


def _statistics(
    name: str,
    rows: Sequence[ResultRow],
    failures: Sequence[FailureRow],
    asked: Sequence[Asked],
    labels: Mapping[str, str],
) -> AdapterStatistics:
    own = [row for row in rows if row.adapter == name]
    failed = [failure for failure in failures if failure.arm in {BASE_ARM, name}]
    names = dict.fromkeys(one.category for one in asked)
    categories = [Category(name=one, label=labels.get(one, one), description="", cases=()) for one in names]
    planned = {category: sum(one.category == category for one in asked) for category in names}
    return AdapterStatistics(
        statistics=make_averages(own, len(asked), len(failed)),
        by_category=category_averages(categories, planned, own, failed),
    )
