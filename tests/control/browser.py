"""A headless Chromium driven over a pipe (its DevTools protocol), for tests of pages."""
import base64
import json
import os
import select
import shutil
import subprocess
import time

PROGRAM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-pipe", "about:blank"]


class Browser:
    """One page; what it logs and what goes wrong in it is in `faults`."""

    def __init__(self, folder, prefix=(), seconds=30):
        down, up = os.pipe(), os.pipe()  # its descriptors 3 and 4
        script = f'exec 3<&{down[0]} 4>&{up[1]}; exec "$@"'
        with open(folder / "browser.log", "ab") as log:
            self.process = subprocess.Popen([*prefix, "bash", "-c", script, "bash", PROGRAM,
                f"--user-data-dir={folder}/browser", *FLAGS], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, pass_fds=(down[0], up[1]))
        os.close(down[0])
        os.close(up[1])
        self.write, self.read = down[1], up[0]
        self.buffer, self.number, self.seconds = b"", 0, seconds
        self.faults, self.session = [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def message(self, end):
        while b"\0" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self.read, 1 << 20)
            if not data:
                raise ConnectionError("the browser has ended")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + self.seconds
        while True:
            m = self.message(end)
            if m.get("id") == self.number:
                assert "error" not in m, (method, m["error"])
                return m["result"]
            self.note(m)

    def note(self, m):
        if m.get("method") == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(m["params"]["exceptionDetails"])[:500])
        if m.get("method") == "Log.entryAdded" and m["params"]["entry"]["level"] == "error":
            self.faults.append(m["params"]["entry"]["text"])

    def size(self, width, height, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=scale, mobile=width < 500)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme",
            "value": name}])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def eval(self, text):
        got = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def until(self, text, seconds=20):
        """The first true value of this expression."""
        end = time.monotonic() + seconds
        while True:
            value = self.eval(text)
            if value:
                return value
            assert time.monotonic() < end, (text, self.eval("document.body.innerText"), self.faults)
            time.sleep(0.05)

    def picture(self, path, whole=True):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.write)
        os.close(self.read)
