"""How the page looks and reads: names, contrast, sizes, and text that stays text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bargein.services.server import serve_page
from tests.environment import amount

from .browser import BROWSER, agent, choice, in_call, page_of, run, true

pytestmark = BROWSER


def test_everything_has_a_name() -> None:
    """Every control and region has a name for a screen reader, and the keyboard reaches all of them."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()], video_fps=1) as server, page_of(server) as page:
            nameless = await page.evaluate(
                """[...document.querySelectorAll("button, select, input, meter, section, canvas, video, summary")]
                .filter((node) => !(node.ariaLabel || node.getAttribute("aria-labelledby") || node.labels?.length
                                    || node.textContent?.trim())).map((node) => node.outerHTML)"""
            )
            assert nameless == []
            assert await page.get_by_role("log").get_attribute("aria-live") == "polite"
            assert await page.evaluate("document.querySelector('#log > ol#lines') !== null"), "a list is a list"
            for name in ("Talk", "Mute", "Interrupt", "Camera", "Send", "Settings"):
                assert await page.get_by_role("button", name=name).count() == 1
            await page.keyboard.press("Tab")
            reached = set()
            for _ in range(16):
                reached.add(await page.evaluate("document.activeElement.id || document.activeElement.tagName"))
                await page.keyboard.press("Tab")
            assert {"settings-button", "talk", "SUMMARY", "log", "text", "send", "timeline"} <= reached

    run(main)


CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a));
  const colour = (node, which) => rgba(getComputedStyle(node)[which]);
  const ground = (node) => (node ? over(colour(node, "backgroundColor"), ground(node.parentElement)) : [1, 1, 1]);
  const light = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  return [...document.querySelectorAll("body *")]
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .filter((node) => node.checkVisibility() && !node.closest(":disabled, .hidden, noscript"))
    .map((node) => {
      const behind = ground(node);
      const [one, other] = [over(colour(node, "color"), behind), behind].map(luminance);
      return [node.outerHTML.slice(0, 80), (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)];
    });
})()"""
"""Every element with words of its own, and how they stand out from what is behind them, as WCAG has it."""
SAID = """
  const { conversation } = bargein;
  conversation.user("1", "What is", false);
  conversation.user("2", "What is the weather?", true);
  conversation.written("3", "It is sunny in Paris.");
  conversation.heard("3", "It is", false);
  conversation.tool({ call: "c", state: "called", name: "weather", arguments: "{}" });
  conversation.interrupted(1);
  conversation.reacted(1, 90);
  conversation.written("4", "<img src=x onerror='window.harmed = 1'><script>window.harmed = 1</script>");
  conversation.heard("4", "<img src=x onerror='window.harmed = 1'>", false);
  const output = "<img src=x onerror='window.harmed = 1'>";
  conversation.tool({ call: "d", state: "finished", name: "<b>x</b>", output });
"""


def test_what_is_said_is_text_and_can_be_read() -> None:
    """No markup of an agent's or a tool's becomes the page's; all words stand out 4.5 to 1, by day and by night."""

    async def main() -> None:
        async with (
            serve_page(agent, port=0, brains=[choice()]) as server,
            page_of(server) as page,
        ):
            await page.evaluate(f"(() => {{ {SAID} document.getElementById('banner').hidden = false; }})()")
            for state in ("off", "hearing", "speaking", "lost"):
                for scheme in ("light", "dark"):
                    await page.emulate_media(color_scheme=scheme)
                    await page.evaluate(f"document.getElementById('status').dataset.state = {state!r}")
                    opened = str(state == "hearing").lower()
                    await page.evaluate(f"document.getElementById('stage').classList.toggle('open', {opened})")
                    await page.wait_for_timeout(50)
                    found = await page.evaluate(CONTRASTS)
                    assert len(found) > 25
                    assert not [each for each in found if each[1] < 4.5], (state, scheme)
            assert "<script>window.harmed" in await page.inner_text("#log")
            assert await page.evaluate("document.querySelectorAll('#lines img, #log script, #log b').length") == 0
            assert await page.evaluate("window.harmed") is None
            busy = "[...document.querySelectorAll('#log li')].map((node) => node.getAttribute('aria-busy') === 'true')"
            assert await page.evaluate(busy) == [True, False, False, False, False, True, False], "not read word by word"

    run(main)


SIZES = [(1280, 800), (768, 1024), (390, 844), (320, 640), (844, 390)]
AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.map(
  ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 90)).join(" | ")}`)"""


async def findings(page: Any) -> list[str]:
    """Return what axe-core finds on the page as it is now."""
    if not await page.evaluate("'axe' in window"):
        axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
        await page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found: list[str] = await page.evaluate(AXE)
    return found


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    amount(
        [(1280, 800, "dark"), (390, 844, "light")],
        [(width, height, scheme) for width, height in SIZES for scheme in ("light", "dark")],
    ),
)
def test_axe_finds_nothing(width: int, height: int, scheme: str) -> None:
    """On a first visit, in the settings, in a call without a microphone, among events and figures, and on the graph."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        look = {"width": width, "height": height, "color_scheme": scheme}
        async with (
            serve_page(agent, port=0, brains=[choice()], video_fps=1) as server,
            page_of(server, **look) as page,
        ):
            found = {"first visit": await findings(page)}
            await page.click("#settings-button")
            found["settings"] = await findings(page)
            await page.click("#settings-close")
            await page.click("#talk")
            await in_call(page)
            await page.evaluate(f"(() => {{ {SAID} }})()")
            found["no microphone"] = await findings(page)
            for view in ("events", "timings"):
                if await page.is_visible(f"#views [data-view={view}]"):
                    await page.click(f"#views [data-view={view}]")
                    found[view] = await findings(page)
            await page.evaluate("bargein.page.call.on.phase('reconnecting')")
            found["reconnecting"] = await findings(page)
            await page.evaluate(
                "bargein.page.ended({ type: 'end', reason: \"the session failed: KeyError: 'apple'\" })"
            )
            found["an error"] = await findings(page)
            await page.click("#talk")
            await in_call(page)
            drawn = await page.context.new_page()
            await drawn.goto(f"{server.url}graph")
            await true(drawn, "document.querySelectorAll('article svg').length > 0")
            found["graph"] = await findings(drawn)
        assert not {state: each for state, each in found.items() if each}

    run(main)


INSIDE = """(id) => {
  const { top, bottom, left, right, width } = document.getElementById(id).getBoundingClientRect();
  return width > 0 && top >= 0 && left >= 0 && bottom <= innerHeight && right <= innerWidth;
}"""


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fits(width: int, height: int) -> None:
    """Nothing is wider than the window; the newest words and the button that hangs up are seen without scrolling."""

    async def main() -> None:
        async with (
            serve_page(agent, port=0, brains=[choice()]) as server,
            page_of(server, width=width, height=height) as page,
        ):
            said = "for (let at = 0; at < 40; at++) bargein.conversation.user(`u${at}`, `The weather, ${at}?`, true)"
            await page.evaluate(said)
            await page.evaluate("document.querySelector('#lines li:last-child').id = 'newest'")
            views = await page.evaluate(
                "[...document.querySelectorAll('#views button')].map((one) => one.dataset.view)"
            )
            for view in views:
                if not await page.is_visible(f"#views [data-view={view}]"):
                    continue
                await page.click(f"#views [data-view={view}]")
                shown = await page.evaluate(
                    "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
                )
                assert shown[0] <= width, view
                assert shown[1] <= height, view
                for name in ("talk", "interrupt", "settings-button"):
                    assert await page.evaluate(INSIDE, name), (view, name)
            await page.click("#views [data-view=conversation]")
            assert await page.evaluate(INSIDE, "newest"), "the log scrolls in its frame"
            assert await page.evaluate(INSIDE, "text")
            assert await page.evaluate(INSIDE, "timeline") == (min(width, height) > 700), "where there is room"
            await page.click("#settings-button")
            assert await page.evaluate("document.getElementById('settings').scrollWidth") <= width

    run(main)


LATE = """(() => {
  const { conversation } = bargein;
  conversation.written("1", "It is sunny.");
  conversation.answered(90);
  conversation.interrupted(1);
  conversation.answered(120); // before the words that it belongs to
  conversation.written("2", "Do you mean Paris?");
  return [...document.querySelectorAll("#lines .who")].map((node) => node.textContent);
})()"""


def test_each_answer_has_its_own_figure() -> None:
    """A figure that comes before the words of its answer waits for them."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            assert await page.evaluate(LATE) == ["Agent after 90 ms", "Agent after 120 ms"]

    run(main)


def test_the_reader_may_scroll() -> None:
    """New words do not move what is being read; a button leads back to the newest."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server, height=600) as page:
            say = "(() => { for (let at = 0; at < 30; at++) bargein.conversation.mark(`line ${at}`); })()"
            bottom = "(() => { const { scrollHeight, scrollTop, clientHeight } = document.getElementById('log');"
            bottom += " return scrollHeight - scrollTop - clientHeight < 5; })()"
            await page.evaluate(say)
            assert await page.evaluate(bottom)
            assert await page.is_hidden("#newest")
            await page.evaluate("document.getElementById('log').scrollTop = 0")
            await page.wait_for_selector("#newest", state="visible")
            await page.evaluate(say)
            assert await page.evaluate("document.getElementById('log').scrollTop") == 0
            await page.click("#newest")
            assert await page.evaluate(bottom)
            await page.evaluate("for (let at = 0; at < 600; at++) bargein.conversation.mark(`line ${at}`)")
            assert await page.evaluate("document.querySelectorAll('#lines li').length") == 500, "it is bounded"

    run(main)


ERRORS = """(async () => {
  const { explain } = await import("/notices.js");
  const { ServerError } = await import("/server.js");
  const said = (...given) => explain(...given).title;
  return [
    said({ type: "error", message: "KeyError: 'apple' in Fruit, agent.py line 7", fatal: true }),
    said({ type: "end", reason: "the session failed", why: "KeyError: 'apple' in Fruit, agent.py line 7" }),
    said({ type: "end", reason: "the time is up" }),
    said({ type: "end", reason: "" }),
    said(new ServerError("The server does not answer.")),
    said(new ServerError("the server has 3 sessions", 503)),
    said(new ServerError("The server does not answer."), "reconnecting"),
    said(new ServerError("the token is wrong", 401), "reconnecting"),
    said(Object.assign(new Error("x"), { name: "NotReadableError" }), "microphone"),
    said(new Error("it is broken"), "camera"),
  ];
})()"""


def test_errors_are_sentences() -> None:
    """The server's own words are shown, with what happened; the reason of a failure is not lost at the end."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            assert await page.evaluate(ERRORS) == [
                "KeyError: 'apple' in Fruit, agent.py line 7",
                "The agent hung up: KeyError: 'apple' in Fruit, agent.py line 7.",
                "The agent hung up: the time is up.",
                "The agent hung up.",
                "The call could not begin. The server does not answer.",
                "The call could not begin. The server has 3 sessions.",
                "The connection was lost and did not come back within 20 seconds. The server does not answer.",
                "The connection was lost and could not be restored. The token is wrong.",
                "No microphone: another program uses it. You can write.",
                "The camera cannot be used: It is broken.",
            ]

    run(main)


def test_events_are_filtered_and_bounded() -> None:
    """A thousand events are kept, the newest of those that fit are shown. A minus sign excludes."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            await page.click("#views [data-view=events]")
            many = "for (let at = 0; at < 1500; at++) bargein.events.add('agent', { type: 'text', text: `word ${at}` })"
            await page.evaluate(many)
            await page.evaluate("bargein.events.add('page', { type: 'commit' })")
            await true(page, "document.querySelectorAll('#event-lines li').length === 200")
            assert await page.evaluate("bargein.events.all.length") == 1000
            await page.fill("#filter", "commit")
            await true(page, "document.querySelectorAll('#event-lines li').length === 1")
            await page.fill("#filter", "word 149 -1149")
            await true(page, "document.querySelectorAll('#event-lines li').length === 10")

    run(main)


def test_the_pipelines_are_drawn() -> None:
    """A long pipeline fills the window in columns, in the colours of the scheme; the counters move."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            drawn = await page.context.new_page()
            await drawn.goto(f"{server.url}graph")
            await true(drawn, "!document.getElementById('none').hidden")
            await page.click("#suggestions button")
            await true(drawn, "document.querySelectorAll('article svg').length === 3")
            boxes = await drawn.evaluate("[...document.querySelectorAll('article svg')].map((one) => one.clientWidth)")
            assert sum(boxes) > 900, "it is as wide as the window"
            assert await drawn.evaluate("document.documentElement.scrollHeight") <= 900
            for scheme in ("light", "dark"):
                await drawn.emulate_media(color_scheme=scheme)
                found = await drawn.evaluate(CONTRASTS.replace('"color")', 'node.closest("svg") ? "fill" : "color")'))
                assert len(found) > 20
                plain = [each for each in found if "<text" not in each[0] or 'text-anchor="middle"' not in each[0]]
                assert not [each for each in plain if each[1] < 4.5], scheme
            await page.set_viewport_size({"width": 390, "height": 844})
            await drawn.set_viewport_size({"width": 390, "height": 844})
            await true(drawn, "document.querySelectorAll('article svg').length === 1")
            assert await drawn.evaluate("document.documentElement.scrollWidth") == 390
            await page.click("#talk")
            await true(drawn, "document.querySelectorAll('article').length === 0")

    run(main)
