"""The page in a real Chromium, as a person finds things on it: by what is written there."""

import os

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from showcase import eventually

# Every text that is seen, with the contrast between it and what is behind it (WCAG 2.1, relative luminance).
CONTRAST = """
const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const colour = (text) => text.match(/[\\d.]+/g).map(Number);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("noscript, svg, .unseen, .skip")) continue;
  let behind = element;
  while (behind && (colour(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
  const pair = [colour(getComputedStyle(element).color), colour(getComputedStyle(behind ?? document.body).backgroundColor)]
    .map(luminance).sort((a, b) => b - a);
  found.push([(pair[0] + .05) / (pair[1] + .05), walker.currentNode.data.trim().slice(0, 30), element.className]);
}
return found;
"""

# What somebody who does not see the page, or has no mouse, would miss.
GAPS = """
const named = (e) => (e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent || "").trim() !== "";
const gaps = [];
for (const e of document.querySelectorAll("input, textarea, button, a[href], summary"))
  if (e.checkVisibility() && !named(e)) gaps.push("no name: " + e.outerHTML.slice(0, 80));
for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) gaps.push("no alt: " + e.outerHTML.slice(0, 80));
for (const e of document.querySelectorAll("svg")) if (e.getAttribute("role") !== "img" || !named(e)) gaps.push("no words for a chart");
for (const e of document.querySelectorAll("table"))
  if (e.checkVisibility() && !e.querySelector("th[scope]")) gaps.push("a table without headings");
const levels = [...document.querySelectorAll("h1, h2, h3, h4")].filter((e) => e.checkVisibility()).map((e) => +e.tagName[1]);
levels.forEach((level, i) => { if (level > (levels[i - 1] ?? 0) + 1) gaps.push("headings leap to h" + level); });
if (levels.filter((level) => level === 1).length !== 1) gaps.push("not one h1");
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
if (new Set(ids).size !== ids.length) gaps.push("an id twice");
if (!document.documentElement.lang) gaps.push("no language");
return gaps;
"""


class Page:
    """One window. Not thread-safe."""

    def __init__(self, url, flags, width=1200, height=900, dark=False):
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for flag in flags + ["--window-size=%d,%d" % (width, height)]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.width, self.height, self.url = width, height, url.split("#")[0]
        self.resize(height)
        if dark:
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        self.driver.get(url)

    def resize(self, height):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.width < 600})

    def go(self, where):
        """A view by what stands behind '#'; a new document."""
        self.driver.get("about:blank")
        self.driver.get(self.url + where)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self):
        return self.run("return document.body.innerText")

    def see(self, *words):
        """Waits until all these words are there."""
        for word in words:
            eventually(lambda: word in self.text(), "%r in\n%s" % (word, self.text()))

    def find(self, css):
        return eventually(lambda: self.driver.find_elements(By.CSS_SELECTOR, css), css)[0]

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def press(self, *keys):
        """On whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(getattr(Keys, key, key))

    def click(self, css):
        self.find(css).click()

    def contrast(self):
        return self.run(CONTRAST)

    def gaps(self):
        return self.run(GAPS)

    def overflow(self):
        """Pixels by which it is wider than its window."""
        return self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def screenshot(self, name):
        """Of all of it, into $EVOKE_SCREENSHOTS when that is set."""
        folder = os.environ.get("EVOKE_SCREENSHOTS")
        if not folder:
            return
        os.makedirs(folder, exist_ok=True)
        self.resize(max(self.height, self.run("return document.documentElement.scrollHeight")))
        self.driver.save_screenshot(os.path.join(folder, name + ".png"))
        self.resize(self.height)

    def complaints(self):
        """What the browser said of errors: of scripts, and of what the page's own policy forbids."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE" and " 40" not in entry["message"]]  # refusals are shown on the page

    def quit(self):
        self.driver.quit()
