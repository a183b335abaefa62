"""The page in headless Chromium; and the pictures of the documentation.

`pytest -m pictures` writes docs/images/playground-*.png. In them the checkpoints answer that
KEBYT5_PLAYGROUND names, divided by colons; the shipped one where it is not set.
"""

import os
import shutil
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

import kebyt5
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.playground import build
from kebyt5.serving.playground.asking import tasks_of
from kebyt5.serving.playground.samples import SAMPLES
from kebyt5.serving.playground.wording import task_label
from kebyt5.serving.service import LocalService, TaskAnswer
from tests.serving.servers import running

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"
expect.set_options(timeout=60_000)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium of the system; its tests are skipped where it is missing, except in CI."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def models():
    """The shipped model, or those for pictures."""
    names = os.environ.get("KEBYT5_PLAYGROUND", "tiny").split(":")
    options = ServeOptions()
    services = {Path(name).name: LocalService(name, kebyt5.load(name), options) for name in names}
    for service in services.values():
        service.start()
    yield services
    for service in services.values():
        service.worker.stop()


@pytest.fixture(scope="module")
def address(models):
    """A playground that is being served."""
    page = build(models)
    _, address, _ = page.launch(
        prevent_thread_lock=True, quiet=True, footer_links=[], run_history=False
    )
    yield address
    page.close()


@pytest.fixture(scope="module")
def context_of(browser):
    """A browser context per locale, shared by the tests, since loading the page takes seconds."""

    @cache
    def make(locale, scheme, height, sharpness):
        return browser.new_context(
            locale=locale,
            color_scheme=scheme,
            viewport={"width": 1240, "height": height},
            device_scale_factor=sharpness,
        )

    return make


@pytest.fixture
def open_page(context_of, address):
    """Opens the page; afterwards checks for errors and for requests to other servers."""
    pages, problems = [], []

    def open_(locale="ko-KR", scheme="light", url=address, height=820, sharpness=1):
        def is_local(request):
            return request.url.startswith((url, "data:", "blob:"))

        page = context_of(locale, scheme, height, sharpness).new_page()
        pages.append(page)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: is_local(request) or problems.append(request.url))
        page.goto(url)
        greeting = "Ask the model" if locale.startswith("en") else "물어보기"
        page.get_by_role("button", name=greeting).wait_for()
        return page

    yield open_
    for page in pages:
        page.context.clear_cookies()
        try:
            page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        finally:
            page.close()
    assert problems == []


def choose_task(page, task, language="ko", field=0):
    """Chooses a task and waits for its sample in a field."""
    page.locator("#task input").click()
    page.get_by_role("option", name=task_label(task, language), exact=True).click()
    sample = list(SAMPLES[task].values())[field]
    expect(page.locator(f"#field-{field} textarea")).to_have_value(sample)


def ask(page, text=None):
    """Types into the first field and waits for an answer; call it once per page."""
    if text is not None:
        page.locator("#field-0 textarea").fill(text)
    page.locator("#ask").click()
    page.locator("#answer .answer, #answer .warning").first.wait_for()


def show(page, tab):
    page.get_by_role("tab", name=tab).click()


def shades(page):
    return page.locator("#attention .input i").evaluate_all(
        "all => all.map(each => +each.style.getPropertyValue('--w'))"
    )


@pytest.fixture
def model_writes(monkeypatch):
    """Makes the model write a given text."""

    def write(text):
        async def predict(self, task, examples, *how):
            return [TaskAnswer(text, [task.input_text(each)], False, None) for each in examples]

        monkeypatch.setattr(LocalService, "predict", predict)

    return write


def test_a_sentence_is_typed_and_its_entities_are_shown(open_page, model_writes):
    model_writes("<박소담:PS> 씨는 <부산:LC>에 산다.")
    page = open_page()
    choose_task(page, "ner")
    ask(page, "박소담 씨는 부산에 산다.")
    reading = page.locator("#answer .reading")
    assert reading.text_content() == "박소담사람 씨는 부산장소에 산다."
    marks = reading.locator("mark")
    assert marks.locator("small").all_inner_texts() == ["사람", "장소"]
    colours = marks.evaluate_all("all => all.map(each => getComputedStyle(each).backgroundColor)")
    paper = reading.evaluate("each => getComputedStyle(each).backgroundColor")
    assert len({*colours, paper}) == 3


def test_the_answer_is_marked_in_the_passage(open_page, model_writes):
    model_writes("출력: 1911년\n정답임")
    page = open_page()
    choose_task(page, "mrc")
    ask(page)
    answer, passage = page.locator("#answer .reading").all()
    assert answer.inner_text() == "1911년"
    assert passage.text_content() == SAMPLES["mrc"]["context"]
    mark = passage.locator("mark")
    assert mark.all_inner_texts() == ["1911년"]
    # In its place, behind the first words of the passage.
    assert mark.evaluate("each => each.previousSibling.textContent") == "솔섬 등대는 "


def test_the_page_of_the_server_answers(open_page, tmp_path):
    with running(tmp_path) as server:
        page = open_page(url=server.url)
        choose_task(page, "nsmc")
        ask(page, "정말 좋다")
        assert page.locator("#answer .bar .name").count() == 2
        show(page, "GBST가 읽는 방식")
        page.locator("#blocks .cells i").first.wait_for()


def test_labels_have_bars_that_add_up(open_page):
    page = open_page()
    choose_task(page, "nli")
    ask(page)
    shares = page.locator("#answer .bar .share").all_inner_texts()
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(100, abs=0.3)
    widths = page.locator("#answer .track i").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().width)"
    )
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0


def test_a_tree_is_asked_for_with_a_table_of_words(open_page):
    page = open_page()
    choose_task(page, "dp")
    ask(page)
    words = page.locator("#answer .tree .word").all_text_contents()
    assert " ".join(words) == page.locator("#field-0 textarea").input_value()


def test_blanks_are_filled_and_ranked(open_page):
    page = open_page("en-US")
    choose_task(page, "fill", "en")
    ask(page, "오늘은 __ 좋다.")
    rows = page.locator("#answer .ranking li")
    assert rows.count() >= 2
    assert rows.first.locator(".reading").inner_text().startswith("오늘은 ")


def test_the_page_speaks_the_language_of_the_browser_and_can_be_told_another(open_page):
    page = open_page("en-US")
    choose_task(page, "ner", "en")
    ask(page, "내가 쓴 문장이다.")
    page.get_by_role("radio", name="한국어").check()
    page.get_by_role("button", name="물어보기").wait_for()
    page.get_by_text("모델의 원래 출력 보기").wait_for()
    assert page.locator("#field-0 textarea").input_value() == "내가 쓴 문장이다."
    assert page.locator("#field-0 label span").first.inner_text() == "문장"
    assert page.locator("#answer .reading").first.inner_text().startswith("내가")
    page.get_by_role("tab", name="GBST가 읽는 방식").wait_for()


def test_what_a_person_typed_stays_and_samples_make_way_however_late_the_server_is(open_page):
    page = open_page("en-US")
    late = []
    page.route("**/queue/join*", lambda each: late.append(each))
    page.reload()
    page.locator("#task input").wait_for()
    choose_task(page, "sts")  # in Korean, as the server has not yet said that English is wanted
    first, second = (page.locator(f"#field-{i} textarea") for i in range(2))
    first.fill("내가 쓴 문장")
    choose_task(page, "nli", field=1)
    assert first.input_value() == "내가 쓴 문장"
    assert page.locator("#field-0 label span").first.inner_text() == "전제"
    second.fill("")
    page.locator("#task input").focus()  # and leave it: what is chosen is the same
    first.focus()
    page.unroute("**/queue/join*")  # and let go on what has waited
    page.get_by_text("Premise", exact=True).wait_for()
    assert first.input_value() == "내가 쓴 문장"
    assert second.input_value() == ""
    assert not page.locator("#field-2").is_visible()
    page.get_by_role("button", name="Insert an example").click()
    for field, name in ((first, "premise"), (second, "hypothesis")):
        expect(field).to_have_value(SAMPLES["nli"][name])


def test_weights_are_shown_before_and_after_consensus(open_page):
    page = open_page()
    choose_task(page, "nsmc")
    ask(page, "정말 좋다")
    show(page, "GBST가 읽는 방식")
    page.locator("#blocks .cells i").first.wait_for()
    bytes_ = page.locator("#blocks tt").all_inner_texts()
    wanted = "nsmc sentiment classification: 정말 좋다".encode()
    assert bytes_ == [*(f"{byte:02X}" for byte in wanted), "·"]
    assert page.locator("#blocks .cells i").count() == 5 * len(bytes_)

    def colours():
        return page.locator("#blocks .cells i").evaluate_all(
            "all => all.map(each => getComputedStyle(each).backgroundColor)"
        )

    before = colours()
    assert len(set(before)) > 20
    assert page.locator("#blocks .band.before").first.is_visible()
    assert not page.locator("#blocks .band.after").first.is_visible()
    page.get_by_text("합의 후").first.click()
    assert page.locator("#blocks .band.after").first.is_visible()
    assert not page.locator("#blocks .band.before").first.is_visible()
    assert colours() != before
    # Characters stand above their bytes.
    character = page.locator("#blocks .chars b", has_text="정").bounding_box()
    byte = page.locator("#blocks tt", has_text="EC").first.bounding_box()
    assert character["x"] == pytest.approx(byte["x"], abs=2)
    assert character["width"] == pytest.approx(3 * byte["width"], abs=3)
    assert character["y"] < byte["y"]


def test_the_input_is_shaded_for_the_output_that_is_chosen(open_page):
    page = open_page()
    choose_task(page, "nsmc")
    ask(page, "정말 좋다")
    show(page, "모델이 주목한 곳")
    buttons = page.locator("#attention [data-weights]")
    buttons.first.wait_for()
    seen = []
    for place in (0, 2):
        buttons.nth(place).click()
        assert buttons.nth(place).get_attribute("aria-pressed") == "true"
        assert page.locator("#attention [aria-pressed=true]").count() == 1
        expected = buttons.nth(place).evaluate(
            "button => [...atob(button.dataset.weights)].map(c => c.charCodeAt(0) / 255)"
        )
        assert shades(page) == pytest.approx(expected)
        assert max(expected) == 1
        seen.append(expected)
    assert seen[0] != seen[1]
    buttons.nth(1).focus()  # by keyboard
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"


def test_empty_and_huge_texts_get_a_message_and_the_next_one_an_answer(open_page):
    page = open_page()
    choose_task(page, "nsmc")
    ask(page, "  ")
    assert "‘영화 평’ 칸이 비어 있습니다" in page.locator("#answer [role=alert]").inner_text()
    page.locator("#field-0 textarea").fill("가" * 100_000)
    page.locator("#ask").click()
    page.locator("#answer [role=alert]", has_text="300,000바이트").wait_for()
    page.locator("#field-0 textarea").fill("좋다")
    page.locator("#ask").click()
    page.locator("#answer .bars").wait_for()
    assert page.locator("#answer [role=alert]").count() == 0


def test_markup_that_is_typed_is_text(open_page):
    page = open_page()
    choose_task(page, "ner")
    text = "<img src=x onerror='window.broken=1'><script>window.broken=1</script> 서울"
    ask(page, text)
    for tab in ("GBST가 읽는 방식", "모델이 주목한 곳"):
        show(page, tab)
    page.locator("#attention .input").wait_for()
    assert page.evaluate("window.broken") is None
    assert page.locator("#answer img, #blocks img, #attention img").count() == 0


def test_it_is_dark_where_the_system_is_and_can_be_switched(open_page):
    def brightness(page, property_):
        colour = page.locator("#top h1").evaluate(
            f"e => getComputedStyle({'document.body' if 'background' in property_ else 'e'})"
            f".{property_}"
        )
        red, green, blue = map(float, colour.strip("rgba()").split(",")[:3])
        return (red + green + blue) / 3

    for scheme, is_dark in (("light", False), ("dark", True)):
        page = open_page(scheme=scheme)
        for dark in (is_dark, not is_dark):
            paper, ink = brightness(page, "backgroundColor"), brightness(page, "color")
            assert (paper < ink) == dark
            assert abs(paper - ink) > 120
            page.locator("[data-theme]").click()


def test_nothing_sticks_out_on_a_telephone(open_page):
    page = open_page()
    page.set_viewport_size({"width": 390, "height": 800})
    ask(page)
    for tab in ("GBST가 읽는 방식", "모델이 주목한 곳"):
        show(page, tab)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 391


# Pictures


PICTURE = {"height": 560, "sharpness": 1.5}


def choose_model(page, models, task):
    """Chooses the first model that offers a task."""
    name = next(name for name, model in models.items() if task in tasks_of(model)[0])
    if name != next(iter(models)):
        page.locator("#model input").click()
        page.get_by_role("option", name=name, exact=True).click()
        page.wait_for_timeout(2000)  # until the tasks are those of the model


def take(page, name):
    """Writes a picture of the page."""
    page.mouse.move(5, 5)
    page.wait_for_timeout(400)  # transitions
    page.screenshot(path=IMAGES / f"playground-{name}.png", full_page=True)


@pytest.mark.pictures
@pytest.mark.parametrize(
    ("name", "locale", "scheme", "task"),
    [
        ("entities", "ko-KR", "light", "ner"),
        ("tree", "en-US", "light", "dp"),
        ("labels", "en-US", "dark", "ynat"),
    ],
)
def test_pictures_of_answers(name, locale, scheme, task, open_page, models):
    page = open_page(locale, scheme, **PICTURE)
    choose_model(page, models, task)
    choose_task(page, task, locale[:2])
    ask(page)
    take(page, name)


@pytest.mark.pictures
def test_pictures_of_the_inside(open_page, models):
    page = open_page("en-US", **PICTURE)
    choose_model(page, models, "ner")
    choose_task(page, "ner", "en")
    ask(page)
    show(page, "How GBST reads it")
    take(page, "blocks")
    page.get_by_text("After consensus").first.click()
    take(page, "blocks-after")
    show(page, "Where the model looks")
    page.locator("#attention [data-weights]", has_text="금").first.click()
    take(page, "attention")
    page = open_page("ko-KR", "dark", **PICTURE)
    choose_model(page, models, "ner")
    choose_task(page, "ner")
    ask(page)
    show(page, "GBST가 읽는 방식")
    take(page, "blocks-dark")
