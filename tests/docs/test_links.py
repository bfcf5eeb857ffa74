"""Every link from one document to another leads somewhere."""

import re

import pytest

LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(text):
    """Return the anchors of a document's headings, as they are made on the usual sites."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text):
    return [target for target in LINK.findall(FENCE.sub("", text)) if "://" not in target]


@pytest.mark.slow
def test_every_relative_link_and_anchor_exists(documents, root):
    broken = []
    count = 0
    for name, text in documents.items():
        for target in links(text):
            count += 1
            path, _, anchor = target.partition("#")
            place = (root / name).parent / path if path else root / name
            if not place.exists() or (anchor and anchor not in anchors(place.read_text())):
                broken.append((name, target))
    assert not broken
    assert count > 50


def test_every_document_can_be_reached_from_the_readme(documents, root):
    seen, ahead = set(), ["README.md"]
    while ahead:
        name = ahead.pop()
        if name in seen or name not in documents:
            continue
        seen.add(name)
        places = ((root / name).parent / target.partition("#")[0] for target in links(documents[name]))
        ahead += [str(place.resolve().relative_to(root.resolve())) for place in places if place.is_file()]
    assert seen == documents.keys()
