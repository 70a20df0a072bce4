"""The report in a browser: Debian's Chromium, driven as a person would use the page."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from distill_lab.results.report.write import write_report
from tests.results.made_study import entry, make_study
from tests.results.test_report import HOSTILE

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
select = pytest.importorskip("selenium.webdriver.support.select")
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--hide-scrollbars", "--disable-dev-shm-usage",
)  # fmt: skip
WIDTHS = (390, 1440)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not here (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    opened = webdriver.Chrome(options=options, service=service)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with hostile names and texts in every place, of twelve runs."""
    folder = tmp_path_factory.mktemp("page")
    entries = [entry(model) for model in ("teacher", "student", "baseline")]
    make_study(
        folder / "s", (1.0, 2.0, 4.0), (0.5, 0.9), labels=("no", "yes", HOSTILE), bench=entries,
        study=HOSTILE, task=HOSTILE,
        choices={"task": "t", "student": HOSTILE, "teacher_name": HOSTILE},
    )  # fmt: skip
    failed = folder / "s" / "<img src=x onerror=hurt=1>"
    failed.mkdir()
    (failed / "error.txt").write_text(HOSTILE, encoding="utf-8")
    write_report([folder / "s"], folder / "report.html")
    return folder / "report.html"


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Open]:
    def go(width: int = 1440, theme: str = "light") -> Any:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wanted = {"name": "prefers-color-scheme", "value": theme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wanted]})
        browser.get_log("browser")
        browser.get(report.as_uri())
        browser.execute_script("localStorage.clear()")
        browser.get(report.as_uri())
        return browser

    yield go
    assert browser.execute_script("return window.hurt") is None, "a text of the user's has run"
    assert browser.get_log("browser") == []


def until(browser: Any, script: str, *arguments: Any) -> Any:
    """Wait for a script to answer something that is true."""
    end = time.monotonic() + 60
    while not (answer := browser.execute_script(script, *arguments)):
        assert time.monotonic() < end, script
        time.sleep(0.05)
    return answer


def all_drawn(browser: Any) -> None:
    """Scroll to every figure and wait for its picture."""
    for figure in browser.find_elements("css selector", "figure[data-figure]"):
        browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", figure)
        until(browser, "return arguments[0].querySelector('.main-svg') !== null", figure)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_and_draws_all_figures(opened: Open, width: int, theme: str) -> None:
    browser = opened(width, theme)
    all_drawn(browser)
    wide = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]"
    )
    assert wide == [width, width, width]
    beyond = browser.execute_script(
        "return [...document.querySelectorAll('.plot, .card, select, button, input')].filter(e =>"
        " !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert beyond == 0
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 26)") == (theme == "dark")


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_there_in_under_two_seconds(opened: Open, width: int) -> None:
    took = []
    for _ in range(3):  # on a machine that others use, the best of three says what the page takes
        browser = opened(width)
        took.append(
            until(
                browser,
                "return performance.getEntriesByType('navigation')[0].loadEventEnd",
            )
        )
        all_drawn(browser)
        if took[-1] < 2000:
            break
    assert min(took) < 2000


def test_the_slider_softens_the_targets(opened: Open) -> None:
    browser = opened()
    slider = browser.find_element("css selector", ".softness input[type=range]")
    first = "return parseFloat(document.querySelector('.sample .fill').style.width)"
    row = browser.execute_script(
        "return JSON.parse(document.getElementById('samples').textContent)"
    )
    logits = row[0][0]["logits"]
    for keys, temperature in (("\ue010", 20.0), ("\ue011", 0.5)):  # End, Home
        slider.send_keys(keys)
        assert browser.execute_script("return Number(arguments[0].value)", slider) == temperature
        shown = browser.find_element("css selector", ".softness output").text
        assert float(shown) == temperature
        whole = sum(math.exp(z / temperature) for z in logits)
        wanted = 100 * math.exp(logits[0] / temperature) / whole
        assert browser.execute_script(first) == pytest.approx(wanted, abs=0.01)
    assert "T = 0.5" in browser.find_element("css selector", ".softly").text
    assert slider.get_attribute("aria-valuetext") == "T = 0.5"


def test_a_heading_sorts_and_says_so(opened: Open) -> None:
    browser = opened()
    table = browser.find_element("id", "run-table")
    heads = table.find_elements("css selector", "thead th")
    column = [head.text.strip() for head in heads].index("accuracy")
    values = "return [...arguments[0].tBodies[0].rows].map(r => r.cells[arguments[1]].textContent)"
    browser.execute_script("arguments[0].scrollIntoView()", table)
    button = heads[column].find_element("css selector", "button")
    for state, reverse in (("ascending", False), ("descending", True)):
        button.send_keys("\n")  # by keyboard
        assert heads[column].get_attribute("aria-sort") == state
        found = browser.execute_script(values, table, column)
        numbers = [float(value) for value in found if value]
        assert len(numbers) == 12 and numbers == sorted(numbers, reverse=reverse)
        assert found[-1] == ""  # the run that failed has none and stays last
    others = [h.get_attribute("aria-sort") for h in heads if h != heads[column]]
    assert set(others) == {"none", None}


def test_the_comparison_is_sorted_below_teacher_and_baseline(opened: Open) -> None:
    browser = opened()
    table = browser.find_element("id", "group-1-table")
    button = table.find_element("css selector", "thead th:nth-child(2) button")
    models = "return [...arguments[0].querySelectorAll('tbody th')].map(e => e.textContent)"
    browser.execute_script("arguments[0].click(); arguments[0].click()", button)
    assert browser.execute_script(models, table) == ["teacher", "baseline", *["student"] * 6]
    column = "return [...arguments[0].tBodies[1].rows].map(r => r.cells[1].textContent)"
    assert browser.execute_script(column, table) == ["4", "4", "2", "2", "1", "1"]


def test_the_search_counts_what_it_finds(opened: Open) -> None:
    browser = opened()
    field = browser.find_element("id", "search")
    found = browser.find_element("id", "found")
    assert found.text == "13 runs" and found.get_attribute("aria-live") == "polite"
    shown = (
        "return [...document.querySelectorAll('#run-table tbody tr')].filter(r => !r.hidden).length"
    )
    for text, count in (("t=4 seed=1", 2), ("failed", 1), ("nothing of this", 0)):
        field.clear()
        field.send_keys(text)
        assert browser.execute_script(shown) == count
        assert found.text == f"{count} of 13 runs"
    field.send_keys("\ue009a\ue009\ue003")  # all of it, deleted
    until(browser, "return document.getElementById('found').textContent === '13 runs'")


def test_the_theme_is_switched_and_remembered(opened: Open) -> None:
    browser = opened()
    button = browser.find_element("id", "theme")
    first = browser.find_element("css selector", "figure[data-figure]")
    browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", first)
    ink = "return getComputedStyle(arguments[0].querySelector('.xtick text')).fill"
    until(browser, "return arguments[0].querySelector('.xtick text') !== null", first)
    assert button.text == "Dark theme"
    assert browser.execute_script(ink, first) == "rgb(28, 32, 36)"
    browser.execute_script("arguments[0].click()", button)
    until(browser, f"return (() => {{ {ink} }})(arguments[0]) !== 'rgb(28, 32, 36)'", first)
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"
    browser.refresh()
    assert browser.find_element("id", "theme").text == "Light theme"
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 26)"
    )


def test_another_view_has_its_own_words_and_numbers(opened: Open) -> None:
    browser = opened()
    figure = browser.find_element("css selector", "figure[data-figure=group-1-map]")
    browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", figure)
    until(browser, "return arguments[0].querySelector('.main-svg') !== null", figure)
    plot = figure.find_element("css selector", ".plot")
    before = plot.get_attribute("aria-label")
    select.Select(figure.find_element("css selector", "select")).select_by_index(1)
    assert plot.get_attribute("aria-label") != before
    sentences = figure.find_elements("css selector", ".sentence")
    assert [s.is_displayed() for s in sentences] == [False, True]
    assert plot.get_attribute("aria-label") == sentences[1].text


def test_a_command_is_shown_and_copied(opened: Open) -> None:
    browser = opened()
    row = browser.find_element("css selector", "#run-table tbody tr")
    browser.execute_script("arguments[0].scrollIntoView()", row)
    show, copy = (row.find_element("css selector", f"button.{kind}") for kind in ("show", "copy"))
    browser.execute_script("arguments[0].click()", show)
    assert show.get_attribute("aria-expanded") == "true" and show.text == "Hide"
    browser.execute_script("arguments[0].click()", copy)
    until(browser, "return ['Copied', 'Selected'].includes(arguments[0].textContent)", copy)


def test_everything_has_a_name_and_a_place(opened: Open) -> None:
    browser = opened()
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, input, select, [role=region], [role=img]')]"
        ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') ||"
        " e.getAttribute('aria-labelledby') || e.labels?.length)).length"
    )
    assert unnamed == 0
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(e => Number(e.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    for landmark in ("header", "nav[aria-label]", "main", "footer"):
        assert len(browser.find_elements("css selector", f"body {landmark}")) == 1
    heads = browser.execute_script(
        "return [...document.querySelectorAll('th')].every(e => e.hasAttribute('scope'))"
    )
    assert heads
