"""The page about performance has the figures that were measured, and no others."""

import document
import pytest


def test_the_page_has_the_stored_figures():
    text = document.PAGE.read_text()
    assert document.rebuild(text) == text, "run: python benchmarks/document.py"


def test_every_part_is_on_the_page():
    named = {match[2] for match in document.PART.finditer(document.PAGE.read_text())}
    assert named == set(document.PARTS)


def test_a_part_that_nothing_writes_is_an_error():
    with pytest.raises(KeyError, match="horoscope"):
        document.rebuild("<!-- figures: horoscope -->\n<!-- /figures -->\n")
