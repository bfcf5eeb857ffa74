"""When an agent serves functions: before it has a server, until it stops."""

import threading

import pytest
from fake_control_server import unreachable
from patience import LONG_S, until

from piecework.worker_agent.errors import AgentError


class HandHost:
    """Notes what it is asked to do."""

    def __init__(self, on_drain):
        self.on_drain = on_drain
        self.done = []

    def start(self):
        self.done.append("start")

    def withdraw(self):
        self.done.append("withdraw")

    def stop(self):
        self.done.append("stop")


@pytest.fixture
def hosts():
    return []


@pytest.fixture
def around(hosts):
    def make(_shared, _membership, on_drain):
        hosts.append(HandHost(on_drain))
        return hosts[0]

    return {"make_functions": make}


def test_functions_need_no_server(make_agent, server, hosts, around):
    server.away = True
    agent = make_agent(around=around)
    thread = threading.Thread(target=agent.run)
    thread.start()
    until(lambda: len(server.requests) > 2)
    assert hosts[0].done == ["start"]
    agent.ask_to_stop("the test ends")
    thread.join(LONG_S)
    assert hosts[0].done == ["start", "withdraw", "stop"]


@pytest.mark.slow
def test_functions_end_with_the_agent_even_when_that_fails(running, server, hosts, around):
    agent = running(around=around)
    until(lambda: agent.membership.joined and agent.lease_table.polling)
    hosts[0].withdraw = lambda: (_ for _ in ()).throw(unreachable())
    hosts[0].on_drain()
    server.release_polls()
    agent.thread.join(LONG_S)
    assert hosts[0].done == ["start", "stop"]


def test_agent_whose_port_is_in_use_does_not_start(make_agent, server, hosts, around):
    agent = make_agent(around=around)
    hosts[0].start = lambda: (_ for _ in ()).throw(AgentError("cannot listen on 127.0.0.1 port 9999"))
    with pytest.raises(AgentError, match="9999"):
        agent.run()
    assert server.requests == []
