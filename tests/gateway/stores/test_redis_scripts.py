"""Scripts in Redis: told to a server that does not know them, and an error that says who is away."""

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.settings.budgets import RedisConfig
from gateway.stores.redis_scripts import IDLE_S, RedisScripts, digest
from tests.gateway.redis_server import redis_server

ONE, TWO = "return 1", "return {ARGV[1], KEYS[1]}"


async def test_scripts_run_in_order_and_a_server_that_forgot_them_is_told_again(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        scripts = RedisScripts(RedisConfig(url=server.url, timeout=2.0), "tests")
        for _ in range(2):
            assert await scripts.run([(ONE, [], []), (TWO, ["k"], ["a"]), (ONE, [], [])]) == [1, [b"a", b"k"], 1]
            server.stop()
            with pytest.raises(scripts.errors):
                await scripts.run([(ONE, [], [])])
            server.start()
        with pytest.raises(scripts.errors, match="no such thing"):
            await scripts.run([("return redis.error_reply('no such thing')", [], [])])
        await scripts.close()


async def test_a_script_that_was_not_used_yet_keeps_its_place(tmp_path: Path) -> None:
    add, read = "return redis.call('APPEND', 'k', ARGV[1])", "return redis.call('GET', 'k')"
    with redis_server(tmp_path) as server:
        scripts = RedisScripts(RedisConfig(url=server.url, timeout=2.0), "tests", (add, read))
        assert await scripts.run([(read, [], [])]) == [None]
        assert await scripts.run([(add, [], ["a"]), (read, [], [])]) == [1, b"a"]
        await scripts.close()


async def test_the_system_gives_up_what_it_could_not_say_when_the_client_does(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        scripts = RedisScripts(RedisConfig(url=server.url, timeout=2.0), "tests")
        await scripts.run([(ONE, [], [])])
        (connection,) = scripts.client.connection_pool._available_connections
        made = connection._writer.get_extra_info("socket")
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
        await scripts.close()
    assert RedisScripts(RedisConfig(url="unix:///nowhere/redis.sock"), "tests").client.connection_pool.make_connection()


async def test_what_redis_closed_while_it_lay_idle_is_made_anew(tmp_path: Path) -> None:
    """As a Redis with `timeout` does, one that was restarted at night, and many a load balancer."""
    now = 100.0
    with redis_server(tmp_path) as server:
        config = RedisConfig(url=server.url, timeout=2.0)
        scripts, other = RedisScripts(config, "tests", monotonic=lambda: now), RedisScripts(config, "tests")
        assert await scripts.run([(ONE, [], [])]) == [1]
        (connection,) = scripts.client.connection_pool._available_connections
        await other.client.client_kill_filter(_type="normal", skipme=True)
        await connection._reader.read()  # its end has arrived
        now += IDLE_S + 1
        assert await asyncio.gather(*(scripts.run([(ONE, [], [])]) for _ in range(5))) == [[1]] * 5
        await scripts.close()
        await other.close()


def test_a_script_is_known_by_its_sha1() -> None:
    assert digest(ONE) == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
