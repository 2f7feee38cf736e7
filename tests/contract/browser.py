"""A headless Chromium, driven over a pipe by the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT = 60.0  # seconds for one answer
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


@dataclass(frozen=True, slots=True)
class Screen:
    """What a page is shown on: CSS pixels, and whether people prefer `dark` or `light`."""

    name: str
    width: int
    height: int
    scheme: str

    @property
    def is_phone(self) -> bool:
        return self.width < 600


class Page:
    """A tab of a browser; each call waits for its answer, and raises `RuntimeError` for an error."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def show(self, url: str, screen: Screen) -> None:
        """Load a page as it looks on a screen, and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=screen.width,
            height=screen.height,
            deviceScaleFactor=1,
            mobile=screen.is_phone,
        )
        media = [{"name": "prefers-color-scheme", "value": screen.scheme}]
        self.call("Emulation.setEmulatedMedia", features=media)
        self.call("Page.navigate", url=url)
        while self.evaluate("document.readyState + ' ' + location.href") != f"complete {url}":
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Write what the screen shows as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; events that come meanwhile are passed over."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._to, content) :]
        while (answer := self._next()).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], _TIMEOUT)[0]:
                raise RuntimeError(f"the browser gave no answer for {_TIMEOUT:g} seconds")
            piece = os.read(self._from, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


def program() -> str | None:
    """Return the path of a Chromium of the machine, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browsing(directory: Path) -> Iterator[Page]:
    """Give a page of a browser that keeps its profile in `directory`; it ends with the block."""
    found = program()
    if found is None:
        raise RuntimeError(f"none of {', '.join(NAMES)} is on PATH: install Chromium")
    read_end, to_browser = os.pipe()
    from_browser, write_end = os.pipe()
    options = [*_OPTIONS, f"--user-data-dir={directory}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    # the browser reads from descriptor 3 and writes to 4, whatever they are here
    command = ["bash", "-c", f'exec "$0" "$@" 3<&{read_end} 4>&{write_end}', found, *options]
    with subprocess.Popen(
        command, pass_fds=(read_end, write_end), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(read_end)
        os.close(write_end)
        try:
            yield Page(to_browser, from_browser)
        finally:
            os.close(to_browser)  # it ends when nobody speaks to it any more
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            os.close(from_browser)
