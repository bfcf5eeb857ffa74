"""The documents as a site."""

import importlib
import re

import pytest


@pytest.fixture(scope="session")
def site(builder):
    """The script ``docs/build_site.py`` as a module."""
    return importlib.import_module("build_site")


def test_every_document_is_in_one_section(site, documents):
    listed = [f"{page}.md" for pages in site.SECTIONS.values() for page in pages]
    assert sorted(listed) == sorted({*documents, "samples/README.md"} - {"README.md"})


def test_versions_are_listed_newest_first(site, tmp_path):
    for name in ("0.9", "0.10", "1.2", "notes"):
        (tmp_path / name).mkdir()
    assert re.findall(r'href="([^"]+)/index.html"', site.list_versions(tmp_path)) == ["1.2", "0.10", "0.9"]


@pytest.mark.integration
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(site, tmp_path):
    (tmp_path / "site" / "0.0").mkdir(parents=True)
    folder = site.build(tmp_path / "site", tmp_path / "source")
    assert "0.0/index.html" in (tmp_path / "site" / "index.html").read_text()
    for pages in site.SECTIONS.values():
        for page in pages:
            text = (folder / f"{page}.html").read_text()
            assert "```" not in re.sub(r"<pre>.*?</pre>|<code.*?</code>", "", text, flags=re.DOTALL), page
            loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', text)
            assert not [each for each in loaded if "://" in each or each.startswith("//")], page
    assert (folder / "docs/cli.html").read_text() != (folder / "index.html").read_text()
    assert (folder / "searchindex.js").stat().st_size > 100_000


@pytest.mark.integration
def test_a_link_that_leads_nowhere_ends_the_build(site, tmp_path, monkeypatch):
    def copy(source):
        (source / "README.md").write_text("# Start\n\n```{toctree}\na\n```\n")
        (source / "a.md").write_text("# A\n\nsee [b](README.md#nothing)\n")

    monkeypatch.setattr(site, "copy_documents", copy)
    (tmp_path / "site").mkdir()
    with pytest.raises(site.SiteError):
        site.build(tmp_path / "site", tmp_path / "source")
