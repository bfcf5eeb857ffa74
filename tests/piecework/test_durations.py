import pytest

from piecework.text.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("1.5", 1.5), ("0", 0), ("500ms", 0.5), ("5m", 300), ("5min", 300), ("1h30m", 5400),
        ("1h 30m", 5400), ("2d", 172_800), ("1d2h3m4s5ms", 93_784.005), (".5s", 0.5), ("5M", 300), (" 7 ", 7),
    ],
)  # fmt: skip
def test_durations_are_read_in_seconds_or_with_units(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "5x", "30m1h", "1h1h", "-5", "-5m", "1,5", "5 6", "h", "1.2.3s"]
)
def test_what_is_no_duration_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["nan", "inf", "1e99", "4000d"])
def test_no_duration_is_endless(text):
    with pytest.raises(ValueError, match="ten years"):
        parse_duration(text)
