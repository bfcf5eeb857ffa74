"""The documents keep to the glossary, and say nothing of the machine they were written on."""

import re

import pytest

CODE = re.compile(r"^```.*?^```|`[^`\n]+`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)


def prose(text):
    """Return a document without its code and the targets of its links."""
    return CODE.sub(" ", text)


@pytest.fixture(scope="session")
def banned(documents):
    """The words that the glossary lists as not used."""
    cells = [line.strip("|").split("|") for line in documents["docs/glossary.md"].splitlines() if line[:1] == "|"]
    words = [word.strip() for row in cells if len(row) == 3 for word in row[2].split(",")]
    return sorted({word for word in words if word and word != "not" and set(word) != {"-"}})


@pytest.mark.slow
def test_no_document_uses_a_word_that_the_glossary_replaces(documents, banned):
    assert {"task", "requeue", "artifact"} <= set(banned)
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, banned))})s?\b", re.IGNORECASE)
    found = [
        (name, match[0])
        for name, text in documents.items()
        if name != "docs/glossary.md"
        for match in pattern.finditer(prose(text))
    ]
    assert not found


def test_no_document_names_a_place_of_this_machine_or_a_registrys_host(documents, root):
    texts = documents | {path.name: path.read_text() for path in root.glob("deploy/**/*") if path.is_file()}
    pattern = re.compile(
        r"(?<![\w.])/(?:work|root|home/\w+|tmp/\w+)\b|\b(?:pypi|npmjs|crates|golang)\.(?:org|com|io)\b"
    )
    assert not [(name, match[0]) for name, text in texts.items() for match in pattern.finditer(text)]


def test_no_document_has_pictograms_banners_or_things_left_to_do(documents):
    pattern = re.compile(r"[\U0001F000-\U0001FAFF\u2600-\u27BF]|={5}|\*{5}|#{5}|\b(?:TODO|FIXME|TBD)\b")
    found = [(name, match[0]) for name, text in documents.items() for match in pattern.finditer(text)]
    assert found == [("CONTRIBUTING.md", "TODO")]  # the rule itself


def test_lines_of_prose_fit_into_a_window(documents):
    for name, text in documents.items():
        written = re.sub(r"<!-- generated: .*?<!-- /generated -->", "", text, flags=re.DOTALL)
        long = [line for line in written.splitlines() if len(line) > 120 and line[:1] != "|"]
        assert not long, name


def test_the_readme_stays_short(documents):
    written = re.sub(r"<!-- generated: .*?<!-- /generated -->", "", documents["README.md"], flags=re.DOTALL)
    assert len(written.splitlines()) <= 60


@pytest.mark.slow
def test_parts_in_the_glossary_are_still_in_the_code(documents, root):
    section = documents["docs/glossary.md"].partition("## Parts of the programs")[2].partition("\n## ")[0]
    words = [line.split("|")[1].strip() for line in section.splitlines() if line[:1] == "|"][2:]
    assert len(words) > 30
    code = "\n".join(
        f"{path.relative_to(root)}\n{path.read_text()}"
        for folder in ("piecework", "server", "worker_agent", "tests/support")
        for path in (root / folder).rglob("*.py")
    ).lower()
    patterns = {word: word.replace("-", " ").replace(" ", "[ _-]?") for word in words}
    starts = {word: (found.start() for found in re.finditer(pattern, code)) for word, pattern in patterns.items()}
    assert [word for word in words if not any(not "a" <= code[at - 1] <= "z" for at in starts[word])] == []
