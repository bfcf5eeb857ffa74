import struct
import zipfile

import msgspec
import pytest
from receipts import (
    GIVEN,
    GIVEN_LIST,
    MADE_LIST,
    MODULE,
    OUTPUT,
    all_parts,
    both_keys,
    sha256,
    some_envelope,
    some_payload,
)

from piecework.receipts import Bundle, ReceiptError, verify_receipt, write_bundle, write_payload
from piecework.receipts.parts import read_list, write_list


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "a.bundle"
    write_bundle(path, some_envelope(), both_keys(), all_parts())
    return path


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    """Write the bundle anew, with entries that ``change`` puts in a dictionary by name."""
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, data in entries.items():
            new.writestr(name, data)


def test_a_bundle_has_the_receipt_its_keys_and_all_parts(bundle, tmp_path):
    with Bundle(bundle) as read:
        assert verify_receipt(read.envelope, read.keys).payload == some_payload()
        read.check_parts()
        assert read.digests() == set(all_parts())
        assert read.read(sha256(OUTPUT)) == OUTPUT
        assert read.size(sha256(GIVEN)) == len(GIVEN)
        read.copy(sha256(MODULE), tmp_path / "module")
        assert [part.what for part in read.list_parts()] == [
            "the module",
            "the input",
            "the arguments",
            "the environment",
            "the list of its files",
            "the output",
            "the list of the files that it gave back",
            "its file 'a/b.txt'",
            "the file 'c' that it gave back",
        ]
    assert (tmp_path / "module").read_bytes() == MODULE


def test_the_same_content_makes_the_same_bytes(bundle, tmp_path):
    (tmp_path / "out").write_bytes(OUTPUT)
    parts = dict(reversed(all_parts().items())) | {sha256(OUTPUT): tmp_path / "out"}
    write_bundle(tmp_path / "b.bundle", some_envelope(), both_keys()[::-1], parts)
    assert (tmp_path / "b.bundle").read_bytes() == bundle.read_bytes()


def test_a_bundle_may_be_deflated(bundle):
    rewrite(bundle, lambda entries: None, zipfile.ZIP_DEFLATED)
    with Bundle(bundle) as read:
        read.check_parts()


@pytest.mark.parametrize("part", sorted(all_parts()))
def test_a_part_with_another_byte_is_named(bundle, part):
    def change(entries):
        data = bytearray(entries[f"parts/{part}"])
        data[-1] ^= 1
        entries[f"parts/{part}"] = bytes(data)

    rewrite(bundle, change)
    with (
        Bundle(bundle) as read,
        pytest.raises(ReceiptError, match=f"the part {part},? is damaged: its bytes have"),
    ):
        read.check_parts()


@pytest.mark.parametrize("part", sorted(all_parts()))
def test_a_part_that_is_missing_is_named(bundle, part):
    rewrite(bundle, lambda entries: entries.pop(f"parts/{part}"))
    with Bundle(bundle) as read, pytest.raises(ReceiptError, match=f"{part}"):
        read.check_parts()


@pytest.mark.slow
def test_every_byte_of_a_bundle_counts(bundle):
    """A zip file has a few bytes that nobody reads, such as times; what is changed there changes nothing."""
    data, refused = bundle.read_bytes(), 0
    with Bundle(bundle) as good:
        envelope, parts = good.envelope, {digest: good.read(digest) for digest in good.digests()}
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 0x10
        bundle.write_bytes(changed)
        try:
            with Bundle(bundle) as read:
                read.check_parts()
                verify_receipt(read.envelope, read.keys)
                assert read.envelope == envelope
                assert {digest: read.read(digest) for digest in read.digests()} == parts
        except ReceiptError:
            refused += 1
    assert refused > len(data) // 3 * 0.6


@pytest.mark.parametrize("cut", [0, 4, 500, -1, -30])
def test_a_bundle_that_was_cut_is_refused(bundle, cut):
    bundle.write_bytes(bundle.read_bytes()[:cut])
    with pytest.raises(ReceiptError, match=r"is no bundle|is damaged"):
        Bundle(bundle)


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/passwd", "parts/x", f"parts/../{'a' * 64}", "parts/", "more"]
)
def test_entries_with_other_names_are_refused(bundle, name):
    rewrite(bundle, lambda entries: entries.update({name: b""}))
    with pytest.raises(ReceiptError, match="which belongs in no bundle"):
        Bundle(bundle)


def test_a_part_that_the_receipt_does_not_name_is_refused(bundle):
    rewrite(bundle, lambda entries: entries.update({f"parts/{sha256(b'x')}": b"x"}))
    with Bundle(bundle) as read, pytest.raises(ReceiptError, match="does not belong here"):
        read.check_parts()


def test_two_entries_with_one_name_are_refused(bundle):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(bundle, "a") as more:
        more.writestr("receipt.json", b"{}")
    with pytest.raises(ReceiptError, match=r"has two entries receipt.json"):
        Bundle(bundle)


def test_other_packings_are_refused(bundle):
    rewrite(bundle, lambda entries: None, zipfile.ZIP_LZMA)
    with pytest.raises(ReceiptError, match="in another way than deflate"):
        Bundle(bundle)


def test_a_bomb_is_refused_before_it_is_unpacked(bundle):
    digest = sha256(OUTPUT)
    rewrite(bundle, lambda entries: entries.update({f"parts/{digest}": b"\0" * 5_000_000}), zipfile.ZIP_DEFLATED)
    with (
        Bundle(bundle) as read,
        pytest.raises(ReceiptError, match="has 5000000 bytes; at most 1000 are read here"),
    ):
        read.read(digest, 1000)
    data = bytearray(bundle.read_bytes())
    place = data.rindex(struct.pack("<L", 5_000_000))  # in the list of entries: it lies about the length
    data[place : place + 4] = struct.pack("<L", 10)
    bundle.write_bytes(data)
    with Bundle(bundle) as read, pytest.raises(ReceiptError, match="is damaged"):
        read.read(digest, 1000)


@pytest.mark.slow
def test_too_many_entries_are_refused_before_their_list_is_read(bundle):
    with zipfile.ZipFile(bundle, "w") as file:
        for n in range(4101):
            file.writestr(f"{n}", b"")
    with pytest.raises(ReceiptError, match="has 4101 entries; a bundle has at most 4100"):
        Bundle(bundle)


def test_a_large_receipt_or_list_of_keys_is_refused(bundle):
    rewrite(bundle, lambda entries: entries.update({"receipt.json": b" " * 262_145}))
    with pytest.raises(ReceiptError, match=r"receipt.json of .* has 262145 bytes; at most 262144 are read"):
        Bundle(bundle)


@pytest.mark.parametrize("name", ["receipt.json", "keys.json"])
def test_a_bundle_without_receipt_or_keys_is_refused(bundle, name):
    rewrite(bundle, lambda entries: entries.pop(name))
    with pytest.raises(ReceiptError, match=f"has no entry {name}"):
        Bundle(bundle)


def test_writing_refuses_what_is_not_whole_and_leaves_nothing(tmp_path):
    parts = all_parts()
    del parts[sha256(OUTPUT)]
    with pytest.raises(ReceiptError, match=f"the output is missing: .* has no part {sha256(OUTPUT)}"):
        write_bundle(tmp_path / "x", some_envelope(), both_keys(), parts)
    with pytest.raises(ReceiptError, match=r"the output, the part .* is damaged"):
        write_bundle(tmp_path / "x", some_envelope(), both_keys(), {**parts, sha256(OUTPUT): b"x"})
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_copied_whole_or_not_at_all(bundle, tmp_path):
    rewrite(bundle, lambda entries: entries.update({f"parts/{sha256(MODULE)}": b"other"}))
    with Bundle(bundle) as read, pytest.raises(ReceiptError, match="is damaged"):
        read.copy(sha256(MODULE), tmp_path / "module")
    assert not (tmp_path / "module").exists()


A = "a" * 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{A}  x", "does not end with its last line"),
        (f"{A} x\n", "is damaged in line 1"),
        (f"{A}  a\n{A}  ../x\n", "is damaged in line 2"),
        (f"{A[1:]}  x\n", "is damaged in line 1"),
        (f"{A}  b\n{A}  a\n", "these are not the paths"),
        (f"{A}  a\n{A}  a\n", "these are not the paths"),
        (f"{A}  a\n{A}  a/b\n", "these are not the paths"),
        ("".join(f"{A}  {n:04}\n" for n in range(1001)), "up to 1000 files"),
    ],
)
def test_lists_of_files_that_are_wrong_are_refused(text, message):
    with pytest.raises(ReceiptError, match=message):
        read_list(text.encode(), "the list")


def test_lists_of_files_are_read_as_they_were_written():
    assert read_list(GIVEN_LIST, "it") == [("a/b.txt", sha256(GIVEN))]
    assert write_list(read_list(MADE_LIST, "it")) == MADE_LIST
    assert read_list(b"", "it") == []


def test_a_receipt_of_fewer_parts_needs_fewer(tmp_path):
    subject = msgspec.structs.replace(some_payload().claim.subject, files=None)
    result = msgspec.structs.replace(some_payload().claim.result, made=None)
    claim = msgspec.structs.replace(some_payload().claim, subject=subject, result=result)
    envelope = some_envelope(write_payload(msgspec.structs.replace(some_payload(), claim=claim)))
    parts = {digest: part for digest, part in all_parts().items() if part not in {GIVEN, GIVEN_LIST}}
    with pytest.raises(ReceiptError, match="does not belong here"):
        write_bundle(tmp_path / "x", envelope, both_keys(), parts)
