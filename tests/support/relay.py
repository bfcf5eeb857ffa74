"""A relay on the way to a server, which can forget its connections as a firewall does: nothing comes through."""

import socket
import threading
from contextlib import suppress


class Relay:
    """Passes bytes on to a port of this machine. ``forget`` leaves open what is open, and passes nothing more."""

    def __init__(self, port):
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.taken = 0
        """How many connections were made."""
        self._ways = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def forget(self):
        """Pass nothing more on the connections that there are; new ones work."""
        for way in self._ways:
            way.open = False

    def close(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for way in self._ways:
            way.close()

    def _run(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.taken += 1
            way = Way(near, socket.create_connection(self._target, 10))
            self._ways.append(way)  # before anything passes, so that it is known to whoever had an answer
            way.start()


class Way:
    """One connection through a relay."""

    def __init__(self, near, far):
        self.open = True
        self._ends = (near, far)
        far.settimeout(None)
        self._threads = [threading.Thread(target=self._copy, args=ends) for ends in ((near, far), (far, near))]

    def start(self):
        for thread in self._threads:
            thread.start()

    def close(self):
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _copy(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                if self.open:
                    target.sendall(data)
        if self.open:  # else the other side does not hear of the end either
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)
