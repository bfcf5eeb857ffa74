"""Keys and values under random histories, beside a dictionary that says what must be there."""

import tempfile
from pathlib import Path

from house import House
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tries import tries

from piecework.protocol.messages import ValueSet
from piecework.server.errors import NotANumber, ValueDiffers, ValueNotFound

KEYS = st.sampled_from(["a", "a/b", "é"])
VALUES = st.sampled_from(["", "7", "-3", "x"])
TIMES = st.sampled_from([None, 0.0, 1.0, 5.0])


class Entries(RuleBasedStateMachine):
    """Does to a namespace whatever its users may do, and reads all of it after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.house = House(Path(self.folder.name))
        self.id = self.house.services.namespaces.create(None).id
        self.wanted: dict[str, tuple[str, float | None]] = {}

    def teardown(self) -> None:
        self.house.close()
        self.folder.cleanup()

    def there(self, key: str) -> str | None:
        value, until = self.wanted.get(key, (None, None))
        return value if until is None or until > self.house.clock() else None

    def until(self, key: str, expire_s: float | None, *, keeps: bool) -> float | None:
        if expire_s is None:
            return self.wanted[key][1] if keeps and self.there(key) is not None else None
        return self.house.clock() + expire_s * 1000 if expire_s else None

    @rule(key=KEYS, value=VALUES, expire_s=TIMES, append=st.booleans(), get=st.booleans())
    def set(self, key: str, value: str, expire_s: float | None, append: bool, get: bool) -> None:
        sent = ValueSet(value=value, append=append, get=get)
        if expire_s is not None:
            sent.expire = expire_s
        before = self.there(key) or ""
        after = before + value if append else value
        assert self.house.services.entries.set(self.id, key, sent)[0] == (before if get else after)
        self.wanted[key] = (after, self.until(key, expire_s, keeps=append))

    @rule(key=KEYS, amount=st.integers(-9, 9), expire_s=TIMES)
    def add(self, key: str, amount: int, expire_s: float | None) -> None:
        sent = ValueSet(incr=amount)
        if expire_s is not None:
            sent.expire = expire_s
        before = self.there(key)
        try:
            total = int(before) if before is not None else 0
        except ValueError:
            total = None
        try:
            found = self.house.services.entries.set(self.id, key, sent)[0]
        except NotANumber:
            assert total is None
        else:
            assert total is not None
            assert found == str(total + amount)
            self.wanted[key] = (found, self.until(key, expire_s, keeps=True))

    @rule(key=KEYS, value=VALUES, wanted=VALUES | st.none())
    def set_if(self, key: str, value: str, wanted: str | None) -> None:
        sent = ValueSet(value=value, if_absent=True) if wanted is None else ValueSet(value=value, if_value=wanted)
        holds = self.there(key) == wanted
        try:
            self.house.services.entries.set(self.id, key, sent)
        except ValueDiffers:
            assert not holds
        else:
            assert holds
            self.wanted[key] = (value, None)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        try:
            self.house.services.entries.delete(self.id, key, None)
        except ValueNotFound:
            assert self.there(key) is None
        else:
            assert self.there(key) is not None
            del self.wanted[key]

    @rule()
    def flush(self) -> None:
        self.house.services.namespaces.flush(self.id)
        self.wanted.clear()

    @rule(seconds=st.sampled_from([0.5, 1, 4]))
    def wait(self, seconds: float) -> None:
        self.house.clock.forward(seconds)

    @rule()
    def sweep(self) -> None:
        self.house.services.namespaces.sweep()

    @rule()
    def restart(self) -> None:
        self.house.restart()

    @invariant()
    def what_is_there_is_what_must_be(self) -> None:
        there = {key: value for key in self.wanted if (value := self.there(key)) is not None}
        found = self.house.services.namespaces.list_keys(self.id, prefix="", after="", limit=99)
        assert found == sorted(there, key=str.encode)
        for key, value in there.items():
            assert self.house.services.entries.get(self.id, key).value.decode() == value
        _, use = self.house.services.namespaces.measure(self.id)
        size = sum(len(key.encode()) + len(value.encode()) for key, value in there.items())
        assert use == (len(there), size)


TestEntries = Entries.TestCase
TestEntries.settings = settings(
    max_examples=tries(40), stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
