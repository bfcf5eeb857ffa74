"""The threads that send what webhooks are to be told."""

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

import structlog

from piecework.backoff import pause_after
from piecework.server.services.core import Core
from piecework.server.services.queue.webhooks.deliveries import AT_ONCE, Deliveries, Taken
from piecework.server.services.queue.webhooks.posting import Posted, WebhookMessage

log = structlog.get_logger("server")

TICK_S = 1.0
"""The longest sleep: what another server wrote down is found within that, and so are attempts that are due."""
THREADS_MAX = 64
"""Deliveries that one server sends at once."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""A webhook that failed is left alone, longer with each failure in a row. Then one delivery tries it."""
STOP_S = 5.0
"""What is being sent when the server stops has so long. What takes longer is sent again."""

Post = Callable[[str, list[str], WebhookMessage], Posted]
"""Sends a message to a URL, signed with some secrets."""
Spawn = Callable[[Callable[[], None]], object]
"""Has something done, in a thread of its own."""


def _spawn(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="webhook", daemon=True).start()


class Sender:
    """Takes deliveries when they are due, and sends each in a thread.

    A URL that does not answer holds up two threads: its own deliveries wait, and those of others do not.
    """

    def __init__(self, core: Core, deliveries: Deliveries, post: Post, spawn: Spawn = _spawn) -> None:
        self._clock, self._now_s = core.clock, core.sleeper.now_s
        self._deliveries = deliveries
        self._post = post
        self._spawn = spawn
        self._lock = threading.Lock()
        self._busy: Counter[int] = Counter()
        """Deliveries that are being sent, by webhook."""
        self._idle = threading.Condition(self._lock)
        self._failures: dict[int, tuple[int, float]] = {}
        """Of webhooks that failed: how often in a row, and until when they are left alone."""
        self._attempts = Counter[str]()
        self._after = 0
        """The webhook that was served last: all have their turns when threads are few."""
        self._poked = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def poke(self) -> None:
        """Tell it that there may be something to be sent."""
        self._poked.set()

    def try_anew(self, webhook_id: int) -> None:
        """Do not leave a webhook alone any more that failed: somebody says that it is well."""
        with self._lock:
            self._failures.pop(webhook_id, None)
        self._poked.set()

    def count_attempts(self) -> dict[str, int]:
        """Return how many attempts webhooks ``accepted`` and ``refused`` since the start."""
        with self._lock:
            return {outcome: self._attempts[outcome] for outcome in ("accepted", "refused")}

    def stop(self) -> None:
        """Take nothing any more, and wait a little for what is being sent. Safe to repeat."""
        self._stopping.set()
        self._poked.set()
        if self._thread.is_alive():
            self._thread.join(timeout=STOP_S)
        with self._idle:
            self._idle.wait_for(lambda: not self._busy.total(), STOP_S)

    def turn(self) -> int:
        """Take what is due, and have it sent. Returns how many deliveries were taken."""
        count = 0
        due = sorted(self._deliveries.list_due(), key=lambda id_: (id_ <= self._after, id_))
        for webhook_id in due:
            room = self._find_room(webhook_id)
            if room <= 0:
                continue
            self._after = webhook_id
            for taken in self._deliveries.take(webhook_id, room):
                count += 1
                with self._lock:
                    self._busy[webhook_id] += 1
                self._spawn(partial(self._send_on, taken))
        return count

    def _find_room(self, webhook_id: int) -> int:
        """Return how many further deliveries of a webhook may be sent now."""
        with self._lock:
            busy, total = self._busy[webhook_id], self._busy.total()
            failures, until = self._failures.get(webhook_id, (0, 0.0))
        if self._stopping.is_set() or (failures and self._now_s() < until):
            return 0
        return min((1 if failures else AT_ONCE) - busy, THREADS_MAX - total)

    def _note(self, webhook_id: int, *, is_well: bool) -> None:
        """Note how a webhook took a delivery."""
        with self._lock:
            if is_well:
                self._failures.pop(webhook_id, None)
                return
            failures = self._failures.get(webhook_id, (0, 0.0))[0] + 1
            pause_s = pause_after(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S)
            self._failures[webhook_id] = failures, self._now_s() + pause_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._poked.clear()
            try:
                self.turn()
            except Exception as error:  # the one net of this thread: it must outlive whatever a turn met
                if not getattr(error, "is_logged", False):
                    log.exception("sending to webhooks failed; it goes on")
            self._poked.wait(TICK_S)

    def _send_on(self, taken: Taken) -> None:
        """Send a delivery, and then others of the same webhook for as long as there are some and it takes them."""
        webhook_id = taken.webhook.id
        try:
            going: Taken | None = taken
            while going is not None:
                going = self._send(going)
        except Exception as error:  # the one net of this thread: the delivery is sent again
            if not getattr(error, "is_logged", False):
                log.exception("a delivery failed; it is sent again", webhook=taken.webhook.name)
        finally:
            with self._idle:
                self._busy[webhook_id] -= 1
                self._idle.notify_all()

    def _send(self, taken: Taken) -> Taken | None:
        """Make one attempt. Returns the next delivery of the webhook, which is taken then."""
        now, began = self._clock(), self._now_s()
        webhook, delivery = taken
        message = WebhookMessage(str(delivery.id), now, delivery.body.encode())
        posted = self._post(webhook.url, webhook.secrets_at(now), message)
        with self._lock:
            self._attempts["accepted" if posted.is_accepted else "refused"] += 1
        took_ms = round(1000 * (self._now_s() - began))
        self._note(webhook.id, is_well=posted.is_accepted)
        if not posted.is_accepted:
            log.warning(
                "a webhook did not take a delivery", webhook=webhook.name, delivery=delivery.id, why=posted.detail
            )
        goes_on = posted.is_accepted and not self._stopping.is_set()
        return self._deliveries.record(taken, posted, took_ms, goes_on=goes_on)
