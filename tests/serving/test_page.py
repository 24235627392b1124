"""The page in a real browser, over the bare app; skipped where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from endpoints import TOKEN, Endpoint, config_of, landscape, stock_of, tiny_net

from eqr_ray.serving.shelf import torch_stock
from eqr_ray.sim import SimEngine

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: playwright.Browser):
    """Open the page; at the end nothing may have gone elsewhere or wrong."""
    contexts, wrong = [], []

    def open_at(there: Endpoint, size: dict[str, int] = DESKTOP, scheme: str = "light", complains: bool = False):
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on(
            "request",
            lambda request: wrong.append(request.url) if not request.url.startswith((there.url, "data:")) else None,
        )
        if not complains:
            page.on(
                "console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None
            )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(there.url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert wrong == []


def board(page: playwright.Page) -> str:
    return "".join(text or "." for text in page.locator("#board [role=gridcell]").all_text_contents())


def solved(page: playwright.Page) -> None:
    page.wait_for_selector("#verdict:not([hidden])")


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_a_puzzle_is_picked_solved_and_watched(endpoint: Endpoint, open_page, size, scheme: str) -> None:
    page = open_page(endpoint, size, scheme)
    page.wait_for_selector("#solve:not([disabled])")
    page.get_by_role("button", name="Example 1, easy").click()
    question = board(page)
    page.fill("#depth", "32")
    page.fill("#breadth", "4")
    page.click("#solve")
    solved(page)
    answer = endpoint.client().solve(question, depth=32, breadth=4)["verdict"]
    assert board(page) == answer["prediction"]
    sure = answer["confidence"] >= 0.9995
    assert (
        page.inner_text("#headline")
        == f"{'over 99.9' if sure else format(100 * answer['confidence'], '.1f')} % confident"
    )
    assert f"{answer['nfe']} of at most" in page.inner_text("#status")
    assert page.locator("#boards canvas").count() == answer["breadth"]
    assert page.locator("#chart polyline").count() >= 1
    assert page.locator("#votes li.leader").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], "nothing hangs over the edge"


def test_curves_boards_and_votes_of_several_trajectories(endpoint: Endpoint, open_page) -> None:
    page = open_page(endpoint)
    page.wait_for_selector("#solve:not([disabled])")
    page.click("#policies label:has([value=fixed])")
    page.fill("#depth", "40")
    page.fill("#breadth", "6")
    page.click("#solve")
    solved(page)
    assert page.locator("#boards canvas").count() == 6
    assert page.locator("#chart polyline").count() == 6
    points = page.locator("#chart polyline").first.get_attribute("points").split()
    assert len(points) == 38, "residuals are defined from the third iteration on"
    drawn = page.evaluate(
        "Array.from(document.querySelector('#boards canvas').getContext('2d').getImageData(0, 0, 60, 60).data).some(Boolean)"
    )
    assert drawn


@pytest.mark.parametrize("policy", ["economy", "balanced", "max", "fixed"])
def test_every_policy_that_the_page_offers_can_be_watched(endpoint: Endpoint, open_page, policy: str) -> None:
    page = open_page(endpoint)
    page.wait_for_selector("#solve:not([disabled])")
    assert page.evaluate("document.querySelector('#solve').getBoundingClientRect().bottom <= innerHeight"), (
        "within reach"
    )
    page.click(f"#policies label:has([value={policy}])")
    assert "iterations" in page.inner_text("#policy-note")
    page.click("#solve")
    solved(page)
    assert "." not in board(page)
    assert page.locator("#hello").is_hidden()


def test_meanwhile_the_board_shows_the_leading_answer(listen, open_page) -> None:
    page = open_page(listen([stock_of(SimEngine(landscape(easy=0.0, hard_depth=1e6)))], **{"limits.trace_rows": 65536}))
    page.wait_for_selector("#solve:not([disabled])")
    question = board(page)
    page.fill("#depth", "4096")
    page.fill("#breadth", "16")
    page.click("#solve")
    page.wait_for_selector("#board.thinking .answer")
    assert all(given in (".", shown) for given, shown in zip(question, board(page), strict=True))
    page.click("#stop")
    page.get_by_text("Stopped after").wait_for()
    page.wait_for_selector("#board:not(.thinking)")
    assert board(page) == question


def test_the_keyboard_alone_types_solves_and_stops(endpoint: Endpoint, open_page) -> None:
    page = open_page(endpoint)
    page.wait_for_selector("#solve:not([disabled])")
    page.click("#clear")
    assert set(board(page)) == {"."}
    page.locator("#board [role=gridcell]").first.focus()
    page.keyboard.type("12")
    page.keyboard.press("ArrowDown")
    page.keyboard.type("3")
    assert board(page)[:12] == "12......3..."
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Delete")
    assert board(page)[:12] == "12.........."
    page.keyboard.press("Control+Enter")
    solved(page)
    assert "." not in board(page)


def test_a_pasted_puzzle_finds_its_model_and_a_wrong_one_is_explained(endpoint: Endpoint, open_page) -> None:
    page = open_page(endpoint, complains=True)
    page.wait_for_selector("#solve:not([disabled])")
    nine = endpoint.client().models()["models"][1]["examples"][0]
    page.fill("#text", "\n".join(nine[at : at + 9] for at in range(0, 81, 9)).replace(".", "0"))
    assert board(page) == nine
    assert page.input_value("#model") == "nine"
    page.fill("#text", nine[:-1])
    assert "81 cells" in page.inner_text("#problem")
    page.fill("#text", "11" + nine[2:])
    page.click("#solve")
    page.wait_for_selector("#problem:not([hidden])")
    assert "must obey the rules" in page.inner_text("#problem")


def test_escape_stops_a_long_search_and_another_can_begin(listen, open_page) -> None:
    there = listen([stock_of(SimEngine(landscape(easy=0.0, hard_depth=1e6)))], **{"limits.trace_rows": 65536})
    page = open_page(there)
    page.wait_for_selector("#solve:not([disabled])")
    page.fill("#depth", "4096")
    page.fill("#breadth", "16")
    page.click("#solve")
    page.wait_for_selector("#chart polyline")
    page.keyboard.press("Escape")
    page.get_by_text("Stopped after").wait_for()
    assert there.service.drive.drain(60.0)
    page.fill("#depth", "8")
    page.fill("#breadth", "1")
    page.click("#solve")
    solved(page)


def test_a_maze_is_drawn_edited_and_asked(listen, open_page, tmp_path) -> None:
    there = listen(torch_stock(config_of(mazes=tiny_net(tmp_path, "maze10x10"))))
    page = open_page(there)
    page.wait_for_selector("#solve:not([disabled])")
    cells = page.locator("#board [role=gridcell]")
    assert cells.count() == 100
    assert "# wall" in page.inner_text("#notation")
    assert page.locator("#board .start").count() == page.locator("#board .goal").count() == 1
    at = page.evaluate(
        "[...document.querySelectorAll('#board [role=gridcell]')].findIndex((cell) => cell.className.includes('open'))"
    )
    cells.nth(at).focus()
    cells.nth(at).click()
    page.get_by_role("button", name="Fill Wall").click()
    assert "wall" in cells.nth(at).get_attribute("class")
    page.get_by_role("button", name="Example 1").click()
    page.fill("#depth", "6")
    page.fill("#breadth", "3")
    page.click("#solve")
    solved(page)
    assert page.locator("#boards canvas").count() >= 1
    assert page.inner_text("#rules") == "✗ breaks the rules", "the net was never trained"


def test_a_page_that_needs_a_token_asks_for_it(listen, open_page) -> None:
    there = listen(tokens=(TOKEN,))
    page = open_page(there, complains=True)
    page.wait_for_selector("#token-dialog[open]")
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("#solve:not([disabled])")
    page.click("#solve")
    solved(page)
