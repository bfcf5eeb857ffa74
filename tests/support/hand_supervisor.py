"""A supervisor without threads: replicas move when the test says so."""

from piecework.worker_agent.replicas.supervisor import Supervisor


class HandStarter:
    """Starts processes of a ``World``."""

    def __init__(self, world):
        self.world = world
        self.port = 10_001
        self.closed = False

    def __call__(self):
        return self.world.spawn()

    def close(self):
        assert not self.closed, "once"
        self.closed = True


class HandSupervisor(Supervisor):
    def __init__(self, world, clock):
        super().__init__(lambda *_: HandStarter(world), clock)
        self.added = []

    def _begin_watch(self, entry):
        self.added.append(entry)

    def step(self):
        """Let each replica do one step."""
        for entry in self.replicas():
            self.look(entry)

    def settle(self, clock, steps=30):
        for _ in range(steps):
            self.step()
            clock.now += 0.5
