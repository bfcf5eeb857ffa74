"""What the documents say of settings, commands, messages, codes and figures is what the code says."""

import pytest

CHANGED = """Before.
<!-- generated: states -->
Something that somebody wrote by hand.
<!-- /generated -->
After.
"""


@pytest.mark.slow
def test_every_generated_part_is_up_to_date(builder, documents):
    stale = [name for name, text in documents.items() if builder.rebuild(text) != text]
    assert not stale, f"run: make docs (it rewrites {', '.join(stale)})"


def test_a_generated_part_is_rewritten_and_nothing_else(builder):
    rebuilt = builder.rebuild(CHANGED)
    assert "by hand" not in rebuilt
    assert "`Fail_Execution`" in rebuilt
    assert (rebuilt.startswith("Before.\n"), rebuilt.endswith("After.\n")) == (True, True)
    assert builder.rebuild(rebuilt) == rebuilt


def test_a_part_that_nothing_writes_is_an_error(builder):
    with pytest.raises(KeyError, match="horoscope"):
        builder.rebuild(CHANGED.replace("states", "horoscope"))
