import contextlib

import pytest
from hypothesis import given, strategies

from piecework.oci.references import Reference

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("oci://ghcr.io/o/n:1.0", ("ghcr.io", "o/n", "1.0", "")),
        ("oci://ghcr.io/o/n", ("ghcr.io", "o/n", "latest", "")),
        (f"oci://ghcr.io/o/n@sha256:{DIGEST}", ("ghcr.io", "o/n", "", DIGEST)),
        (f"oci://GHCR.io/n:V1@sha256:{DIGEST.upper()}", ("ghcr.io", "n", "V1", DIGEST)),
        ("oci://127.0.0.1:5000/a/b.c__d-e/f:x", ("127.0.0.1:5000", "a/b.c__d-e/f", "x", "")),
        ("oci://[::1]:5000/a:x", ("[::1]:5000", "a", "x", "")),
        ("oci://localhost/a:_", ("localhost", "a", "_", "")),
    ],
)
def test_references_are_read_and_written(text, parts):
    assert Reference.parse(text) == parts
    assert Reference.parse(str(Reference.parse(text))) == parts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ghcr.io/o/n:1", "is not oci://HOST"),
        ("oci://ghcr.io", "is not oci://HOST"),
        ("oci:///n:1", "is not oci://HOST"),
        ("oci://a b/n", "is not oci://HOST"),
        ("oci://host:99999/n", "is not oci://HOST"),
        ("oci://host?x/n", "is not oci://HOST"),
        ("oci://ghcr.io/O/n", "'O/n' is no name"),
        ("oci://ghcr.io/../n", "'../n' is no name"),
        ("oci://ghcr.io/", "'' is no name"),
        ("oci://ghcr.io/n?x=1", "is no name"),
        (f"oci://ghcr.io/{'n' * 256}", "is no name"),
        ("oci://ghcr.io/n:", "'' is no tag"),
        ("oci://ghcr.io/n:.x", "'.x' is no tag"),
        (f"oci://ghcr.io/n:{'x' * 129}", "is no tag"),
        ("oci://ghcr.io/n@sha256:123", "is not 64 hex digits"),
        ("oci://ghcr.io/n@sha512:123", "is no name"),
    ],
)
def test_other_texts_are_refused_with_reason(text, reason):
    with pytest.raises(ValueError, match=reason.replace("?", r"\?")):
        Reference.parse(text)


def test_passwords_in_references_are_never_shown():
    with pytest.raises(ValueError, match="has no user and no password") as refused:
        Reference.parse("oci://me:hunter2@ghcr.io/n")
    assert "hunter2" not in str(refused.value)


def test_docker_hub_is_asked_as_it_wants():
    short, long = Reference.parse("oci://docker.io/hello"), Reference.parse("oci://docker.io/team/hello")
    assert (short.server, short.repository, short.login) == (
        "registry-1.docker.io",
        "library/hello",
        "index.docker.io",
    )
    assert (long.repository, str(long)) == ("team/hello", "oci://docker.io/team/hello:latest")


@given(strategies.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    for each in (text, f"oci://{text}", f"oci://host/{text}"):
        with contextlib.suppress(ValueError):
            assert str(Reference.parse(each)).startswith("oci://")
