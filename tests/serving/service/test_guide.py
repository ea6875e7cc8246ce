"""The guide in a browser: what a shopper sees and does, with mouse or keys, and what if something fails."""

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import uvicorn
from shops import SETTINGS as FEW
from starlette.testclient import TestClient

from rezoo import recipes
from rezoo.data import batches, features
from rezoo.data.features import Categorical
from rezoo.data.ids import Ids
from rezoo.data.interactions import from_columns
from rezoo.models import GRU4Rec
from rezoo.serving import saved
from rezoo.serving.bundle import Saved
from rezoo.serving.service import guide
from rezoo.serving.service.app import app
from rezoo.serving.service.event_log import SqliteLog
from rezoo.serving.service.shop import Shop

ITEMS, SETTINGS = 60, FEW._replace(exclude=40)
EVIL = "<img src=x onerror=\"document.title='broken'\">"
CATEGORIES = ("tea", "lamp", "novel", "gadget")
SERVE = Path(__file__).parents[3] / "experiments" / "serve.py"
browsers = pytest.mark.browser


def names():
    return [EVIL if n == 0 else f"Nordic {CATEGORIES[n % 4]} {n}" for n in range(ITEMS)]


def log():
    rng = np.random.default_rng(0)
    item = np.r_[
        np.zeros(60, int), np.arange(ITEMS), rng.integers(0, ITEMS, 400)
    ]  # item 0 is the most popular
    user = rng.integers(0, 20, len(item))
    table = {"user": [f"u{n}" for n in user], "item": item, "title": np.array(names())[item]}
    return from_columns(table, items=Ids(np.arange(ITEMS)))


def untrained():
    """GRU4Rec, to whom age and taste may be told."""
    rows, told = log(), {"age": ["25-34", "under 25", "35-44"], "taste": ["tea", "lamp", "tea"]}
    fitted = features.fit({name: Categorical() for name in told}, told)
    model = GRU4Rec(rows.num_items, 8, user_features=fitted.sizes)
    nobody = {name: np.zeros(1, np.int32) for name in told}
    query = batches.queries(history=np.ones((1, 2), np.int32), features=nobody)
    variables = model.init(jax.random.key(0), query, jnp.ones(1, jnp.int32))
    columns = {name: np.zeros(rows.num_users, np.int32) for name in told}
    past = recipes.co_occurrence(rows, jax.random.key(0)).history
    return Saved(model, variables, rows.users, rows.items, columns, fitted, history=past)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place, quoted = tmp_path_factory.mktemp("guide"), [name.replace('"', '""') for name in names()]
    saved.save(place / "a", untrained())
    saved.save(place / "b", recipes.co_occurrence(log(), jax.random.key(0)))
    rows = [f'{n},{CATEGORIES[n % 4]},"{name}",{n + 0.5}' for n, name in enumerate(quoted)]
    (place / "items.csv").write_text("item,category,title,price\n" + "\n".join(rows))
    return place


def application(folders, *, file=":memory:", beside=True):
    items = folders / "items.csv"
    second = app(Shop(folders / "b", SqliteLog(":memory:"), SETTINGS, items=items)) if beside else None
    return app(Shop(folders / "a", SqliteLog(file), SETTINGS, items=items), beside=second)


class Server:
    """The service on a port of its own, which can be made slow or busy, killed, and started again."""

    def __init__(self, application, port=0):
        self.slow, self.busy, self.asked = {}, {}, []
        self._app = application
        config = uvicorn.Config(self, host="127.0.0.1", port=port, log_level="error")
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/"

    async def __call__(self, scope, receive, send):
        path = scope.get("path", "")
        self.asked.append((time.monotonic(), path))
        if self.busy.get(path, 0) > 0:
            self.busy[path] -= 1
            headers = [(b"retry-after", b"1"), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            return await send({"type": "http.response.body", "body": b'{"error": "busy"}'})
        if waits := self.slow.get(path):
            await asyncio.sleep(waits.pop(0))
        await self._app(scope, receive, send)

    def kill(self):
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def server(folders):
    server = Server(application(folders))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    path = next(found, None) or pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, server):
    """Opens the page in a fresh profile, and says at the end whether it complained."""
    contexts, complaints = [], []

    def go(address=server.address, *, locale="en-GB", shown=None, **how):
        context = chromium.new_context(locale=locale, **how)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda one: one.type == "error" and complaints.append(one.text))
        page.goto(address)
        if shown:
            page.locator(shown).first.wait_for()
        else:
            page.locator("#said:not(:empty)").wait_for(state="attached")  # both lists have answered
            page.locator("#shelf .product").first.wait_for()  # and so have the categories
        return page

    yield go
    for context in contexts:
        context.close()
    server.slow.clear()
    server.busy.clear()
    expected = "503|ERR_CONNECTION|ERR_EMPTY_RESPONSE|Executing inline script"
    assert not [one for one in complaints if not re.search(expected, one)]


def keys(page, column):
    rows = page.locator(f".column-{column} .product")
    return rows.evaluate_all("all => all.map(one => one.dataset.key)")


def choose(page, place, nth=0):
    """Click a product, and wait until both lists have answered."""
    said = page.locator("#said")
    before = said.text_content()
    page.locator(f"{place} .choose").nth(nth).click()
    page.wait_for_function("before => document.getElementById('said').textContent !== before", arg=before)


def test_its_files_come_with_the_service_and_nothing_else_may_run(folders):
    with TestClient(application(folders, beside=False)) as client:
        for name, (content, kind) in guide.files().items():
            told = client.get("/" if name == "index.html" else f"/guide/{name}")
            assert told.content == content and told.headers["content-type"] == kind
            policy = told.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
        assert (
            client.get("/guide/__init__.py").status_code == client.get("/guide/../app.py").status_code == 404
        )
        page = guide.files()["index.html"][0].decode()
        assert not re.search(r"<script>|style=|\son\w+=|https?://", page)
        end = time.monotonic() + 60
        while (told := client.get("/guide.json")).status_code != 200:
            assert told.status_code == 503 and time.monotonic() < end
            time.sleep(0.05)
    told = told.json()
    assert told["model"] == "GRU4Rec" and told["similar"] and told["beside"] is None
    ages = {"name": "age", "kind": "choice", "values": ["25-34", "35-44", "under 25"]}
    assert told["features"][0] == ages and told["popular"][0]["name"] == EVIL
    assert told["popular"][0]["about"] == {"category": "tea", "price": 0.5}


@pytest.mark.slow
def test_two_models_are_served_beside_each_other_and_keep_events_of_their_own(folders, tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [
        sys.executable,
        str(SERVE),
        str(folders / "a"),
        "--beside",
        str(folders / "b"),
        "--port",
        str(port),
    ]
    process = subprocess.Popen([*command, "--log", str(tmp_path / "events.sqlite")])
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
            end = time.monotonic() + 120
            for path in ("/ready", "/b/ready"):
                while not asked(client, path):
                    assert process.poll() is None and time.monotonic() < end
                    time.sleep(0.1)
            models = [client.get(path).json()["model"] for path in ("/guide.json", "/b/guide.json")]
            assert (
                models == ["GRU4Rec", "CoOccurrence"] and client.get("/guide.json").json()["beside"] == "b/"
            )
            assert "<title>Shopping guide" in client.get("/").text
            for path in ("/events", "/b/events", "/b/events"):
                assert client.post(path, json={"visitor": "v", "item": 3}).status_code == 200
    finally:
        process.terminate()
        process.wait(30)
    for name, many in (("events", 1), ("events-b", 2)):
        kept = SqliteLog(tmp_path / f"{name}.sqlite")
        assert len(list(kept.read())) == many
        kept.close()


def asked(client, path):
    try:
        return client.get(path).status_code == 200
    except httpx2.TransportError:
        return False


@browsers
def test_a_click_changes_the_list_and_is_counted_for_each_model(opened):
    page = opened()
    assert page.locator(".column-a h2").text_content() == "A · GRU4Rec"
    assert page.locator(".column-b h2").text_content() == "B · CoOccurrence"
    hits = dict.fromkeys(("a", "b", "popular"), 0)
    for asked, place in enumerate((".column-a", ".column-b", ".column-popular", ".column-b"), 1):
        before = {column: keys(page, column) for column in hits}
        assert all(len(row) == len(set(row)) == 10 for row in before.values())
        chosen = before[place.removeprefix(".column-")][2]
        choose(page, place, nth=2)
        for column in hits:
            hits[column] += chosen in before[column]
            assert chosen not in keys(page, column)
            told = page.locator(f".column-{column} .score").text_content()
            assert told.endswith(f"{hits[column]} of {asked} choices were in this list")
        assert keys(page, "a") != before["a"]
    assert page.locator("#chosen li").count() == 4
    page.reload()
    page.locator(".column-a .product").first.wait_for()
    assert (
        page.locator("#chosen li").count() == 4 and "of 4" in page.locator(".column-a .score").text_content()
    )
    page.get_by_role("button", name="Start over").click()
    page.locator("#visit").wait_for(state="hidden")
    assert page.locator(".column-a .score").text_content() == "No choice yet"


@browsers
def test_both_models_are_sent_each_click_once(opened, server):
    page = opened()

    def events():
        read = [page.request.get(server.address + path).text() for path in ("metrics", "b/metrics")]
        return [float(re.search(r"^rezoo_events_total (\S+)", one, re.M)[1]) for one in read]

    before = events()
    server.busy = {"/events": 1}
    choose(page, ".column-a")
    choose(page, ".column-b")
    assert [now - was for now, was in zip(events(), before, strict=True)] == [2, 2]


@browsers
def test_a_stranger_is_asked_before_the_first_click_alone(opened):
    page = opened()
    before = keys(page, "a"), keys(page, "b")
    assert page.locator("#you legend").all_text_contents() == ["Age", "You like"]
    ages = page.get_by_role("group", name="Age").get_by_role("radio")
    assert ages.evaluate_all("all => all.map(one => one.parentNode.textContent)") == [
        "any", "under 25", "25-34", "35-44",
    ]  # fmt: skip
    page.get_by_label("25-34").check(force=True)
    page.locator(".column-a .why", has_text="because you said 25-34").first.wait_for()
    assert keys(page, "a") != before[0] and keys(page, "b") == before[1]
    choose(page, ".column-a")
    assert page.locator("#you").is_hidden()
    assert "because you said" not in page.locator(".column-a").text_content()


@browsers
def test_each_product_says_what_it_costs_and_why_it_is_there(opened):
    page = opened()
    first = page.locator(".column-popular .product").first
    assert first.locator(".facts").text_content() == "0.50tea"
    assert first.get_by_role("img").get_attribute("aria-label") == "tea"
    chosen = page.locator(".column-a .choose").first.text_content()
    choose(page, ".column-a")
    for column in ("a", "b"):
        why = page.locator(f".column-{column} .why").all_text_contents()
        assert why and set(why) == {f"because you looked at {chosen}"}
    assert page.locator(".column-popular .why").count() == 0


@browsers
def test_chips_leave_only_some_categories_in_every_list(opened):
    page = opened()
    assert page.locator("#categories button").all_text_contents() == ["Everything", *sorted(CATEGORIES)]
    for names in ({"lamp"}, {"lamp", "novel"}):
        page.get_by_role("group", name="Only these").get_by_role("button", name=max(names)).click()
        page.wait_for_function(
            "names => [...document.querySelectorAll('.product .picture')].every(one =>"
            "names.includes(one.getAttribute('aria-label')))",
            arg=list(names),
        )
        pressed = page.locator("#categories [aria-pressed=true]").all_text_contents()
        assert set(pressed) == names and len(keys(page, "a")) == 10
    choose(page, ".column-b")
    shown = page.locator("#lists .picture").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )
    assert set(shown) == {"lamp", "novel"}
    page.get_by_role("button", name="Everything").click()
    page.locator("#shelf [aria-label=tea]").first.wait_for()
    assert page.locator("#shelf .product").count() == 24
    page.get_by_role("button", name="Show more").click()
    page.locator("#shelf .product").nth(47).wait_for()
    assert page.locator("#shelf .product").count() == 48


@browsers
def test_something_else_and_more_like_this(opened):
    page = opened()
    before = keys(page, "a")
    page.get_by_role("button", name="Something else").click()
    page.wait_for_function("key => !document.querySelector(`.column-a [data-key='${key}']`)", arg=before[0])
    assert not set(before) & set(keys(page, "a"))
    button = page.locator(".column-a .similar").nth(1)
    name = page.locator(".column-a .choose").nth(1).text_content()
    button.click()
    page.get_by_role("heading", name=f"Similar to {name}").wait_for()
    similar = page.locator("#like .choose").all_text_contents()
    assert len(similar) == 10 and name not in similar
    page.get_by_role("button", name="Close").click()
    assert button.evaluate("one => one === document.activeElement")


@browsers
def test_a_model_of_ids_alone_has_the_page_too(opened, folders, tmp_path):
    popular = recipes.popularity(log(), jax.random.key(0))
    saved.save(tmp_path / "model", popular._replace(items=Ids(popular.items.raw), history=None))
    own = Server(app(Shop(tmp_path / "model", SqliteLog(":memory:"), SETTINGS)))
    try:
        page = opened(own.address)
        assert page.locator(".column h2").all_text_contents() == ["Popularity"]
        assert page.locator("#you").is_hidden() and page.locator("#categories").is_hidden()
        choose(page, ".column-a")
        assert page.locator("#chosen span").text_content() == "0" and "0" not in keys(page, "a")
        choose(page, "#shelf", nth=3)
        assert page.locator(".column-a .score").text_content().endswith("of 2 choices were in this list")
    finally:
        own.kill()


@browsers
def test_a_name_is_shown_and_not_run(opened):
    page = opened()
    shown = page.locator(".column-popular .choose").first
    assert shown.text_content() == EVIL
    choose(page, ".column-popular")
    assert page.locator("#chosen span").text_content() == EVIL
    assert page.locator("img").count() == 0 and page.title() == "Shopping guide"
    blocked = page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
        "document.head.append(one); return window.ran === undefined }"
    )
    assert blocked


@browsers
def test_both_languages(opened):
    page = opened(locale="zh-CN")
    root = page.locator("html")
    assert root.get_attribute("lang") == "zh-CN" and page.title() == "购物向导"
    known = re.compile(r"^(<img.*|北欧(茶|台灯|小说) \d+|Nordic gadget \d+)$")
    choose(page, ".column-a")
    assert re.match("因为您看过", page.locator(".column-a .why").first.text_content())
    for name in page.locator(".column-a .choose").all_text_contents():
        assert known.match(name), name
    page.get_by_role("button", name="English").click()
    assert root.get_attribute("lang") == "en" and page.title() == "Shopping guide"
    page.reload()
    page.locator(".column-a .product").first.wait_for()
    assert root.get_attribute("lang") == "en"
    assert opened(locale="de-DE").locator("html").get_attribute("lang") == "en"


@browsers
def test_the_keyboard_is_enough_and_the_focus_stays(opened):
    page = opened()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(
            "!!document.activeElement.closest('.column-a') && document.activeElement.matches('.choose')"
        ):
            break
    ring = page.evaluate("getComputedStyle(document.activeElement.closest('.product')).outlineStyle")
    assert ring == "solid"
    said = page.locator("#said")
    for number in (1, 2):
        chosen = page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "name => document.getElementById('said').textContent.startsWith(`You chose ${name}.`)", arg=chosen
        )
        assert page.evaluate("document.activeElement === document.querySelector('.column-a .choose')")
        assert page.locator("#chosen li").count() == number
    assert "of the list are new; first is" in said.text_content()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Similar to ")


@browsers
def test_a_screen_reader_is_told_what_there_is(opened):
    page = opened()
    seen = page.locator("body").aria_snapshot()
    for line in (
        '- heading "Shopping guide" [level=1]',
        '- group "Language"',
        '- button "English" [pressed]',
        '- region "About you"',
        '- group "Age"',
        '- radio "any" [checked]',
        '- region "A · GRU4Rec"',
        '- region "Most popular"',
        "- list",
        "- status",
    ):
        assert line in seen, seen
    assert not re.search(r"- (button|radio|link|img|region|group)( \[|:|$)", seen, re.M), (
        seen
    )  # without a name
    described = page.evaluate(
        "[...document.querySelectorAll('[aria-describedby], [aria-labelledby]')].every(one =>"
        "document.getElementById(one.getAttribute('aria-describedby')"
        "?? one.getAttribute('aria-labelledby')))"
    )
    assert described
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


CONTRAST = """() => {
  const numbers = (color) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const linear = (one) => one <= .04045 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((one) => linear(one / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a] = numbers(getComputedStyle(node).backgroundColor);
      if (a === 255) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!own || !node.checkVisibility() || node.closest(".unseen, .skip, svg, noscript")) continue;
    const [one, two] = [numbers(getComputedStyle(node).color).slice(0, 3), ground(node)].map(light);
    const ratio = (Math.max(one, two) + .05) / (Math.min(one, two) + .05);
    if (ratio < 4.5) poor.push(`${node.className || node.tagName} ${node.textContent}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@browsers
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_both_schemes_and_no_motion(opened, scheme):
    page = opened(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, reduced_motion="reduce", locale="zh-CN"
    )
    page.locator(".column-popular .similar").first.click()  # of the product whose name has a long word
    page.locator("#like li").first.wait_for()
    assert EVIL in page.locator("#like-title").text_content()
    page.locator(".column-popular .choose").first.click()
    page.locator("#chosen li").wait_for()
    assert EVIL in page.locator("#chosen").text_content()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.getAnimations().length") == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 23, 26)") == (scheme == "dark")


@browsers
def test_an_old_answer_never_takes_the_place_of_a_newer_one(opened, server):
    page = opened()
    server.slow["/recommend"] = [1.5, 0.0]
    page.get_by_label("25-34").check(force=True)
    page.get_by_label("35-44").check(force=True)
    page.locator(".column-a .why", has_text="35-44").first.wait_for()
    newest = keys(page, "a")
    page.wait_for_timeout(1800)
    assert keys(page, "a") == newest
    server.slow["/events"] = [0.8, 0.0, 0.0]
    for nth in (0, 3, 5):
        page.locator(".column-b .choose").nth(nth).click()
    page.locator("#chosen li").nth(2).wait_for()
    page.wait_for_timeout(1500)
    chosen = page.locator("#chosen li").evaluate_all("all => all.map(one => one.dataset.key)")
    assert not set(chosen) & (set(keys(page, "a")) | set(keys(page, "b")))


@browsers
def test_a_model_that_is_being_loaded_is_waited_for(opened, server):
    server.busy = {"/guide.json": 1}
    page = opened(shown="#notice p")
    assert page.get_by_role("alert").text_content().startswith("The model is being loaded.")
    page.locator(".column-a .product").first.wait_for()
    assert page.locator("#notice").is_hidden()


@browsers
def test_a_busy_service_is_asked_again_when_it_says(opened, server):
    page = opened()
    server.busy, server.asked = {"/events": 2}, []
    page.locator(".column-a .choose").first.click()
    page.get_by_role("alert").get_by_text("The service is busy").wait_for()
    page.locator("#notice").wait_for(state="hidden")
    times = [when for when, path in server.asked if path == "/events"]
    assert len(times) == 3 and min(np.diff(times)) >= 1.0


@browsers
def test_a_service_that_is_down_is_said_and_what_was_chosen_is_kept(opened, folders, tmp_path):
    own = Server(application(folders, file=tmp_path / "events.sqlite", beside=False))
    page = opened(own.address)
    choose(page, ".column-a")
    own.kill()
    before = keys(page, "a")
    page.locator(".column-a .choose").nth(1).click()
    page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    assert keys(page, "a") == before
    again = Server(application(folders, file=tmp_path / "events.sqlite", beside=False), own.port)
    try:
        page.get_by_role("button", name="Try again").click()
        page.locator("#notice").wait_for(state="hidden", timeout=30_000)
        page.wait_for_function(
            "key => !document.querySelector(`.column-a [data-key='${key}']`)", arg=before[1]
        )
    finally:
        again.kill()
    kept = SqliteLog(tmp_path / "events.sqlite")
    assert [str(event.item) for _, event in kept.read()][1] == before[1] and len(list(kept.read())) == 2
    kept.close()
