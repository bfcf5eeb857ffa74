"""What counts when file, profile, environment and options differ; and that a token reaches its own server only."""

import pytest

from piecework.client.environment import find_server
from piecework.configuration.keys import CLIENT
from piecework.configuration.layers import configure
from piecework.configuration.places import ConfigError
from piecework.server.configuration import SECTION as SERVER
from piecework.worker_agent.config.configuration import SECTION as AGENT

LAB = '[profiles.lab]\nurl = "http://lab"\ntoken = "of-lab"\n'
FAR = '[profiles.far]\nurl = "http://far"\ntoken = "of-far"\n'
SECTION = '[client]\nurl = "http://mine"\ntoken = "of-mine"\n'


def find(disk, text, *, url=None, token=None, profile=None, **environ):
    disk.write(disk.user, text)
    return find_server(url, token, None, profile, environ=disk.environ | environ)[:2]


def test_the_environment_counts_before_files(disk):
    disk.write(disk.user, "[server]\nport = 1\nlease_s = 2\nmutable_tags = true\n")
    configured = configure(SERVER, disk.environ | {"PIECEWORK_PORT": "3", "PIECEWORK_LEASE_S": ""})
    assert (configured.environ["PIECEWORK_PORT"], configured.environ["PIECEWORK_LEASE_S"]) == ("3", "2")
    assert configured.find_source("PIECEWORK_PORT") == "environment PIECEWORK_PORT"
    assert configured.find_source("PIECEWORK_LEASE_S") == f"file {disk.user}"
    assert configured.find_source("PIECEWORK_DATA") == "default"


def test_options_count_before_all(disk):
    assert find(disk, SECTION, url="http://mine", token="other") == ("http://mine", "other")
    assert find(disk, SECTION, token="other", PIECEWORK_TOKEN="env") == ("http://mine", "other")
    assert find(disk, SECTION, token="") == ("http://mine", "")


PROFILE = {"PIECEWORK_PROFILE": "lab"}
CASES = {
    "the section": ({}, {}, "mine"),
    "a profile of the environment": ({}, PROFILE, "lab"),
    "a profile of an option": ({"profile": "far"}, PROFILE, "far"),
    "an option counts before a URL of the environment": ({"profile": "lab"}, {"PIECEWORK_URL": "http://x"}, "lab"),
    "and before its token": ({"profile": "lab"}, {"PIECEWORK_TOKEN": "x"}, "lab"),
}


@pytest.mark.parametrize(("options", "environ", "server"), CASES.values(), ids=CASES)
def test_a_profile_takes_the_place_of_the_section(disk, options, environ, server):
    assert find(disk, SECTION + LAB + FAR, **options, **environ) == (f"http://{server}", f"of-{server}")


def test_a_file_chooses_a_profile(disk):
    assert find(disk, '[client]\nprofile = "lab"\n' + LAB) == ("http://lab", "of-lab")
    assert find(disk, '[client]\nprofile = "lab"\n' + LAB + FAR, profile="far") == ("http://far", "of-far")


def test_a_token_of_the_environment_counts_before_one_of_a_file(disk):
    assert find(disk, SECTION, PIECEWORK_TOKEN="env") == ("http://mine", "env")
    assert find(disk, LAB, PIECEWORK_TOKEN="env", **PROFILE) == ("http://lab", "env")


ELSEWHERE = {
    "an option": ({"url": "http://evil"}, {}, ""),
    "the environment": ({}, {"PIECEWORK_URL": "http://evil"}, ""),
    "a token of the environment goes along": ({}, {"PIECEWORK_URL": "http://evil", "PIECEWORK_TOKEN": "e"}, "e"),
    "and with an option, as ever": ({"url": "http://evil"}, {"PIECEWORK_TOKEN": "e"}, "e"),
}


@pytest.mark.parametrize(("options", "environ", "token"), ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.parametrize("text", [SECTION, '[client]\nprofile = "lab"\n' + LAB])
def test_a_token_of_a_file_goes_to_no_other_url(disk, text, options, environ, token):
    assert find(disk, text, **options, **environ) == ("http://evil", token)


def test_a_token_of_the_environment_goes_to_no_profile_of_another_url(disk):
    bare = '[profiles.lab]\nurl = "http://lab"\n'
    other = {"PIECEWORK_URL": "http://x", "PIECEWORK_TOKEN": "of-x"}
    assert find(disk, bare, profile="lab", **other) == ("http://lab", "")
    assert find(disk, bare, profile="lab", **(other | {"PIECEWORK_URL": "http://lab/"})) == ("http://lab", "of-x")
    assert find(disk, bare, profile="lab", PIECEWORK_TOKEN="alone") == ("http://lab", "alone")


def test_a_url_of_a_user_covers_the_token_of_the_system(disk):
    disk.write(disk.system, SECTION + LAB)
    assert find(disk, '[client]\nurl = "http://other"\n') == ("http://other", "")
    assert find(disk, '[profiles.lab]\nurl = "http://other"\n', profile="lab") == ("http://other", "")
    assert find(disk, '[profiles.lab]\ntoken = "own"\n', profile="lab") == ("http://lab", "own")


def test_a_token_without_a_url_is_for_any(disk):
    text = '[client]\ntoken = "any"\n'
    assert find(disk, text) == ("http://127.0.0.1:8000", "any")
    assert find(disk, text, url="http://a") == ("http://a", "any")


def test_a_token_is_for_all_servers_beside_it(disk):
    text = '[client]\nurl = ["http://a", "http://b/"]\ntoken = "of-both"\n'
    assert find(disk, text) == ("http://a,http://b/", "of-both")
    assert find(disk, text, url="http://b") == ("http://b", "of-both")
    assert find(disk, text, url=["http://b", "http://a"]) == (["http://b", "http://a"], "of-both")
    assert find(disk, text, url=["http://b", "http://evil"]) == (["http://b", "http://evil"], "")
    assert find(disk, text, PIECEWORK_URL="http://a, http://evil") == ("http://a, http://evil", "")


def test_certificates_go_with_their_url(disk):
    (disk.user.parent / "lab.pem").touch()
    disk.write(disk.user, '[client]\nurl = "https://lab"\nca = "lab.pem"\n')
    assert find_server(environ=disk.environ).ca == disk.user.parent / "lab.pem"
    assert find_server("https://other", environ=disk.environ).ca is None
    assert find_server(environ=disk.environ | {"PIECEWORK_CA": "/x"}).ca is None  # as the environment has it


def test_an_agent_finds_its_server_as_clients_do(disk):
    disk.write(disk.user, '[agent]\nslots = 2\nprofile = "lab"\n' + LAB)
    environ = configure(AGENT, disk.environ).environ
    assert [environ[f"PIECEWORK_{name}"] for name in ("URL", "TOKEN", "WORKER_SLOTS")] == [
        "http://lab",
        "of-lab",
        "2",
    ]
    assert "PIECEWORK_TOKEN" not in configure(AGENT, disk.environ, url="http://other").environ


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAB + FAR, "--profile: there is no profile 'lap': there are far, lab"),
        (SECTION, "--profile: there is no profile 'lap': {user} has none"),
        (None, "--profile: there is no profile 'lap': there is no file {system} or {user}"),
        ('[profiles.lap]\ntoken = "x"\n', "--profile: [profiles.lap] has no url"),
    ],
)
def test_a_profile_that_is_none_is_refused(disk, text, said):
    if text is not None:
        disk.write(disk.user, text)
    with pytest.raises(ConfigError) as caught:
        configure(CLIENT, disk.environ, profile="lap")
    assert caught.value.args == (said.format(user=disk.user, system=disk.system),)


def test_who_names_a_profile_that_is_none_is_told(disk):
    disk.write(disk.user, '[client]\nprofile = "lap"\n')
    with pytest.raises(ConfigError, match=f"^{disk.user}: there is no profile 'lap'"):
        configure(CLIENT, disk.environ)
    with pytest.raises(ConfigError, match=r"^PIECEWORK_PROFILE: there is no profile 'x'"):
        configure(CLIENT, disk.environ | {"PIECEWORK_PROFILE": "x"})


def test_secrets_of_profiles_that_are_not_used_are_not_opened(disk):
    text = '[profiles.lab]\nurl = "http://lab"\ntoken_file = "nowhere"\n'
    assert find(disk, SECTION + text) == ("http://mine", "of-mine")
    with pytest.raises(ConfigError, match=r"\[profiles\.lab\] token_file: .*nowhere cannot be read"):
        find(disk, text, profile="lab")
