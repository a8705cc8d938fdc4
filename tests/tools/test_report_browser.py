"""The report in a real browser: headless Chromium renders it, light and dark, on a desk, a phone and paper."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from .conftest import run
from .test_report import at, build, read_back  # noqa: F401 - build is a fixture

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
    "--virtual-time-budget=10000",
)  # fmt: skip
PROBE = """
const frame = document.querySelector("iframe"), report = {};
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const style = (selector, key) => page.defaultView.getComputedStyle(page.querySelector(selector))[key];
  const shown = element => element.checkVisibility() && element.getClientRects().length > 0;
  report.overflow = root.scrollWidth - root.clientWidth;
  report.width = root.clientWidth;
  report.height = root.scrollHeight;
  report.numbers = [...page.querySelectorAll("data")].filter(shown).map(d => [d.dataset.key, d.value, d.innerText]);
  report.outside = [...page.querySelectorAll("main *")].filter(shown).filter(element => {
    const box = element.getBoundingClientRect();
    return box.right > root.clientWidth + 1 && !element.closest("nav, .wide, svg");
  }).map(element => element.outerHTML.slice(0, 120));
  report.pictures = [...page.images].map(image => image.complete && image.naturalWidth);
  report.background = style("body", "backgroundColor");
  report.ink = style("body", "color");
  report.shades = ["by-memory", "by-activity"].map(id => {
    page.getElementById(id).click();
    return [...page.querySelectorAll(".core")].map(core => page.defaultView.getComputedStyle(core).fillOpacity);
  });
  report.cut = [...page.querySelectorAll(".value, .figure, .figure data")].filter(shown)
    .filter(element => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0)
    .map(element => element.outerHTML.slice(0, 120));
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(report);
  document.body.append(result);
};
"""


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page: measurements of PROBE, and what was written to the console."""

    found: dict[str, Any]
    console: list[str]


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def visit(page: str, folder: Path, width: int, scheme: str = "light") -> Visit:
    """Open a page in a frame of a width and colour scheme: a frame's media queries see the frame, not the window."""
    frame = (
        f'<iframe srcdoc="{escape(page)}" style="border:0;width:{width}px;height:900px;color-scheme:{scheme}"></iframe>'
    )
    outer = folder / f"{width}-{scheme}.html"
    outer.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frame}<script>{PROBE}</script>", encoding="utf-8")
    done = chromium(folder, "--window-size=1600,1000", "--dump-dom", outer.as_uri())
    result = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert result is not None, done.stderr[-2000:]
    return Visit(json.loads(unescape(result[1])), console(done))


@pytest.fixture(scope="module")
def written(build) -> tuple[str, dict[str, Any]]:  # noqa: F811
    """The page and its document."""
    paths = build / "page.html", build / "page.json"
    for path, form in zip(paths, ("html", "json"), strict=True):
        outcome = run("report", build, "--format", form, "-o", path)
        assert outcome.code == 0, outcome.err
    return paths[0].read_text(encoding="utf-8"), json.loads(paths[1].read_text(encoding="utf-8"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (820, "light")])
def test_it_renders(written, tmp_path, width, scheme):
    page, document = written
    seen = visit(page, tmp_path, width, scheme)
    assert seen.console == []
    assert seen.found["width"] == width
    assert seen.found["overflow"] == 0, seen.found["outside"]
    assert seen.found["outside"] == []
    assert seen.found["cut"] == []
    assert seen.found["height"] > 3000
    assert len(seen.found["pictures"]) > 3
    assert all(seen.found["pictures"])
    luminance = [sum(map(int, re.findall(r"\d+", seen.found[key])[:3])) for key in ("background", "ink")]
    assert (luminance[0] < luminance[1]) == (scheme == "dark")
    assert abs(luminance[0] - luminance[1]) > 500
    assert len(seen.found["numbers"]) > 120
    for pointer, value, text in seen.found["numbers"]:
        stated = at(document, pointer)
        assert float(value) == stated
        unit = 1e-12 if text.endswith("J") else 1e-9 if text.endswith("s") else 1
        assert read_back(text) == pytest.approx(stated * unit, rel=0.006, abs=5e-6), (pointer, text)


def test_the_chip_can_be_shaded_two_ways(written, tmp_path):
    page, document = written
    by_memory, by_activity = visit(page, tmp_path, 1280).found["shades"]
    uses = document["target"]["mapping"]["core_use"]
    traffic = [use["messages_in"] + use["messages_out"] for use in uses]
    assert [float(s) for s in by_memory] == pytest.approx([0.1 + 0.9 * use["memory_use"] for use in uses], abs=2e-3)
    assert [float(s) for s in by_activity] == pytest.approx([0.1 + 0.9 * t / max(traffic) for t in traffic], abs=2e-3)


def test_it_prints(written, tmp_path):
    page, _ = written
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    done = chromium(tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", (tmp_path / "page.html").as_uri())
    assert console(done) == []
    paper = (tmp_path / "page.pdf").read_bytes()
    assert paper.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 30


def test_errors_would_be_seen(tmp_path):
    """The console is read, and a page that is too wide is noticed."""
    wide = (
        '<!DOCTYPE html><main><div style="width:700px">x</div><script>console.error("seen"); undefinedName()</script>'
    )
    (tmp_path / "page.html").write_text(wide)
    done = chromium(tmp_path, "--dump-dom", (tmp_path / "page.html").as_uri())
    assert any("seen" in line for line in console(done))
    assert any("undefinedName" in line for line in console(done))
