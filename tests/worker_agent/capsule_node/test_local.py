"""Deployments on a node: real processes, a real registry for code, a real proxy of Capsule's kind."""

import os
import signal
import threading
from pathlib import Path

import pytest
from deployment_life import OTHER_PATH, PATH
from patience import LONG_S, until

from piecework.worker_agent.capsule_node.api import make_app
from piecework.worker_agent.capsule_node.errors import NoRoomError
from piecework.worker_agent.capsule_node.node_state import NodeStateFile
from piecework.worker_agent.capsule_node.reverse_proxy import ReverseProxyError
from piecework.worker_agent.downloads import DownloadError, NotCodeError

pytestmark = pytest.mark.integration


@pytest.fixture
def deploy(life, web):
    def deploy_one(revision="blue", path=PATH, function="hola", **env):
        return life.local.deploy(function, revision, web.url + path, env)

    return deploy_one


def alive(life):
    return [post for post in life.supervisor.replicas() if post.replica.url is not None]


def test_deployed_again_it_is_one_more_process(life, deploy, proxy):
    first, second = deploy(), deploy()
    assert first.pid != second.pid
    assert proxy.routes == {"hola": {"blue": [first.local_url, second.local_url]}}
    assert [view.error for view in life.local.replicas()] == ["", ""]


def test_two_deployments_at_once_are_two_replicas(life, deploy, proxy):
    threads = [threading.Thread(target=deploy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(life.local.replicas()) == 4
    assert len(set(proxy.routes["hola"]["blue"])) == 4
    assert len(NodeStateFile(life.state).read().replicas) == 4


@pytest.mark.parametrize("role", ["exit", "deaf"])
def test_what_does_not_start_leaves_nothing_behind(start, web, proxy, role):
    life = start(start_s=0.7)
    with pytest.raises(Exception, match=r"revision blue of hola does not start: it (ended|did not answer)"):
        life.local.deploy("hola", "blue", web.url + PATH, {"STAND_IN": role})
    assert life.supervisor.replicas() == []
    assert (life.local.replicas(), life.local.count, proxy.routes) == ([], 0, {})
    assert NodeStateFile(life.state).read().replicas == {}


def test_what_cannot_be_registered_leaves_nothing_behind(life, deploy, proxy):
    proxy.broken = True
    with pytest.raises(ReverseProxyError, match="out of order"):
        deploy()
    assert (life.supervisor.replicas(), life.local.replicas()) == ([], [])
    proxy.broken = False
    until(lambda: NodeStateFile(life.state).read().routes == set())
    assert proxy.routes == {}


def test_what_is_no_module_is_refused_before_anything_starts(life, deploy, web):
    web.pages["/page"] = b"<!doctype html>"
    with pytest.raises(NotCodeError, match="an HTML page"):
        deploy(path="/page")
    with pytest.raises(DownloadError, match="404"):
        deploy(path="/missing")
    assert life.supervisor.replicas() == []
    assert not [path for path in life.state.iterdir() if path.name.startswith("module-")]


def test_revision_never_changes_its_code(life, deploy):
    deploy()
    with pytest.raises(Exception, match="revision blue of hola runs other code"):
        deploy(path=OTHER_PATH)
    deploy("green", path=OTHER_PATH)


def test_node_runs_no_more_than_it_may(start, web):
    life = start(replicas_max=1)
    life.local.deploy("hola", "blue", web.url + PATH, {})
    with pytest.raises(Exception, match="at most 1 replicas"):
        life.local.deploy("hola", "blue", web.url + PATH, {})


def test_deployments_at_once_are_no_more_than_the_node_may_run(start, web):
    life = start(replicas_max=2)
    results = []

    def try_it():
        try:
            results.append(life.local.deploy("hola", "blue", web.url + PATH, {}).error)
        except NoRoomError:
            results.append("no room")

    threads = [threading.Thread(target=try_it) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["", "", "no room", "no room", "no room"]


def test_route_of_a_killed_replica_goes_and_comes_back(life, deploy, proxy):
    view = deploy()
    seen = []
    change = proxy.change
    proxy.change = lambda *args: (seen.append(args[0]), change(*args))[1]
    os.kill(view.pid, signal.SIGKILL)
    until(lambda: seen[:2] == ["DELETE", "POST"])
    until(lambda: proxy.routes == {"hola": {"blue": [life.local.replicas()[0].local_url]}})
    assert life.local.replicas()[0].pid != view.pid


def test_default_follows_the_replicas_of_its_revision(life, deploy, proxy):
    blue, green = deploy(), deploy("green")
    life.local.set_default("hola", "blue")
    assert proxy.routes["hola"]["default"] == [blue.local_url]
    more = deploy()
    assert proxy.routes["hola"]["default"] == [blue.local_url, more.local_url]
    life.local.set_default("hola", "green")
    assert proxy.routes["hola"]["default"] == [green.local_url]
    life.local.remove_default("hola")
    assert proxy.routes["hola"].keys() == {"blue", "green"}


def test_default_is_an_alias_where_the_proxy_knows_such(life, deploy, proxy):
    proxy.aliases = {}
    deploy()
    life.local.set_default("hola", "blue")
    assert proxy.aliases == {"hola": "blue"}
    assert proxy.routes["hola"].keys() == {"blue"}
    life.local.remove_default("hola")
    assert (proxy.aliases, life.local.find_default("hola")) == ({}, None)
    life.local.set_default("hola", "blue")
    life.local.remove("hola")
    proxy.aliases = None
    deploy()
    life.local.set_default("hola", "blue")
    assert proxy.routes["hola"].keys() == {"blue", "default"}


def test_undeploying_ends_processes_and_routes(life, deploy, proxy):
    pids = [deploy().pid, deploy().pid]
    green = deploy("green")
    life.local.set_default("hola", "blue")
    life.local.remove("hola", "blue")
    assert proxy.routes == {"hola": {"green": [green.local_url]}}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    life.local.remove("hola")
    assert (proxy.routes, life.local.replicas(), life.supervisor.replicas()) == ({}, [], [])


def test_undeploying_works_while_the_proxy_is_away(life, deploy, proxy):
    deploy()
    proxy.broken = True
    life.local.remove("hola", "blue")
    assert life.supervisor.replicas() == []
    proxy.broken = False
    life.local.announcer.note_change()
    until(lambda: proxy.routes == {})


def test_downscaling_ends_the_newest(life, deploy, proxy):
    first, second = deploy(), deploy()
    assert life.local.downscale("hola", "blue") == second.pid
    assert proxy.routes == {"hola": {"blue": [first.local_url]}}
    life.local.downscale("hola", "blue")
    assert proxy.routes == {}


def test_names_that_are_not_there_are_told(life, deploy):
    with pytest.raises(Exception, match="there is no function hola"):
        life.local.remove("hola")
    deploy()
    with pytest.raises(Exception, match="hola has no revision green on this node; it has blue"):
        life.local.set_default("hola", "green")


def test_next_life_starts_all_again_with_its_routes(start, web, proxy):
    first = start()
    before = first.local.deploy("hola", "blue", web.url + PATH, {"TOKEN": "x"})
    first.local.set_default("hola", "blue")
    first.die()
    assert proxy.routes["hola"]["blue"] == [before.local_url], "nobody removed it"
    web.pages.clear()
    second = start()
    second.local.restore()
    until(lambda: len(alive(second)) == 1)
    [view] = second.local.replicas()
    assert view.saved.env == {"TOKEN": "x"}
    assert view.local_url == before.local_url
    until(lambda: proxy.routes == {"hola": {"blue": [view.local_url], "default": [view.local_url]}})
    assert second.local.find_default("hola") == "blue"


def test_next_life_removes_routes_that_do_not_hold_any_more(start, web, proxy):
    first = start()
    before = first.local.deploy("hola", "blue", web.url + PATH, {})
    first.die()
    kept = NodeStateFile(first.state).read()
    kept.replicas.clear()
    NodeStateFile(first.state).write(kept)
    start().local.restore()
    until(lambda: proxy.routes == {})
    assert before.local_url


def test_agent_that_stops_withdraws_its_routes_and_keeps_what_is_deployed(life, deploy, proxy):
    deploy()
    life.local.withdraw()
    assert proxy.routes == {"hola": {"blue": []}}
    assert len(NodeStateFile(life.state).read().replicas) == 1
    with pytest.raises(Exception, match="this agent stops"):
        deploy()


def test_deployment_under_way_when_the_agent_stops_is_refused_at_once(life, deploy):
    failures = []

    def try_it():
        with pytest.raises(Exception, match=r"does not start|this agent stops") as caught:
            deploy(STAND_IN="deaf")
        failures.append(caught.value)

    thread = threading.Thread(target=try_it)
    thread.start()
    until(lambda: life.supervisor.replicas() != [])
    life.local.withdraw()
    life.supervisor.stop(10)
    thread.join(LONG_S)
    assert len(failures) == 1
    assert NodeStateFile(life.state).read().replicas == {}


def test_undeploying_works_on_a_full_disk(life, deploy, proxy):
    deploy()
    life.local._file._folder = life.state / "missing"
    with pytest.raises(Exception, match="cannot be written"):
        life.local.remove("hola")
    assert (life.supervisor.replicas(), proxy.routes) == ([], {})


def test_state_is_its_owners_alone(life, deploy):
    deploy(TOKEN="secret")
    assert (life.state / "functions.json").stat().st_mode & 0o777 == 0o600


def test_broken_state_is_put_aside(tmp_path):
    (tmp_path / "functions.json").write_text("{")
    assert NodeStateFile(tmp_path).read().replicas == {}
    assert (tmp_path / "functions.broken").read_text() == "{"


def test_without_a_proxy_there_are_local_urls_only(start, web):
    life = start(proxy_url=None)
    client = make_app(life.local, token=None).test_client()
    body = {"function": "hola", "revision": "blue", "downloadUrl": web.url + PATH}
    answer = client.post("/functions/deploy", json=body, base_url="http://localhost:9999").get_json()
    assert answer["localUrl"].startswith("http://localhost:")
    assert answer["remoteUrl"] == ""
    life.local.set_default("hola", "blue")
    assert life.local.find_default("hola") == "blue"
