"""The page: what is in it, how large it is, that nothing gets out of it; and what a browser makes of it."""

import base64
import hashlib
import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from memagents.inspection.page import Layer, write_page
from memagents.inspection.page.arrays import pack, unpack
from memagents.inspection.page.document import program
from memagents.inspection.page.payload import Budget, make_payload
from memagents.inspection.provenance import later_reads, origins, read_sources, writes_of
from tests.inspection.planted import AXES, STEPS, picture, planted, planted_trace, steps_of, written

SOURCE = Path(__file__).parents[2] / "memagents" / "inspection" / "page" / "source"
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browsing = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (apt-get install chromium)")


def entry(payload, name, recording=0):
    return payload.contents["recordings"][recording]["episodes"][0]["arrays"].get(name)


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values", "tolerance"),
    [
        ("u8", np.random.default_rng(0).normal(size=(9, 3, 2)), 0.02),
        ("u16", np.random.default_rng(0).normal(size=(9, 3)), 1e-4),
        ("f32", np.random.default_rng(0).normal(size=(9,)), 1e-6),
        ("u8", np.arange(-100, 150).reshape(50, 5), 0),
        ("u8", np.array([[0, 1000], [7, 65535]]), 0),  # more than bytes hold
        ("u8", np.array([[True], [False]]), 0),
        ("u8", np.array([[2.5], [2.5]]), 0),
        ("u8", np.array([[3 + 4j], [0]]), 0.02),
    ],
)
def test_numbers_survive_packing(kind, values, tolerance):
    packed = pack(values, kind)
    assert packed.shape == values.shape
    assert np.allclose(unpack(packed), np.abs(values) if values.dtype.kind == "c" else values, atol=tolerance, rtol=0)
    assert not packed.gaps


@pytest.mark.parametrize("kind", ["u8", "u16", "f32"])
def test_what_is_no_number_is_a_gap(kind):
    values = np.array([[0.0, 1.0], [np.nan, np.inf], [-np.inf, 0.5]])
    found = unpack(pack(values, kind))
    assert np.array_equal(np.isnan(found), ~np.isfinite(values))
    assert np.allclose(found[np.isfinite(values)], [0, 1, 0.5], atol=0.01)
    none = pack(np.full((2, 2), np.nan), kind)
    assert np.isnan(unpack(none)).all()
    assert not none.numbers and pack(values, kind).numbers and pack(np.zeros((2, 2)), kind).numbers


# --- what is in it ----------------------------------------------------------------------------------------------------


def test_a_page_of_200_steps_of_a_dnc_stays_below_3_mb_and_of_2000_below_15(tmp_path):
    """Also of noise, which nothing compresses."""
    drawn = np.random.default_rng(0)
    for steps, side, most in ((200, 160, 3e6), (2000, 64, 15e6)):
        trace = {"read_weights": drawn.random((steps, 2, 32)), "add": drawn.random((steps, 32))}
        trace |= {name: drawn.random((steps, 32)) for name in ("write_weights", "erase", "usage", "allocation")}
        trace["link"] = drawn.random((steps, 32, 32))
        pictures = [picture(0, side, drawn) for _ in range(50)] * (steps // 50)
        recording = written(tmp_path / str(steps), [steps_of(trace, steps)], pictures)
        write_page(tmp_path / "page.html", [recording])
        assert (tmp_path / "page.html").stat().st_size < most
        payload = make_payload([recording])
        assert entry(payload, "trace.read_weights")["shape"] == [steps, 2, 32]
        assert entry(payload, "trace.link")["shape"] == [steps, 32, 32]
        assert payload.contents["recordings"][0]["episodes"][0]["film"] is not None


def test_the_same_picture_is_kept_once(tmp_path):
    recording = planted(tmp_path / "a", pictures=[picture(step // 6) for step in range(STEPS)])
    film = make_payload([recording]).contents["recordings"][0]["episodes"][0]["film"]
    assert film["type"] == "image/png"
    assert len(film["ends"]) == 2 and film["order"] == [0] * 6 + [1] * 6


def test_a_million_steps_are_cut_to_the_first_ones_and_the_page_says_so(tmp_path):
    """What lies beyond is not even read: here it is not there."""
    steps = steps_of({"hidden": np.zeros((300, 4))}, 300)
    recording = written(tmp_path / "a", [steps], axes={"hidden": ["unit"]}, length=1_000_000)
    payload = make_payload([recording], max_steps=250)
    assert entry(payload, "rewards")["shape"] == [250]
    assert payload.contents["recordings"][0]["episodes"][0]["length"] == 1_000_000
    assert payload.contents["notes"] == ["Only the first 250 steps of an episode are shown; --max-steps sets how many."]


def test_giant_tensors_are_left_out_and_the_page_says_so(tmp_path):
    trace = {"link": np.zeros((STEPS, 1200, 1200)), "hidden": np.random.default_rng(0).random((STEPS, 400))}
    recording = written(tmp_path / "a", [steps_of(trace)], axes={"link": ["row", "column"], "hidden": ["unit"]})
    payload = make_payload([recording])
    assert entry(payload, "trace.link") is None and entry(payload, "trace.hidden") is not None
    assert payload.contents["notes"] == ["Left out, since it would fill the page: link (1200 × 1200 a step)."]
    small = make_payload([recording], budget=Budget(least=6000, step=0))
    assert entry(small, "trace.hidden") is None and entry(small, "values") is not None
    assert "Left out, so that the page stays small: hidden." in small.contents["notes"]


def test_pictures_that_do_not_fit_are_made_smaller_or_left_out_and_the_page_says_so(tmp_path):
    noise = np.random.default_rng(0)
    recording = planted(tmp_path / "a", pictures=[picture(0, 256, noise) for _ in range(STEPS)])
    payload = make_payload([recording], budget=Budget(least=200_000, step=0))
    assert payload.contents["recordings"][0]["episodes"][0]["film"]["type"] == "image/webp"
    assert "Pictures are kept at" in payload.contents["notes"][0]
    none = make_payload([recording], budget=Budget(least=8_000, step=0))
    assert none.contents["recordings"][0]["episodes"][0]["film"] is None
    assert "The 12 pictures are left out: the page would become too large." in none.contents["notes"]


def test_texts_and_layers_that_do_not_fit_are_left_out_and_the_page_says_so(tmp_path):
    drawn = np.random.default_rng(0)
    texts = [drawn.bytes(2000).hex() for _ in range(STEPS)]
    layers = [
        Layer(name, 0, drawn.random((STEPS, width)), "slot", "A layer.") for name, width in [("wide", 900), ("b", 3)]
    ]
    payload = make_payload([planted(tmp_path / "a", texts=texts)], layers, budget=Budget(least=30_000, step=0))
    episode = payload.contents["recordings"][0]["episodes"][0]
    assert episode["texts"] is None and [layer["name"] for layer in episode["layers"]] == ["b"]
    assert payload.contents["notes"] == [
        "Left out, so that the page stays small: wide.",
        "Left out, so that the page stays small: what the environment says.",
    ]
    assert entry(payload, "trace.read_weights") is not None


def test_infinite_numbers_are_told(tmp_path):
    trace = planted_trace()
    trace["erase"][2, 0] = np.inf
    payload = make_payload([written(tmp_path / "a", [steps_of(trace)])])
    assert payload.contents["notes"] == ["Some numbers of erase are infinite or no numbers; they are shown as gaps."]


def test_one_step_and_no_trace_and_empty_axes_are_no_trouble(tmp_path):
    recording = written(tmp_path / "a", [steps_of({"odd": np.zeros((1, 0, 3)), "scalar": np.zeros(1)}, 1)], axes={})
    payload = make_payload([recording])
    assert entry(payload, "trace.odd") is None and entry(payload, "trace.scalar")["shape"] == [1]
    assert payload.contents["notes"] == []


def test_two_recordings_that_are_not_of_the_same_episode_are_told_apart(tmp_path):
    one, other = planted(tmp_path / "a"), written(tmp_path / "b", [steps_of(planted_trace(), seed=1)] * 2)
    notes = make_payload([one, other]).contents["notes"]
    assert notes == [
        "Only the first 1 episodes are shown: the other recording has no more.",
        "Not the same episode in both: 0 begin with different observations.",
    ]
    assert make_payload([one, planted(tmp_path / "c")]).contents["notes"] == []
    steps = steps_of(planted_trace())
    steps["observation"] = steps["observation"].astype(np.float32)
    steps["observation"][0, 1] = np.nan
    alike = [written(tmp_path / name, [steps]) for name in ("d", "e")]
    assert not any("Not the same" in note for note in make_payload(alike).contents["notes"])


def test_layers_are_packed_with_their_words_and_checked(tmp_path):
    recording = planted(tmp_path / "a")
    matrix = np.full((STEPS, STEPS), np.nan)
    matrix[9, 3] = 0.5
    layer = Layer("smear", 0, matrix, "past step", "What hangs on what.")
    (told,) = make_payload([recording], [layer]).contents["recordings"][0]["episodes"][0]["layers"]
    assert (told["name"], told["axis"], told["explanation"]) == ("smear", "past step", "What hangs on what.")
    assert told["shape"] == [STEPS, STEPS] and told["gaps"]
    for wrong in (
        layer._replace(episode=1),
        layer._replace(matrix=np.zeros((STEPS, 3))),
        layer._replace(matrix=np.zeros((99, 3)), axis="slot"),
        layer._replace(matrix=np.zeros(STEPS), axis="slot"),
    ):
        with pytest.raises(ValueError, match="layer 'smear'"):
            make_payload([recording], [wrong])
    with pytest.raises(ValueError, match="recordings must be one or two"):
        make_payload([])


@pytest.mark.parametrize(
    ("algorithm", "core", "named"),
    [
        ("NEC", "Memoryless", ""),
        ("MFEC", "Memoryless", ""),
        ("NEC", "GRU", "GRU"),
        ("RecurrentPPO", "Memoryless", None),
    ],
)
def test_episodic_control_is_not_called_memoryless(tmp_path, algorithm, core, named):
    recording = planted(tmp_path / "a")
    recording.description.update(algorithm=algorithm, core=core)
    (told,) = make_payload([recording]).contents["recordings"]
    assert (told["algorithm"], told["core"]) == (algorithm, core if named is None else named)


# --- nothing gets out of it -------------------------------------------------------------------------------------------


def test_the_policy_lets_in_the_program_alone(tmp_path):
    write_page(tmp_path / "page.html", [planted(tmp_path / "a")])
    text = (tmp_path / "page.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    script, style = program()
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (script, style)]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert f"<script>{script}</script>" in text and f"<style>{style}</style>" in text
    assert not re.search(r"(src|href)=", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))


def test_text_ends_no_element(tmp_path):
    about = {"run": EVIL, "env": EVIL, "env_kwargs": {EVIL: EVIL}}
    recording = planted(tmp_path / "a", about=about, names=[EVIL, "<b>", "&amp;"], texts=[EVIL] * STEPS)
    write_page(tmp_path / "page.html", [recording], [Layer(EVIL, 0, np.zeros((STEPS, 1)), EVIL, EVIL)])
    text = (tmp_path / "page.html").read_text()
    assert "owned'</script>" not in text
    kinds = ["application/json", *["application/octet-stream"] * 3, None]
    assert [kind or None for kind in re.findall(r"<script(?: type=\"([^\"]*)\")?", text.split("<body>")[1])][
        :5
    ] == kinds
    index = json.loads(re.search(r'id="index">(.*?)</script>', text, re.DOTALL)[1])
    assert index["recordings"][0]["name"] == EVIL
    assert f"<title>{html.escape(EVIL)}: memory</title>" in text


def test_the_bundle_is_the_built_form_of_the_sources_and_states_what_is_in_it():
    """After a change of a source: npm ci && npm run build in its folder."""
    lock = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    script, style = program()
    names = sorted(path.name for path in SOURCE.iterdir() if path.suffix in (".js", ".css"))
    digest = hashlib.sha256()
    for name in sorted([*names, "package-lock.json"]):
        digest.update(f"{name}\n".encode() + (SOURCE / name).read_bytes())
    banner = script[: script.index("*/")]
    for text in (banner, style):
        assert f"from sources {digest.hexdigest()[:16]}." in text
        assert f"esbuild {lock['node_modules/esbuild']['version']} " in text
    inside = re.search(r"^Inside: (.*)\.$", banner, re.MULTILINE)[1].split(", ")
    assert {words.split()[0] for words in inside} == set(lock[""]["dependencies"])
    for words in inside:
        name, version = words.split()
        assert version == lock[f"node_modules/{name}"]["version"] == lock[""]["dependencies"][name]
        assert f"{words}\n" in banner
    assert banner.count("Copyright") >= len(inside)


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens recordings in a page, which must not complain of anything."""
    complaints, pages = [], []

    def show(recordings, layers=(), width=1300, scheme="light", before=""):
        write_page(tmp_path / "page.html", recordings, layers)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.add_init_script(before)
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("html[data-ready='0']")
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()
    assert complaints == []


def scrolled(page):
    """The page, all of whose charts were near the screen once."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for y in range(0, height, 800):
        page.evaluate(f"scrollTo(0, {y})")
        page.wait_for_timeout(30)
    page.wait_for_selector(".map:empty", state="detached")
    return page


def click_cell(page, tensor, step, row, rows, steps=STEPS, number=0):
    over = page.locator(f"[data-tensor={tensor}] .u-over").nth(number)
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    over.click(position={"x": (step + 0.5) / steps * box["width"], "y": (row + 0.5) / rows * box["height"]})


def at(page):
    return int(page.evaluate("document.documentElement.dataset.step"))


def until(page, step):
    """Waits for the film to come to a step, or past it."""
    for _ in range(1000):
        if at(page) >= step:
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"the film stays at step {at(page)}")


pytestmark = pytest.mark.xdist_group("browser")


@browsing
def test_slider_buttons_and_keys_move_the_film(opened, tmp_path):
    page = opened([planted(tmp_path / "a")])
    image = page.locator("#film-0 img")

    def shown():
        """The step of the colour in the middle of the picture."""
        image.evaluate("(image) => image.decode()")
        red = image.evaluate(
            "(image) => { const c = document.createElement('canvas').getContext('2d');"
            "c.drawImage(image, 0, 0); return c.getImageData(5, 5, 1, 1).data[0]; }"
        )
        return red // 20

    assert at(page) == shown() == 0
    page.locator("#slider").fill("7")
    assert at(page) == shown() == 7
    assert page.locator("#step").inner_text() == "7 of 11"
    for key, step in [("ArrowRight", 8), ("ArrowLeft", 7), ("End", 11), ("ArrowRight", 11), ("Home", 0)]:
        page.keyboard.press(key)
        assert at(page) == shown() == step
    page.locator("#on").click()
    page.locator("#on").click()
    page.locator("#back").click()
    assert at(page) == 1
    page.keyboard.press("Space")
    until(page, 3)
    page.keyboard.press("Space")
    assert "play" in page.locator("#play").get_attribute("aria-label")
    page.locator("#speed").select_option("32")
    page.locator("#play").click()
    until(page, 11)
    page.wait_for_selector("#play[aria-label^=play]")


@browsing
def test_a_click_on_a_planted_read_finds_the_frames_that_wrote_it(opened, tmp_path):
    page = scrolled(opened([planted(tmp_path / "a")]))
    click_cell(page, "read_weights", step=9, row=1, rows=4)
    assert at(page) == 9
    trail = page.locator("#trail")
    assert trail.locator("h2").inner_text() == "What slot 1 holds at step 9"
    origins = trail.locator(".origin")  # a quarter of 2 + 6 is left, beside 1 + 1
    assert sorted(origins.all_inner_texts()) == ["step 3 · 50 %", "step 7 · 50 %"]
    assert origins.locator("img").count() == 2
    trail.locator("[data-step='3']").click()
    assert at(page) == 3
    click_cell(page, "read_weights", step=6, row=1, rows=4)
    assert trail.locator(".origin").all_inner_texts() == ["step 3 · 100 %"]
    click_cell(page, "read_weights", step=6, row=0, rows=4)
    assert "Nothing was written into slot 0" in trail.inner_text()
    page.keyboard.press("Escape")
    assert trail.is_hidden()


@browsing
def test_of_many_slots_those_that_are_touched_are_shown_first(opened, tmp_path):
    slots = 100
    trace = {"write_weights": np.full((STEPS, slots), 0.001), "usage": np.zeros((STEPS, slots))}
    trace["write_weights"][2, 30] = trace["write_weights"][4, 70] = 1
    trace["read_weights"] = trace["write_weights"][::-1]
    axes = {name: ["slot"] for name in trace}
    page = scrolled(opened([planted_with(tmp_path / "a", trace, axes)]))
    assert (
        page.locator("[data-tensor=usage]")
        .inner_text()
        .endswith("2 of 100 slots; the others are hardly touched. Show all")
    )
    click_cell(page, "read_weights", step=7, row=1, rows=2)
    assert page.locator("#trail h2").inner_text() == "What slot 70 holds at step 7"
    assert page.locator("#trail .origin").first.inner_text() == "step 4 · 100 %"
    page.locator("[data-tensor=usage] .others").click()
    page.wait_for_selector(".others", state="detached")
    scrolled(page)
    assert at(page) == 7
    click_cell(page, "read_weights", step=7, row=70, rows=100)
    assert page.locator("#trail h2").inner_text() == "What slot 70 holds at step 7"


@browsing
def test_a_click_on_a_planted_write_finds_the_reads_that_see_it(opened, tmp_path):
    page = scrolled(opened([planted(tmp_path / "a")]))
    click_cell(page, "write_weights", step=3, row=1, rows=4)
    trail = page.locator("#trail")
    assert trail.locator("h2").inner_text() == "Who reads what step 3 wrote into slot 1"
    told = [text.split("\n")[0] for text in trail.locator(".origin").all_inner_texts()]
    assert sorted(told) == ["step 11 · 50 %", "step 9 · 50 %"]
    click_cell(page, "write_weights", step=5, row=2, rows=4)
    assert trail.locator(".origin").all_inner_texts() == ["step 10 · 100 %\nhead 1"]


@browsing
def test_of_numbers_that_are_none_the_page_says_so_instead_of_shares(opened, tmp_path):
    trace = planted_trace()
    trace["add"][3, 0] = np.nan
    page = scrolled(opened([written(tmp_path / "a", [steps_of(trace)])]))
    trail = page.locator("#trail")
    for tensor, step, row in (("write_weights", 3, 1), ("read_weights", 9, 1)):
        click_cell(page, tensor, step=step, row=row, rows=4)
        assert trail.locator(".origin").count() == 0
        assert "It cannot be told: some of its numbers are infinite or no numbers." in trail.inner_text()
    click_cell(page, "write_weights", step=5, row=2, rows=4)  # another slot has its numbers
    assert trail.locator(".origin").all_inner_texts() == ["step 10 · 100 %\nhead 1"]
    writes = writes_of(trace)
    for step, slot in ((9, 1), (9, 2), (2, 0)):
        found = np.array(page.evaluate(f"inspection.origins({step}, {slot})"), dtype=float)
        assert np.allclose(found, origins(writes, step, slot), atol=1e-3, equal_nan=True)
        found = np.array(page.evaluate(f"inspection.laterReads({step}, {slot})"), dtype=float).reshape(STEPS, 2)
        assert np.allclose(found, later_reads(writes, trace["read_weights"], step, slot), atol=1e-3, equal_nan=True)


@browsing
def test_reads_of_something_else_than_the_slots_that_are_written_see_no_write(opened, tmp_path):
    trace = planted_trace() | {"read_weights": np.full((STEPS, 6), 0.5)}
    axes = AXES | {"read_weights": ["column"]}
    page = scrolled(opened([written(tmp_path / "a", [steps_of(trace)], axes=axes)]))
    click_cell(page, "write_weights", step=3, row=1, rows=4)
    assert "This memory shows no reads of its slots." in page.locator("#trail").inner_text()
    assert page.locator("#trail .origin").count() == 0


@browsing
@pytest.mark.parametrize("parts", [("erase", "add", "cleared"), ("erase", "add"), ("erase",), ()])
def test_provenance_in_the_page_equals_python_and_a_slow_loop(opened, tmp_path, parts):
    drawn = np.random.default_rng(len(parts))
    slots, width, heads = 5, 3, 2
    trace = {"write_weights": drawn.random((STEPS, heads, slots)) ** 3, "read_weights": drawn.random((STEPS, 2, slots))}
    more = {"erase": drawn.random((STEPS, heads, width)), "add": drawn.normal(size=(STEPS, heads, width))}
    more["cleared"] = (drawn.random((STEPS, slots)) < 0.1).astype(float)
    trace |= {name: more[name] for name in parts}
    page = opened([written(tmp_path / "a", [steps_of(trace)], axes={**AXES, "write_weights": ["head", "slot"]})])
    writes = writes_of(trace)
    for step, slot in [(0, 0), (6, 2), (STEPS - 1, 4)]:
        found = page.evaluate(f"inspection.origins({step}, {slot})")
        assert np.allclose(found, origins(writes, step, slot), atol=1e-3)
        slow = [slow_survival(trace, s, step, slot, width) for s in range(step + 1)]
        assert np.allclose(found, np.array(slow) / (sum(slow) or 1), atol=1e-3)
        found = np.reshape(page.evaluate(f"inspection.laterReads({step}, {slot})"), (STEPS, 2))
        assert np.allclose(found, later_reads(writes, trace["read_weights"], step, slot), atol=1e-3)
        found = page.evaluate(f"inspection.readSources({step})")
        assert np.allclose(found, read_sources(writes, trace["read_weights"][step], step), atol=2e-3)


@browsing
def test_what_is_read_now_names_the_steps_that_wrote_it_and_what_was_said_there(opened, tmp_path):
    drawing = ["██@██", "always the same"]
    texts = ["\n".join([*drawing, f"<b>edge {step}</b> of the map"]) for step in range(STEPS)]
    texts[7] = "\n".join(drawing)  # says nothing
    steps = steps_of(planted_trace())
    steps["decisions"][10] = False
    pictures = [picture(step) for step in range(STEPS)]
    page = opened([written(tmp_path / "a", [steps], pictures, texts)])
    panel = page.locator(".reading")
    sources = panel.locator(".source:visible")

    def told():
        return [text.split("\n") for text in sources.all_inner_texts()]

    assert "Next to nothing" in panel.inner_text() and sources.count() == 0
    page.locator("#slider").fill("9")
    assert told() == [
        ["step 3", "50 %", "head 0", "<b>edge 3</b> of the map"],
        ["step 7", "50 %", "head 0"],
    ]
    assert "Next to nothing" not in panel.inner_text() and "idle" not in panel.get_attribute("class")
    page.keyboard.press("ArrowRight")
    assert told() == [["step 5", "100 %", "head 1", "<b>edge 5</b> of the map"]]
    assert "idle" in panel.get_attribute("class")
    sources.first.click()
    assert at(page) == 5 and sources.count() == 0
    page.keyboard.press("ArrowRight")  # the keys are the film's again
    assert at(page) == 6
    page = opened([planted_with(tmp_path / "b", {"hidden": np.zeros((STEPS, 3))}, {"hidden": ["unit"]})])
    assert page.locator(".reading").count() == 0


@browsing
def test_a_step_says_what_it_did_not_say_before(opened, tmp_path):
    """Of stories that grow the last line; of drawings nothing; of a page without texts nothing."""
    told = ["John went home.", "Mary went out.", "██g·███", "  3: -0.8 +0.4", "John went home."]
    texts = ["\n".join(told[: step + 1]) for step in range(5)] + ["·· yes, but drawn"] * (STEPS - 5)
    page = opened([planted(tmp_path / "a", texts=texts)])
    news = [page.evaluate(f"inspection.episodes[0].news({step})") for step in range(6)]
    assert news == ["John went home.", "Mary went out.", "", "3: -0.8 +0.4", "", ""]
    page = opened([planted(tmp_path / "b")])
    assert page.evaluate("inspection.episodes[0].news(3)") == ""


def linked():
    """A trace whose link goes from slot s − 1 to slot s at step s, modulo the slots, and of all steps before."""
    link = np.zeros((STEPS, 4, 4))
    for step in range(1, STEPS):
        link[step] = 0.8 * link[step - 1]
        link[step, step % 4, (step - 1) % 4] = 1
    return link


def pixels(page, tensor):
    """Brightness of the cells of a map, as rows."""
    return page.evaluate(
        "(tensor) => { const c = document.querySelector(`[data-tensor=${tensor}] canvas.pixels`);"
        "const copy = Object.assign(document.createElement('canvas'), { width: c.width, height: c.height });"
        "copy.getContext('2d').drawImage(c, 0, 0);"
        "const { data } = copy.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "return Array.from({ length: c.height }, (_, r) => Array.from({ length: c.width }, (_, k) =>"
        "data[4 * (r * c.width + k)])) }",
        tensor,
    )


@browsing
@pytest.mark.parametrize("sparse", [False, True])
def test_the_link_matrix_moves_with_the_film(opened, tmp_path, sparse):
    """Kept as slots × slots, or as a few links of each slot."""
    link = linked()
    trace, axes = {"link": link}, {"link": ["to slot", "from slot"]}
    if sparse:
        slots = np.argsort(-link, axis=2)[:, :, :2]
        trace = {"link_slots": slots, "link_weights": np.take_along_axis(link, slots, 2)}
        axes = {name: ["slot", "link"] for name in trace}
    page = scrolled(opened([planted_with(tmp_path / "a", planted_trace() | trace, AXES | axes)]))
    block = page.locator("[data-tensor=link]")
    assert page.locator("[data-tensor]").count() == 5  # and no map of its parts
    readout = block.locator(".readout")
    assert readout.inner_text() == "step 0 · all 0"
    assert np.ptp(pixels(page, "link")) == 0
    for step in (1, 6, 11):
        page.locator("#slider").fill(str(step))
        shown = np.array(pixels(page, "link"))
        assert np.unravel_index(shown.argmax(), shown.shape) == (step % 4, (step - 1) % 4)
        assert np.array_equal(shown == shown.min(), link[step] < 0.002)
        assert readout.inner_text() == f"step {step} · slot {(step - 1) % 4} → slot {step % 4} · 1"
    assert block.locator(".above span").all_inner_texts() == list("0123")
    assert block.locator(".axis").all_inner_texts() == ["from slot", "to slot"]
    field = block.locator(".field")
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.6 * box["height"])  # row 2, column 1
    assert readout.inner_text() == "step 11 · slot 1 → slot 2 · 0.8"
    assert field.locator(".cell").is_visible()
    page.mouse.down()
    page.mouse.up()
    page.keyboard.press("ArrowLeft")  # a click leaves the keys to the film
    assert at(page) == 10
    page.mouse.move(0, 0)
    assert field.locator(".cell").is_hidden()
    field.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert at(page) == 10 and readout.inner_text() == "step 10 · slot 2 → slot 3 · 0.514"  # 0.8³ in a byte
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    assert at(page) == 11 and field.locator(".cell").is_hidden()


@browsing
def test_pairs_of_slots_of_any_core_heads_and_many_slots(opened, tmp_path):
    drawn = np.random.default_rng(0)
    weights = {"block_0_weights": drawn.random((STEPS, 2, 5, 6))}
    axes = {"block_0_weights": ["head", "slot", "slot read"], "link": ["to slot", "from slot"]}
    one = planted_with(tmp_path / "a", weights, axes)
    page = scrolled(opened([one]))
    block = page.locator("[data-tensor=block_0_weights]")
    assert block.locator("figcaption").all_inner_texts() == ["head 0", "head 1"]
    assert block.locator(".beside").first.locator("span").all_inner_texts() == list("01234")
    assert block.locator(".above").first.locator("span").all_inner_texts() == list("012345")
    block.locator(".field").nth(1).focus()
    for _ in range(9):  # no further than the edge
        page.keyboard.press("ArrowRight")
    told = block.locator(".readout").inner_text()
    assert told.startswith("step 0 · head 1 · slot 0 · slot read 5 · ")
    assert abs(float(told.split(" · ")[-1]) - weights["block_0_weights"][0, 1, 0, 5]) < 0.005
    slots = 60
    trace = {"write_weights": np.zeros((STEPS, slots)), "link": np.zeros((STEPS, slots, slots))}
    trace["write_weights"][2, 30] = trace["write_weights"][4, 50] = trace["link"][4:, 50, 30] = 1
    recordings = [planted_with(tmp_path / name, trace, {**axes, "write_weights": ["slot"]}) for name in "bc"]
    page = scrolled(opened(recordings, width=400))
    page.keyboard.press("End")
    block = page.locator("[data-tensor=link]")
    assert block.locator(".field").count() == 3  # of either, and where they differ
    assert block.locator(".above").first.locator("span").all_inner_texts() == ["30", "50"]
    assert block.locator(".readout").all_inner_texts() == ["step 11 · slot 30 → slot 50 · 1"] * 2 + ["step 11 · all 0"]
    block.locator(".others").first.click()
    page.wait_for_selector(".others", state="detached")
    scrolled(page)
    assert len(pixels(page, "link")) == slots
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def slow_survival(trace, s, t, n, width):
    """What is left after step t of the write of step s into slot n."""
    heads = range(trace["write_weights"].shape[1])
    total = 0.0
    for w in range(width):

        def part(name, step, head, w=w):
            return trace[name][step, head, w] if name in trace else 1.0

        left = abs(sum(trace["write_weights"][s, v, n] * part("add", s, v) for v in heads))
        for u in range(s + 1, t + 1):
            for v in heads:
                left *= 1 - trace["write_weights"][u, v, n] * part("erase", u, v)
            left *= 1 - trace["cleared"][u, n] if "cleared" in trace else 1
        total += left
    return total


@browsing
def test_a_click_on_attention_by_age_shows_the_step_that_was_looked_at(opened, tmp_path):
    weights = np.zeros((STEPS, 1, 8))
    weights[9, 0, 7 - 4] = 1  # four steps back
    axes = {"layer_1_weights": ["head", "age"]}
    page = scrolled(opened([planted_with(tmp_path / "a", {"layer_1_weights": weights}, axes)]))
    click_cell(page, "layer_1_weights", step=9, row=4, rows=8)
    assert page.locator("#trail .origin").all_inner_texts() == ["step 5 · 100 %"]
    click_cell(page, "layer_1_weights", step=2, row=5, rows=8)
    assert "before the episode began" in page.locator("#trail").inner_text()


def planted_with(folder, trace, axes, **kwargs):
    return written(folder, [steps_of(trace)], [picture(step) for step in range(STEPS)], axes=axes, **kwargs)


@browsing
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_and_the_button_between_them(opened, tmp_path, scheme):
    page = scrolled(opened([planted(tmp_path / "a")], scheme=scheme))

    def brightness():
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    before = brightness()
    assert (before > 128) == (scheme == "light")
    page.locator("#theme").click()
    assert (brightness() > 128) == (scheme == "dark")
    page.locator("#theme").click()
    assert brightness() == before


NEVER_IDLE = "window.requestIdleCallback = () => 0"


def many_maps(folder):
    """A recording whose page is several screens long."""
    drawn = np.random.default_rng(0)
    trace = {f"map_{number}": drawn.random((STEPS, 40)) for number in range(12)}
    return planted_with(folder, planted_trace() | trace | {"link": linked()}, AXES | {"link": ["to slot", "from slot"]})


@browsing
def test_maps_are_drawn_near_the_screen_and_all_the_others_when_there_is_time(opened, tmp_path):
    recording = many_maps(tmp_path / "a")
    page = opened([recording], before=NEVER_IDLE)
    page.wait_for_selector(".group.top .plot canvas")
    assert page.locator(".map:empty").count() > 6
    page = opened([recording])
    page.wait_for_selector(".map:empty", state="detached")
    assert page.evaluate("scrollY") == 0


@browsing
def test_a_print_has_all_maps_in_light_colours(opened, tmp_path):
    no_resizing = "window.ResizeObserver = class { observe() {} disconnect() {} }"  # as in a print
    page = opened([many_maps(tmp_path / "a")], scheme="dark", before=f"{NEVER_IDLE}; {no_resizing}")
    page.evaluate(
        "addEventListener('beforeprint', () => { window.printed = getComputedStyle(document.body).backgroundColor })"
    )
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert page.pdf()[:4] == b"%PDF"
    page.wait_for_selector(".map:empty", state="detached")
    assert page.evaluate("window.printed") == "rgb(246, 246, 244)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before
    page.emulate_media(media="print", color_scheme="light")
    page.set_viewport_size({"width": 700, "height": 900})  # what was drawn for a wide screen is not cut
    edges = page.evaluate("[...document.querySelectorAll('canvas')].map((one) => one.getBoundingClientRect().right)")
    assert len(edges) > 20 and max(edges) <= 700


@browsing
def test_a_phone_need_not_scroll_sideways_and_long_names_and_text_of_environments_stay_text(opened, tmp_path):
    about = {"run": "long" * 60, "env": EVIL, "env_kwargs": {"mission": EVIL}}
    names = [EVIL, "a_very_long_name_of_an_action_" * 4, "c"]
    one = planted(tmp_path / "a", about=about, names=names, texts=[f"{EVIL} {'x' * 300}"] * STEPS)
    layers = [Layer(EVIL * 3, 0, np.tril(np.ones((STEPS, STEPS))), "past step", EVIL)]
    for recordings in ([one], [one, planted(tmp_path / "b")]):
        page = scrolled(opened(recordings, layers, width=400))
        click_cell(page, "read_weights", step=9, row=1, rows=4)
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert "owned" not in page.title().split("script")[0] and page.title() != "owned"
        assert EVIL in page.locator("header").inner_text()
        assert page.locator(".bar .name").first.inner_text() == EVIL
        assert page.locator("pre").first.text_content().startswith(EVIL)
        assert page.locator("img[src='x']").count() == 0


@browsing
def test_two_recordings_stand_side_by_side_and_where_they_part_is_marked(opened, tmp_path):
    one, other = steps_of(planted_trace()), steps_of(planted_trace())
    one["decisions"][:5] = False
    other["decisions"][:5] = False
    other["actions"] = (other["actions"] + np.isin(np.arange(STEPS), [2, 6, 8])) % 3  # step 2 does not matter
    other["trace.read_weights"][9, 0] = [0.75, 0.25, 0, 0]
    pictures = [picture(step) for step in range(STEPS)]
    page = scrolled(opened([written(tmp_path / name, [steps], pictures) for name, steps in [("a", one), ("b", other)]]))
    assert "The actions part at step 6." in page.locator("#episode").inner_text()
    assert page.locator(".tick").count() == 1
    page.evaluate("inspection.store.go(9)")
    assert [page.locator(f"#film-{side} img").get_attribute("data-step") for side in (0, 1)] == ["9", "9"]
    apart = page.locator("[data-tensor=read_weights] .difference .readout").first.inner_text()
    assert apart in ("step 9 · most: slot 0 · 0.75", "step 9 · most: slot 1 · 0.75")
    assert page.locator("[data-tensor=write_weights] .difference .readout").inner_text() == "step 9 · all 0"
    own = page.locator(".difference .legend")
    assert [text.split() for text in own.all_inner_texts()] == [["0", "0.75"], *[["all", "0"]] * 3]


@browsing
def test_differences_have_colours_of_their_own_and_rounding_is_none(opened, tmp_path):
    one = np.random.default_rng(0).random((STEPS, 5))
    other = one.copy()
    other[5, 2] = 3.3  # so that the same numbers have other codes
    pairs = [np.repeat(values[:, None], 5, axis=1) for values in (one, other)]
    gone = np.full((STEPS, 3), np.nan)
    axes = {"usage": ["slot"], "near": ["slot"], "pairs": ["to slot", "from slot"], "gone": ["slot"]}
    traces = [
        {"usage": one, "near": one, "pairs": pairs[0], "gone": gone},
        {"usage": other, "near": one + 0.02, "pairs": pairs[1], "gone": gone},
    ]
    page = scrolled(opened([planted_with(tmp_path / str(k), trace, axes) for k, trace in enumerate(traces)]))

    def difference(name, part):
        return page.locator(f"[data-tensor={name}] .difference {part}").inner_text()

    for name in ("usage", "pairs"):
        assert difference(name, ".readout") == "step 0 · all 0"
        assert abs(float(difference(name, ".legend").split()[1]) - (3.3 - one[5, 2])) < 0.02
    assert abs(float(difference("near", ".legend").split()[1]) - 0.02) < 0.005
    assert difference("gone", ".legend") == "no numbers"


@browsing
def test_one_head_with_an_axis_of_its_own_is_a_map_over_the_steps(opened, tmp_path):
    trace = planted_trace()
    trace["write_weights"], trace["others"] = trace["write_weights"][:, None], np.eye(STEPS, 7)[:, None]
    axes = AXES | {"write_weights": ["head", "slot"], "others": ["row", "column"]}
    page = scrolled(opened([planted_with(tmp_path / "a", trace, axes)]))
    click_cell(page, "write_weights", step=3, row=1, rows=4)
    assert page.locator("#trail h2").inner_text() == "Who reads what step 3 wrote into slot 1"
    click_cell(page, "others", step=5, row=5, rows=7)
    page.mouse.move(0, 0)
    assert page.locator("[data-tensor=others] .readout").inner_text() == "step 5 · most: column 5 · 1"


@browsing
def test_the_head_says_of_either_agent_whether_its_training_is_unfinished(opened, tmp_path):
    abouts = {"run": "one", "unfinished": "1,500 of 100,000 steps"}, {"run": "other", "unfinished": ""}
    page = opened([planted(tmp_path / about["run"], about=about) for about in abouts])
    assert page.locator(".agent").all_inner_texts() == [
        "A · one RecurrentPPO · DNC · trained for 1,500 of 100,000 steps",
        "B · other RecurrentPPO · DNC",
    ]


@browsing
def test_empty_states_and_odd_traces(opened, tmp_path):
    bare = {name: values for name, values in steps_of({}, 1).items() if name not in ("entropy", "probabilities")}
    page = scrolled(opened([written(tmp_path / "a", [bare], axes={})]))
    assert "no memory that shows itself" in page.locator(".empty").inner_text()
    odd = {
        "maps": np.random.default_rng(0).random((STEPS, 2, 3, 4, 5)),
        "number": np.arange(STEPS),
        "gone": np.full((STEPS, 3), np.nan),
    }
    page = scrolled(opened([written(tmp_path / "b", [steps_of(odd)], axes={"maps": ["only one"]})]))
    assert page.locator("[data-tensor=maps] canvas").count() == 6
    assert "gone" in page.locator("#notes").inner_text()
    assert page.locator("[data-tensor=gone] .legend").inner_text() == "no numbers"


@browsing
def test_neighbours_grids_and_several_episodes(opened, tmp_path):
    drawn = np.random.default_rng(0)
    trace = {f"neighbour_{name}": drawn.random((STEPS, 3, 12)) for name in ("weights", "values")}
    trace["neighbour_rows"] = trace["neighbour_ages"] = np.tile(np.arange(12), (STEPS, 3, 1))
    trace["neighbour_weights"] /= trace["neighbour_weights"].sum(-1, keepdims=True)
    trace["neighbour_weights"][0, 0] = [0.16] * 5 + [0.2] + [0] * 6
    trace["neighbour_rows"][0, 0, 6:] = trace["neighbour_rows"][0, 2, 5:] = -1
    axes = {name: ["action", "neighbour"] for name in trace}
    steps = steps_of(trace)
    del steps["observation"], steps["entropy"], steps["probabilities"]
    steps |= {"action_values": drawn.random((STEPS, 3)).astype(np.float32)}
    steps |= {"observation.image": drawn.integers(0, 9, (STEPS, 7, 7, 3)).astype(np.uint8)}
    steps |= {
        "observation.direction": drawn.integers(0, 4, STEPS),
        "observation.pixels": drawn.integers(0, 256, (STEPS, 16, 16, 3)).astype(np.uint8),
    }
    page = scrolled(opened([written(tmp_path / "a", [steps, steps], axes=axes)]))
    rows = page.locator(".neighbours tbody tr")
    assert rows.count() == 17
    assert rows.nth(5).inner_text().strip() == "and 1 further one, of 20 % together"
    assert rows.nth(11).inner_text().strip().startswith("and 7 further ones, of ")
    chosen = page.locator(".neighbours tr.chosen th").first.inner_text()
    assert chosen == "abc"[int(steps["actions"][0])]
    assert page.locator(".film canvas").count() >= 1
    page.locator("#choose").select_option("1")
    page.wait_for_selector("html[data-ready='1']")
    page.keyboard.press("End")
    assert at(page) == STEPS - 1


@browsing
def test_a_layer_of_past_steps_stands_under_the_film_strip(opened, tmp_path):
    matrix = np.full((STEPS, STEPS), np.nan)
    matrix[9, 3] = 0.5
    layer = Layer("what the value hangs on", 0, matrix, "past step", "Shares of a gradient.")
    page = scrolled(opened([planted(tmp_path / "a")], [layer]))
    assert page.locator(".strip img").count() > 3
    page.evaluate("inspection.store.go(9)")
    over = page.locator(".top .u-over").first
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    page.mouse.move(box["x"] + 3.5 / STEPS * box["width"], box["y"] + 10)
    assert "at step 9, of step 3: 0.5" in page.locator(".top").inner_text()
    assert page.locator("[aria-label=Findings] h3").inner_text() == "what the value hangs on"


@browsing
def test_findings_of_two_recordings_say_whose_they_are_and_rounding_is_no_finding(opened, tmp_path):
    layer = Layer("policy with a unit erased", 0, np.full((STEPS, 3), 2e-7), "unit", "By how much the policy departs.")
    page = scrolled(opened([planted(tmp_path / "a"), planted(tmp_path / "b")], [layer]))
    findings = page.locator("[aria-label^=Findings]")
    assert findings.locator("h2").inner_text() == "Findings · A · planted"
    assert "1.00e−6" in findings.locator(".block-head").inner_text()
