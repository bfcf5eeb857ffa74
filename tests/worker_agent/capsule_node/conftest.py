"""Whole lives of an agent with real processes, a host of modules and a reverse proxy."""

import pytest
from capsule_proxy import CapsuleProxy
from deployment_life import MODULE, OTHER, OTHER_PATH, PATH, Life
from web_host import WebHost


@pytest.fixture
def web():
    host = WebHost()
    host.pages[PATH] = MODULE
    host.pages[OTHER_PATH] = OTHER
    yield host
    host.close()


@pytest.fixture
def proxy():
    made = CapsuleProxy()
    yield made
    made.close()


@pytest.fixture
def start(tmp_path, proxy):
    lives = []

    def start_life(**options):
        life = Life(tmp_path, options.pop("proxy_url", proxy.url), **options)
        lives.append(life)
        return life

    yield start_life
    for life in lives:
        life.end()


@pytest.fixture
def life(start):
    return start()
