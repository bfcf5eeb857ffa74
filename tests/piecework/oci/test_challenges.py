import pytest
from hypothesis import given, strategies

from piecework.oci.challenges import read_challenges


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:n:pull,push"',
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:n:pull,push"})],
        ),
        ('Basic realm="x", Bearer realm=y', [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ('Bearer Realm = "a\\"b" , Basic', [("bearer", {"realm": 'a"b'}), ("basic", {})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
    ],
)
def test_challenges_are_read(header, found):
    assert read_challenges(header) == found


@given(strategies.text(alphabet='Basic Bearer realm="\\,=;\t', max_size=300))
def test_any_header_is_read(header):
    assert len(read_challenges(header)) <= 8


def test_long_header_ends_soon():
    assert len(read_challenges("a " * 100_000)) <= 8
    assert read_challenges('Basic realm="' + "\\" * 100_000) is not None
