import base64
import json

import msgspec
import pytest
from receipts import OUTPUT, SERVER_KEY, WORKER_KEY, both_keys, sha256, some_envelope, some_payload

from piecework.protocol.codes import ErrorKind
from piecework.receipts import (
    KeyRing,
    PrivateKey,
    ReceiptError,
    countersign,
    read_envelope,
    read_payload,
    read_receipt,
    result_digest,
    seal,
    subject_digest,
    verify_receipt,
    write_envelope,
    write_payload,
)
from piecework.receipts.canonical import encode_canonical, write_number
from piecework.receipts.envelope import encode_pae
from piecework.receipts.payload import is_comparable

KEYS = KeyRing(both_keys())


def test_pae_is_that_of_the_specification():
    assert encode_pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_receipt_is_read_as_it_was_written_and_its_signers_are_told():
    envelope = read_envelope(write_envelope(some_envelope()))
    checked = verify_receipt(envelope, KEYS)
    assert checked.payload == some_payload()
    assert [key.owner for key in checked.signers] == ["worker", "server"]
    assert checked.payload.claim.result.output == sha256(OUTPUT)


def test_payload_is_what_json_writes_with_sorted_keys_and_no_spaces():
    data = write_payload(some_payload())
    again = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert data == again.encode()
    assert b'"fuel":"1152921504606846976"' in data


@pytest.mark.parametrize(("number", "written"), [(2**53, 2**53), (2**53 + 1, str(2**53 + 1)), (0, 0)])
def test_numbers_above_two_to_the_53rd_are_strings(number, written):
    assert write_number(number) == written


def test_digests_of_subject_and_result_depend_on_every_field_of_theirs_alone():
    payload = some_payload()
    claim = payload.claim
    other = msgspec.structs.replace(claim.subject, seed="6" * 64)
    assert subject_digest(other) != subject_digest(claim.subject)
    assert subject_digest(claim.subject) == sha256(encode_canonical(claim.subject))
    assert result_digest(claim.result) == sha256(encode_canonical(claim.result))


@pytest.mark.parametrize(
    ("kind", "fuel", "comparable"),
    [
        (None, 5, True),
        (ErrorKind.GUEST, 0, True),
        (ErrorKind.TRAP, 5, True),
        (ErrorKind.TRAP, None, False),
        (ErrorKind.FUEL, 5, True),
        (ErrorKind.MEMORY, 5, False),
        (ErrorKind.TIMEOUT, 5, False),
    ],
)
def test_ends_that_depend_on_machine_or_engine_are_not_comparable(kind, fuel, comparable):
    assert is_comparable(kind, fuel) is comparable


def test_every_byte_of_the_payload_counts():
    envelope = some_envelope()
    for place in range(len(envelope.payload)):
        changed = bytearray(envelope.payload)
        changed[place] ^= 1
        with pytest.raises(ReceiptError):
            verify_receipt(msgspec.structs.replace(envelope, payload=bytes(changed)), KEYS)


@pytest.mark.parametrize("n", [1, 2])
def test_every_byte_of_a_signature_counts_and_the_signature_is_named(n):
    envelope = some_envelope()
    for place in range(64):
        signatures = list(envelope.signatures)
        sig = bytearray(signatures[n - 1].sig)
        sig[place] ^= 1
        signatures[n - 1] = msgspec.structs.replace(signatures[n - 1], sig=bytes(sig))
        with pytest.raises(ReceiptError, match=f"^signature {n} is wrong: the key [0-9a-f]{{32}} of "):
            verify_receipt(msgspec.structs.replace(envelope, signatures=signatures), KEYS)


@pytest.mark.slow
def test_every_character_of_the_text_counts():
    data = write_envelope(some_envelope())
    good = read_envelope(data)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ReceiptError):
            assert verify_receipt(read_envelope(bytes(changed)), KEYS) == good


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_text_that_was_cut_is_refused(cut):
    with pytest.raises(ReceiptError, match="the receipt cannot be read"):
        read_envelope(write_envelope(some_envelope())[:cut])


def edit(change):
    fields = json.loads(write_payload(some_payload()))
    change(fields)
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("job"), "missing required field `job`"),
        (lambda p: p.update(version=2), r"Invalid enum value 2 - at `\$.version`"),
        (lambda p: p.update(more=1), "unknown field `more`"),
        (lambda p: p["claim"]["subject"].update(module="A" * 64), r"at `\$.claim.subject.module`"),
        (lambda p: p["claim"]["subject"]["limits"].update(fuel=1.5), r"at `\$.claim.subject.limits.fuel`"),
        (lambda p: p["claim"]["subject"]["limits"].update(fuel=2**53 + 1), r"at `\$.claim.subject.limits.fuel`"),
        (
            lambda p: p["claim"]["subject"]["limits"].update(fuel="1000000000000000"),
            "claim.subject.limits.fuel is a string, but a small number",
        ),
        (lambda p: p["claim"]["result"].update(state="Running"), r"at `\$.claim.result.state`"),
        (lambda p: p["claim"]["result"].update(error_kind=None), "is not canonical JSON: byte"),
        (lambda p: p.update(attempt=0), r"at `\$.attempt`"),
        (lambda p: p.update(worker="007"), r"at `\$.worker`"),
    ],
)
def test_a_payload_with_a_wrong_field_is_refused_and_the_field_is_named(change, message):
    with pytest.raises(ReceiptError, match=message):
        read_payload(edit(change))


def test_a_payload_with_spaces_is_refused_with_the_first_byte_that_is_wrong():
    data = write_payload(some_payload())
    with pytest.raises(ReceiptError, match="is not canonical JSON: byte 1 is another"):
        read_payload(data.replace(b"{", b"{ ", 1))
    with pytest.raises(ReceiptError, match=f"is not canonical JSON: byte {len(data)} is another"):
        read_payload(data + b" ")


def test_envelopes_of_other_things_are_refused():
    with pytest.raises(ReceiptError, match="payloadType is 'text/plain', and that of a receipt"):
        read_receipt(msgspec.structs.replace(some_envelope(), payload_type="text/plain"))


def test_too_many_bytes_are_refused_before_they_are_read():
    with pytest.raises(ReceiptError, match="the receipt has 262145 bytes; at most 262144 are read"):
        read_envelope(b"[" * (256 * 1024 + 1))
    with pytest.raises(ReceiptError, match="the payload has 65537 bytes; at most 65536 are read"):
        read_receipt(msgspec.structs.replace(some_envelope(), payload=b"x" * (64 * 1024 + 1)))


def text_with(**fields):
    return json.dumps({**json.loads(write_envelope(some_envelope())), **fields}).encode()


SIG = base64.b64encode(b"s" * 64).decode()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"signatures": []}, "the receipt has 0 signatures; it must have 1 to 16"),
        ({"signatures": [{"keyid": "a", "sig": SIG}] * 17}, "the receipt has 17 signatures"),
        ({"signatures": [{"keyid": "a", "sig": "?"}]}, "signature 1 of the receipt is no base64"),
        ({"signatures": [{"keyid": "a", "sig": "YWI="}]}, "signature 1 of the receipt has 2 bytes instead of 64"),
        ({"payload": "YWI"}, "the payload of the receipt is no base64"),
        ({"payload": "YWJ="}, "its last characters say more than its bytes"),
        ({"payload": 5}, "Expected `str`, got `int`"),
    ],
)
def test_envelopes_with_wrong_fields_are_refused(fields, message):
    with pytest.raises(ReceiptError, match=message):
        read_envelope(text_with(**fields))


def test_fields_of_others_in_an_envelope_are_passed_over():
    assert read_envelope(text_with(code=0, status="ok")) == some_envelope()


def test_a_receipt_that_no_server_signed_is_refused():
    with pytest.raises(ReceiptError, match="the server's signature is missing"):
        verify_receipt(seal(write_payload(some_payload()), WORKER_KEY), KEYS)


def test_a_signature_of_an_unknown_key_is_refused():
    stranger = PrivateKey(b"x" * 32)
    envelope = countersign(seal(write_payload(some_payload()), stranger), SERVER_KEY)
    with pytest.raises(ReceiptError, match=f"signature 1 is of the key {stranger.keyid}, which is none of the 2 "):
        verify_receipt(envelope, KEYS)


def test_a_worker_cannot_sign_for_another_nor_for_the_server():
    other = msgspec.structs.replace(some_payload(), worker="99")
    envelope = countersign(seal(write_payload(other), WORKER_KEY), SERVER_KEY)
    with pytest.raises(ReceiptError, match="signature 1 is of a key of worker 13, and must be of worker 99"):
        verify_receipt(envelope, KEYS)
    twice = countersign(seal(write_payload(some_payload()), WORKER_KEY), WORKER_KEY)
    with pytest.raises(ReceiptError, match="signature 2 is of a key of worker 13, and must be of a server"):
        verify_receipt(twice, KEYS)


def test_further_signatures_must_be_good_too():
    third = countersign(some_envelope(), WORKER_KEY)
    assert len(verify_receipt(third, KEYS).signers) == 3
    stranger = countersign(some_envelope(), PrivateKey(b"x" * 32))
    with pytest.raises(ReceiptError, match="signature 3 is of the key"):
        verify_receipt(stranger, KEYS)
