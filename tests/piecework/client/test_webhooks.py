"""Webhooks through the client, against a real server."""

import pytest
from patience import until
from standardwebhooks import Webhook as Verifier

from piecework.client import Conflict, Invalid, NotFound


@pytest.fixture
def hook(client, script):
    yield client.create_webhook("by-client", f"{script.url}/ends")
    for each in client.webhooks():
        client.resume_webhook(each.id)
        client.delete_webhook(each.id)


def test_a_groups_end_is_told_and_can_be_told_again(client, hook, script):
    script.answer({}, status=500)
    group = client.create_group(on_end=hook.name)
    assert client.seal_group(group, on_end="by-client").group.on_end == "by-client"
    script.wait_for_requests(1)
    until(lambda: len(list(client.deliveries(hook.id, state="waiting"))) == 1)
    [delivery] = client.deliveries("by-client", limit=5)
    assert (delivery.type, delivery.subject, delivery.status) == ("group.finished", group, 500)
    script.answer({}, status=200)
    assert client.retry_delivery(delivery.id).delivery.type == "group.finished"
    script.wait_for_requests(1)
    first, second = script.seen
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(delivery.id)
    assert first.body == second.body == client.delivery(delivery.id).body.encode()
    assert Verifier(hook.secret).verify(second.body, second.headers)["data"]["jobs"] == 0
    until(lambda: client.delivery(delivery.id).delivery.state == "delivered")
    assert client.retry_deliveries(hook.id) == 0


def test_a_webhook_is_moved_paused_and_rotated(client, hook, script):
    assert client.move_webhook(hook.id, f"{script.url}/new").url.endswith("/new")
    assert client.pause_webhook(hook.name).paused_at
    with pytest.raises(Invalid, match="resume it first"):
        client.test_webhook(hook.id)
    assert not client.resume_webhook(hook.name).paused_at
    assert client.rotate_webhook(hook.id).secret != hook.secret
    assert not client.webhook(hook.id).secret
    assert "whsec_" not in repr(hook)


def test_what_cannot_be_is_refused(client, hook):
    with pytest.raises(Conflict):
        client.create_webhook(hook.name, hook.url)
    with pytest.raises(NotFound):
        client.webhook("nobody")
    with pytest.raises(NotFound):
        client.create_group(on_end="nobody")
    with pytest.raises(ValueError, match="no name"):
        client.webhook("a b")
