"""Messages are sealed for the person in whose name they were sent."""

import pytest

from erasure.erasing import erase, until
from messages.post import Post


@pytest.fixture
def post(tmp_path, store_url):
    made = Post(tmp_path, store_url)
    (tmp_path / "aegis.toml").write_text(f'[store]\nurl = "{store_url}"\n')
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_message_that_nobody_has_taken_goes_with_the_person_who_sent_it(post):
    assert post.send().status_code in (200, 202)
    assert erase(post, "user:nora")["payloads"] >= 2  # the arguments of the send, and the message
    until(lambda: "acme" not in post.app.gate.vault._by_id.tenants())  # within a second; a lease until then would succeed
    assert post.take() is None
    assert post.dead()[0].reason == "unreadable"
    assert post.fsck() == []


def test_a_message_that_was_refused_is_sealed_for_its_sender_too(post):
    post.send(kind="nonsense")
    (dead,) = post.dead()

    async def whose(app):
        return await app.messages.letters.opened("acme", dead, by="person:alice", statement="")

    assert post.inside(whose) is not None
    erase(post, "user:nora")
    assert until(lambda: post.inside(whose) is None)
