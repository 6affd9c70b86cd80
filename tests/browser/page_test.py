"""The page on the HTTP port, in a real Chromium before a real evoked: what a person sees, with and without eyes or mouse."""

import numpy as np
import pytest

from showcase import eventually


def test_server_view_shows_the_memories_and_what_is_called(server, browser):
    page = browser(server.url)
    page.see("glyphs", "words", "serving", "TrainStep")
    meter = page.find("[role=meter][aria-label='Live slots of glyphs']")
    assert meter.get_attribute("aria-valuetext") == "24 of 24"
    page.screenshot("server")


def test_figures_are_live_and_can_be_paused(server, browser):
    page = browser(server.url + "#/m/words")
    page.see("words")

    def step():
        return int(page.run("return [...document.querySelectorAll('.tile')].find((t) => t.innerText.startsWith('Step'))"
                            ".querySelector('strong').innerText.replace(/,/g, '')"))
    before = step()
    server.words.update(np.eye(8, dtype=np.float32)[:1], [5])
    eventually(lambda: step() == before + 1, "the new step")
    page.click("#pause")
    asked = "return performance.getEntriesByType('resource').filter((r) => r.name.includes('/api/')).length"
    eventually(lambda: page.run("return document.getElementById('pause').getAttribute('aria-pressed')") == "true", "a pause")
    page.run("window.ticks = 0; setInterval(() => window.ticks++, 2000)")
    looks = page.run(asked)
    eventually(lambda: page.run("return window.ticks") >= 2, "time for two more looks")
    assert page.run(asked) <= looks + 1  # one may have been under way
    page.click("#pause")
    eventually(lambda: page.run(asked) > looks + 1, "looks after the pause")


def test_a_slot_shows_its_images_and_why_the_memory_answers_so(server, browser):
    page = browser(server.url + "#/m/glyphs/slot/3")
    page.see("Slot 3", "Why", "Asked for exactly this key", "Without this slot")
    eventually(lambda: page.run("return [...document.images].every((i) => i.complete && i.naturalWidth > 0)"), "images")
    assert len(page.all(".gallery img")) >= 1
    similarities = [float(cell.text) for cell in page.all(".neighbors .similarity")]
    assert len(similarities) == 15 and similarities == sorted(similarities, reverse=True)
    assert "3" not in [cell.text for cell in page.all(".neighbors tbody th")]
    page.screenshot("slot")


def test_a_value_leads_to_its_slots_and_on_to_neighbors_by_keyboard_alone(server, browser):
    page = browser(server.url + "#/m/glyphs")
    page.find("#ask-value").send_keys("7")
    page.press("ENTER")
    page.see("Value 7", "live slot")
    assert page.driver.switch_to.active_element.text == "Value 7"
    page.press("TAB")
    page.press("ENTER")
    page.see("Why")
    assert page.driver.switch_to.active_element.text.startswith("Slot ")
    assert page.find("dl.small a").text == "7"
    page.driver.back()
    page.see("Value 7", "live slot")


def test_evictions_lead_to_the_slot_and_to_what_was_forgotten(server, browser):
    page = browser(server.url + "#/m/glyphs")
    page.find("[aria-label='Recent evictions'] tbody a")
    # At once: the table is made anew every two seconds.
    slot = page.run("const a = document.querySelector(\"[aria-label='Recent evictions'] tbody a\"); a.click(); return a.innerText")
    page.see("Slot " + slot, "Why")


def test_an_embedding_is_answered_and_nonsense_is_refused(server, browser):
    page = browser(server.url + "#/m/words")
    page.click("details.embedding summary")
    page.find("textarea").send_keys("[0, 0, 3.5, 0.1, 0, 0, 0, 0]")
    page.click("details.embedding button")
    page.see("Answer", "The memory answers 7 with confidence")
    for text, refusal in (("1, 2", "expects 8"), ("a b", "not all numbers"), ("0 0 0 0 0 0 0 0", "norm")):
        page.find("textarea").clear()
        page.find("textarea").send_keys(text)
        page.click("details.embedding button")
        page.see(refusal)


def test_what_a_memory_holds_never_becomes_markup(server, browser):
    page = browser(server.url + "#/m/words/value/5")
    page.see("Value 5")
    page.click(".card")
    page.see("<img src=x onerror=", "Why")
    assert page.run("return window.hacked") is None
    assert page.run("return document.querySelectorAll('#found img, #found script').length") == 0


def test_values_beyond_what_a_double_holds_stay_exact(server, browser):
    page = browser(server.url + "#/m/words/value/%d" % (-2**62 - 1))
    page.see("Value -4611686018427387905", "1 live slot")


def test_what_is_not_there_is_said(server, browser):
    page = browser(server.url + "#/m/words/slot/999")
    page.see("slot 999 of memory \"words\" is free")
    page.go("#/m/words/slot/1000")
    page.see("beyond the capacity")
    page.go("#/m/words/value/12345")
    page.see("never taught, or is forgotten")
    page.go("#/m/nobody")
    page.see("there is no memory \"nobody\"")


def test_a_token_is_asked_for_and_kept_in_this_tab_only(guarded, browser):
    page = browser(guarded.url)
    page.see("Sign in")
    assert page.driver.switch_to.active_element.get_attribute("id") == "token"
    page.press("t0ken-wrong", "ENTER")
    page.see("the token is not one that this server knows")
    page.press("t0ken-root", "ENTER")
    page.see("glyphs", "words", "root")
    assert page.run("return [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.driver.refresh()
    page.see("Sign in")
    page.click("[name=keep]")
    page.find("#token").send_keys("t0ken-root")
    page.click("button.main")
    page.see("glyphs", "words")
    page.driver.refresh()
    page.see("glyphs", "words")
    page.click("#leave")
    page.see("Sign in")
    assert page.run("return sessionStorage.length") == 0
    page.screenshot("sign-in")


def test_a_reader_sees_only_what_the_token_may_name(guarded, browser):
    page = browser(guarded.url)
    page.find("#token").send_keys("t0ken-rita")
    page.press("ENTER")
    page.see("glyphs", "rita, reader")
    assert "words" not in page.text()
    page.run("location.hash = '#/m/words'")
    page.see("may name the memories gly*, not \"words\"")
    page.run("location.hash = '#/m/glyphs/slot/1'")
    page.see("Slot 1", "Why")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_can_be_read_in_both_schemes(server, browser, dark):
    page = browser(server.url + "#/m/glyphs/slot/3", dark=dark)
    for where, word in (("#/m/glyphs/slot/3", "Why"), ("#/m/words/value/5", "live slot"), ("", "Calls")):
        page.go(where)
        page.see(word)
        texts = page.contrast()
        assert len(texts) > 20
        assert [text for text in texts if text[0] < 4.5] == []
        assert page.gaps() == []
        page.screenshot("%s-%s" % ("dark" if dark else "light", word.split()[0]))


@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_fits_a_narrow_window(server, browser, width):
    page = browser(server.url, width=width)
    for where, word in (("", "Calls"), ("#/m/glyphs/slot/3", "Why"), ("#/m/words/value/%d" % (-2**62 - 1), "live slot")):
        page.go(where)
        page.see(word)
        assert page.overflow() <= 0, where
        page.screenshot("%d-%s" % (width, word.split()[0]))
