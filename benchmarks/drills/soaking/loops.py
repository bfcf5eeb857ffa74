"""Threads that do the same again and again until they are told to stop."""

import threading
from abc import abstractmethod


class SoakLoop(threading.Thread):
    """A thread that takes turns, with pauses between them. It keeps no program from ending."""

    def __init__(self, name: str, pause_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self.pause_s = pause_s
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(self.choose_pause_s()):
            self.take_turn()
        self.end()

    def choose_pause_s(self) -> float:
        """Return how long to wait before the next turn."""
        return self.pause_s

    @abstractmethod
    def take_turn(self) -> None:
        """Do what is to be done again and again."""

    def end(self) -> None:
        """Do what is to be done last."""
