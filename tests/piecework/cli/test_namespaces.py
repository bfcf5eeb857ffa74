"""`piecework kv` against a real server."""

import base64

import pytest


@pytest.fixture
def namespace(run):
    return run("kv", "create").out.strip()


def test_a_namespace_is_made_shown_and_listed(run):
    made = run("kv", "create", "--consistency", "eventual", "--json").document["id"]
    run("kv", "set", made, "k", "é")
    assert run("kv", "list", "--limit", 1).rows[0][:5] == [made, "1", "3", "bytes", "eventual"]
    shown = dict(line.split(maxsplit=1) for line in run("kv", "info", made).out.splitlines())
    assert (shown["id"], shown["entries"], shown["size"], shown["consistency"]) == (
        made,
        "1",
        "3 bytes",
        "eventual",
    )
    document = run("kv", "info", made, "--json").document
    assert (document["entries"], document["size"]) == (1, 3)
    assert run("kv", "list", "--limit", 1, "--json").document == [document]
    assert run("kv", "info", made[-9:]).out.split()[1] == made


def test_a_value_goes_in_and_comes_out_as_it_is(run, namespace, tmp_path):
    assert run("kv", "set", namespace, "a/b", "two\nlines").out == "a/b has 9 bytes\n"
    assert run("kv", "get", namespace, "a/b").out == "two\nlines"
    run("kv", "set", namespace, "k", "-", given=b"from stdin\n")
    assert run("kv", "get", namespace, "k").out == "from stdin\n"
    (tmp_path / "value").write_text("from a file é")
    run("kv", "set", namespace, "k", "--file", tmp_path / "value")
    assert run("kv", "get", namespace, "k", "--json").document["value"] == "from a file é"
    run("kv", "set", namespace, "k", "--file", "-", given=b"")
    assert run("kv", "get", namespace, "k").out == ""
    assert run("kv", "set", namespace, "k", "new", "--get", "--json").document == {"value": ""}


def test_options_of_set_do_as_they_say(run, namespace):
    assert run("kv", "set", namespace, "k", "a", "--expire", "1h", "--get").out == ""
    assert run("kv", "set", namespace, "k", "b", "--append").out == "k has 2 bytes\n"
    assert run("kv", "set", namespace, "k", "c", "--get").out == "ab"
    taken = run("kv", "set", namespace, "k", "d", "--if-absent", exit_code=1)
    assert (taken.out, taken.err) == ("", "piecework: there is a value already; nothing was changed\n")
    run("kv", "set", namespace, "k", "d", "--if-value", "c")
    refused = run("kv", "delete", namespace, "k", "--if-value", "c", exit_code=1)
    assert refused.err == "piecework: k: another value is there; nothing was changed\n"
    assert run("kv", "get", namespace, "k").out == "d"


def test_numbers_are_added(run, namespace):
    assert run("kv", "add", namespace, "n").out == "1\n"
    assert run("kv", "add", namespace, "n", "5", "--json").document == {"value": 6}
    assert run("kv", "add", namespace, "n", "--", "-7").out == "-1\n"
    run("kv", "set", namespace, "n", "x")
    assert "no whole number" in run("kv", "add", namespace, "n", exit_code=1).err


def test_keys_are_listed_and_deleted(run, namespace):
    for key in ("b", "a/2", "a/1"):
        run("kv", "set", namespace, key, "v")
    assert run("kv", "keys", namespace).out == "a/1\na/2\nb\n"
    assert run("kv", "keys", namespace, "--prefix", "a/", "--json").document == ["a/1", "a/2"]
    assert run("kv", "keys", namespace, "--limit", 1).out == "a/1\n"
    gone = run("kv", "delete", namespace, "a/1", "none", "b", exit_code=1)
    assert gone.out == "a/1 is deleted\nb is deleted\n"
    assert "has no value under 'none'" in gone.err
    assert run("kv", "delete", namespace, "a/2", "--json").document == {"deleted": ["a/2"]}


def test_a_namespace_is_flushed_and_removed(run, namespace):
    run("kv", "set", namespace, "k", "v")
    assert run("kv", "flush", namespace).out == f"namespace {namespace} is flushed\n"
    assert run("kv", "keys", namespace).out == ""
    assert run("kv", "remove", namespace, "--json").document == {"removed": [namespace]}
    gone = run("kv", "keys", namespace, exit_code=1)
    assert gone.err == f"piecework: there is no namespace {namespace}\n"


def test_what_is_wrong_with_a_command_is_one_line(run, namespace, tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff")
    wrong = [
        (("get", namespace, ".."), 2, "is no key"),
        (("get", namespace, ""), 2, "is no key"),
        (("get", "seven", "k"), 2, "an id is a decimal number"),
        (("get", namespace, "k"), 1, "has no value under 'k'"),
        (("set", namespace, "k"), 2, "give the value: VALUE or --file"),
        (("set", namespace, "k", "v", "--file", "-"), 2, "only one of them"),
        (("set", namespace, "k", "v", "--if-absent", "--if-value", "x"), 2, "not both"),
        (("set", namespace, "k", "v", "--expire", "soon"), 2, "soon"),
        (("set", namespace, "k", "--file", tmp_path / "bytes"), 1, "not UTF-8, and values are texts"),
    ]
    for words, exit_code, about in wrong:
        ran = run("kv", *words, exit_code=exit_code)
        assert (ran.out, ran.err.count("\n")) == ("", 1)
        assert about in ran.err
    nul = run("kv", "set", namespace, "k", "-", given=b"a\0b", exit_code=1)
    assert "NUL" in nul.err
    assert run("kv", "keys", namespace).out == ""


def test_bytes_can_be_kept_as_text(run, namespace):
    run("kv", "set", namespace, "k", "-", given=base64.b64encode(bytes(range(256))))
    assert base64.b64decode(run("kv", "get", namespace, "k").out) == bytes(range(256))


def test_lambda_is_granted_namespaces_by_the_ends_of_their_ids(run, client, namespace, worker):
    blob = client.upload(b"code").id
    words = ("--grant-kv", namespace[-8:], "--grant-kv", f"c={namespace[-8:]}:rw")
    created = run("lambda", "create", blob, "--runtime", "test", *words).out.strip()
    assert client.lambda_(created).grants.kv == [namespace, f"c={namespace}:rw"]
    assert f"c={namespace}:rw" in run("lambda", "show", created).out
    refused = run("lambda", "create", blob, "--runtime", "test", "--grant-kv", "c", exit_code=2)
    assert "'c' must be a namespace as `ID`" in " ".join(refused.err.split())
