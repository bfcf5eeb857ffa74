"""One life of an agent, as far as deployments go: real processes of a stand-in under real supervision."""

import os
import sys
import threading
import time
from functools import partial

import stand_in_replica
from guest_texts import build

from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.capsule_node.local import DeploymentLimits, LocalDeployments
from piecework.worker_agent.capsule_node.node_state import NodeStateFile
from piecework.worker_agent.capsule_node.reverse_proxy import ReverseProxy
from piecework.worker_agent.downloads import DownloadOptions
from piecework.worker_agent.replicas.code import CodeStore
from piecework.worker_agent.replicas.launcher import Launcher, Node
from piecework.worker_agent.replicas.ports import Ports
from piecework.worker_agent.replicas.replica import Times
from piecework.worker_agent.replicas.supervisor import Supervisor

PROGRAM = (sys.executable, stand_in_replica.__file__)
MODULE = build('(module (memory (export "memory") 1) (func (export "_start")))')
OTHER = build('(module (memory (export "memory") 2) (func (export "_start")))')
PATH, OTHER_PATH = "/k33g/hola/0.0.0/hola.wasm", "/k33g/hola/0.0.1/hola.wasm"


class Life:
    """One life of an agent, as far as deployments go; ``die`` ends it as a kill -9 does."""

    def __init__(self, state, proxy_url, *, replicas_max=8, start_s=20.0):
        self.state = state
        node = Node(ports=Ports(22_000 + os.getpid() % 1000 * 10), program=PROGRAM)
        times = Times(look_s=0.05, drain_s=0.5, start_s=start_s)
        self.supervisor = Supervisor(partial(Launcher, node), time.monotonic, times)
        codes = CodeStore(BlobCache(state / "blobs", capacity_bytes=2**20), state, DownloadOptions(), None)
        bounds = DeploymentLimits(host="127.0.0.1", replicas_max=replicas_max, start_s=start_s, drain_s=0.5)
        proxy = ReverseProxy(proxy_url) if proxy_url else None
        self.local = LocalDeployments(self.supervisor, codes, NodeStateFile(state), bounds, proxy)
        self.proxy_url = proxy_url
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._announce)
        self._thread.start()

    def _announce(self):
        while self.local.announcer is not None and not self.stop.is_set():
            self.local.announcer.step(self.stop)

    def end(self):
        self.stop.set()
        if self.local.announcer is not None:
            self.local.announcer.note_change()
        self._thread.join()
        assert self.supervisor.stop(10)

    def die(self):
        """End without a word: nothing is written or removed any more, and the processes end."""
        self.stop.set()
        self.local.announcer.note_change()
        self._thread.join()
        self.supervisor.listeners.clear()
        assert self.supervisor.stop(10)
        self.local.announcer = None
