"""The first part of the demo: how often each word stands in the English documents that come with Python.

A word is a longest run of the ASCII letters A-Z and a-z; capital letters count as small ones. The guests in
samples/word_frequencies.c and samples/merge_frequencies.c follow the same sentence.
"""

import pydoc_data.topics
import re
from collections import Counter
from dataclasses import dataclass

from rich.table import Table

from piecework import Client
from piecework.client import JobResult
from piecework.demo.progress import Watch
from piecework.protocol.ids import Id

WORD = re.compile(rb"[a-z]+")
TOP = 10


class CheckError(Exception):
    """A result is not what it must be; the message says which."""


@dataclass(frozen=True)
class WordCount:
    """What the jobs found."""

    frequencies: Counter[bytes]
    results: list[JobResult]


def documents() -> dict[str, bytes]:
    """Return the documents by name: the help texts that every Python carries."""
    return {name: text.encode() for name, text in sorted(pydoc_data.topics.topics.items())}


def count_here(text: bytes) -> Counter[bytes]:
    """Count the words of a text in this process."""
    return Counter(WORD.findall(text.lower()))


def parse_frequencies(table: bytes) -> Counter[bytes]:
    """Read what the guests print: a line "word count" for each word."""
    return Counter({word: int(count) for word, count in (line.split() for line in table.splitlines())})


def count_words(client: Client, guests: dict[str, bytes], watch: Watch) -> WordCount:
    """Count with one job per document and one that merges. Raises CheckError when Python counts otherwise."""
    texts = documents()
    count = client.create_lambda(guests["word_frequencies"], name="word_frequencies", reuse=True)
    merge = client.create_lambda(guests["merge_frequencies"], name="merge_frequencies", reuse=True)

    ids = client.submit_many(count, texts.values())
    names: dict[Id, str] = dict(zip(ids, texts, strict=True))
    results = dict(watch(f"{len(ids)} documents", ids))
    tables = {names[job]: result.read() for job, result in results.items()}
    for name, text in texts.items():
        if parse_frequencies(tables[name]) != count_here(text):
            raise CheckError(f"the words of the document {name!r} are not those that Python counts")

    merging = client.submit(merge, b"".join(tables[name] for name in texts))
    [(_, merged)] = watch("1 merge", [merging])
    frequencies = parse_frequencies(merged.read())
    if frequencies != sum((count_here(text) for text in texts.values()), Counter()):
        raise CheckError("the merged table is not what Python counts")
    return WordCount(frequencies, [*results.values(), merged])


def top_table(found: WordCount) -> Table:
    """Show the most frequent words."""
    total = found.frequencies.total()
    table = Table()
    table.add_column("word")
    table.add_column("times", justify="right")
    table.add_column("share", justify="right")
    # Ties go by the alphabet, so that every run shows the same table.
    ranking = sorted(found.frequencies.items(), key=lambda item: (-item[1], item[0]))
    for word, times in ranking[:TOP]:
        table.add_row(word.decode(), f"{times:,}", f"{times / total:.1%}")
    return table
