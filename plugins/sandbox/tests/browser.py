"""Chromium without a window, driven over a pipe: no other package, no port."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress


def found():
    """Return where Chromium is, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


WIRE = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One window of Chromium."""

    def __init__(self, *, dark=False, width=1100, height=900):
        self._folder = tempfile.mkdtemp(prefix="paysession-browser-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [
            found(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
            "--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={self._folder}", "about:blank",
        ]  # fmt: skip

        # Chromium reads commands from file 3, and answers in file 4.
        wired = [sys.executable, "-c", WIRE, str(to_browser), str(from_browser), *command]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(wired, pass_fds=(to_browser, from_browser), **quiet)
        os.close(to_browser)
        os.close(from_browser)
        self._rest = b""
        self._number = 0
        self._session = None
        target = next(row for row in self.send("Target.getTargets")["targetInfos"] if row["type"] == "page")[
            "targetId"
        ]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def close(self):
        with suppress(OSError, BrokenPipeError):
            self._session = None
            self.send("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._folder, ignore_errors=True)

    def send(self, method, **params):
        """Send a command of the DevTools protocol, and return what it answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 16)
            if not more:
                raise OSError("the browser is gone")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def run(self, script):
        """Run a script in the page, and return what it returns; a promise is waited for."""
        found = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"].get("exception", {}).get("description", "it failed"))
        return found["result"].get("value")

    def open(self, url):
        self.run("window.left = true")
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && !window.left")

    def until(self, condition, seconds=15):
        """Wait until a condition holds in the page; return its value."""
        end = time.monotonic() + seconds
        while True:
            with suppress(RuntimeError):  # the page may just be going away
                value = self.run(f"((found) => found instanceof Element ? true : found)({condition})")
                if value:
                    return value
            if time.monotonic() > end:
                raise AssertionError(f"{condition} did not hold: {self.run('document.body.innerText')}")
            time.sleep(0.02)

    def press_in_frame(self, label):
        """Press a button within a frame."""
        self.run_in_frame(
            f"(() => {{ const b = [...document.querySelectorAll('button')].find((b) => b.innerText === "
            f"{json.dumps(label)}); if (b) b.click(); return !!b; }})()"
        )

    def run_in_frame(self, script):
        """Run a script within a frame, again until it returns something true."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            tree = self.send("Page.getFrameTree")["frameTree"]
            for child in tree.get("childFrames", ()):
                with suppress(RuntimeError):  # the frame may just be going to another page
                    world = self.send("Page.createIsolatedWorld", frameId=child["frame"]["id"])
                    found = self.send(
                        "Runtime.evaluate",
                        expression=script,
                        contextId=world["executionContextId"],
                        returnByValue=True,
                    )
                    if found["result"].get("value"):
                        return
            time.sleep(0.05)
        raise AssertionError(f"no frame answers {script}")

    def picture(self, path):
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
