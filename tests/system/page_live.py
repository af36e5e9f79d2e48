#!/usr/bin/python3 -B
"""The live page in a real browser: numbers move, an outage shows, recovery shows.

Logs arrive steadily; a headless Chromium looks at the page. The sink is ended and started again, and
the page must say so both times with its cause; at the end the relay stops, and the page says that it
is stale. No console error, no outside resource, no sideways scrolling; everything but the movement
is there without JavaScript. Screenshots of light and dark, 1280 and 400 wide, go to build/screenshots.
"""
import json
import os
import subprocess
import sys

import harness
from harness import ROOT, check, clean_env

sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
import nodes  # noqa: E402

SHOTS = os.path.join(ROOT, "build", "screenshots")


class Browser:
    def __init__(self, rig, url):
        env = dict(clean_env(), NODE_PATH=os.path.join(nodes.install(), "node_modules"),
                   HOME=rig.dir)
        with open(rig.path("browser.err"), "wb") as err:
            self.process = subprocess.Popen(
                ["node", os.path.join(ROOT, "tests", "web", "page.js"), url, SHOTS], env=env,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True)
        self.rig = rig
        rig.at_end.callback(self.process.kill)

    def tell(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self, word):
        line = self.process.stdout.readline().strip()
        with open(self.rig.path("browser.err"), encoding="utf-8", errors="replace") as file:
            check(line.startswith(word), f"the page: expected {word}, heard {line!r}; {file.read()}")
        print(line)
        return line[len(word):].strip()


def test(rig):
    if not os.path.exists("/usr/bin/chromium"):
        print("no chromium here: tools/install-deps check")
        sys.exit(77)
    os.makedirs(SHOTS, exist_ok=True)
    rig.start_sim("--generate", "2000000@400", shards=4)
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port, metrics={"listen": "127.0.0.1:0"}))
    url = relay.wait_line(r"listening on (http://127\.0\.0\.1:\d+/)").group(1)
    browser = Browser(rig, url)
    browser.hear("moving")
    sink.kill()
    browser.tell("outage")
    cause = browser.hear("outage")
    check(any(word in cause.lower() for word in ("refused", "connect", "closed", "reset")),
          f"no cause on the page: {cause}")
    rig.start_sink("--discard", port=sink.port)
    browser.tell("recovered")
    browser.hear("recovered")
    errors = json.loads(browser.hear("errors"))
    check(errors == [], f"the page: {errors}")
    check(relay.stop() == 0, "the relay left with an error")
    browser.tell("stopped")
    browser.hear("stale")
    check(browser.process.wait(60) == 0, "the browser ended with an error")
    shots = [name for name in os.listdir(SHOTS) if name.endswith(".png")]
    check(len(shots) >= 8, f"screenshots: {shots}")


harness.main(test)
