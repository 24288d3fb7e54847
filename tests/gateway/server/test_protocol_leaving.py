"""A gateway that is about to end answers everybody, and keeps nobody."""

from functools import partial

from gateway.server.limits import Leaving
from gateway.server.protocol import HttpProtocol
from tests.gateway.listening import GET, echo, site


async def test_answers_say_so_on_open_and_on_new_connections() -> None:
    leaving = Leaving()
    async with site(echo, http=partial(HttpProtocol, leaving=leaving)) as running, running.talk(GET) as talk:
        assert b"connection" not in (await talk.answer())[1]
        leaving.now = True
        talk.say(GET)
        status, headers, _ = await talk.answer()
        assert (status, headers[b"connection"], await talk.rest()) == (200, b"close", b"")
        async with running.talk(GET) as other:
            status, headers, _ = await other.answer()
            assert (status, headers[b"connection"], await other.rest()) == (200, b"close", b"")


async def test_of_requests_that_came_together_the_last_answer_says_it() -> None:
    protocol = partial(HttpProtocol, leaving=Leaving(now=True))
    async with site(echo, http=protocol) as running, running.talk(3 * GET) as talk:
        told = [(await talk.answer())[1].get(b"connection") for _ in range(3)]
        assert (told, await talk.rest()) == ([None, None, b"close"], b"")
