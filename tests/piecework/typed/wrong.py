"""Mistakes that a type checker must find: each line says which."""

import piecework
from piecework import AsyncClient, Client


@piecework.function
def count(text: str) -> int:
    return len(text)


def work(client: Client) -> None:
    client.submit("shout", priority="high")  # error: arg-type
    client.submit("shout", colour="red")  # error: call-arg
    client.submit()  # error: call-arg
    number: int = client.submit("shout").result()  # error: assignment
    client.map("shout", ["a"], errors="ignore")  # error: call-overload
    client.jobs(since=3)  # error: arg-type
    count(3)  # error: arg-type
    count.remote(text=b"x")  # error: arg-type
    client.no_such_method()  # error: attr-defined
    piecework.Server  # error: attr-defined


async def wait(client: AsyncClient) -> bytes:
    client.ping()  # error: unused-coroutine
    for _ in client.jobs():  # error: attr-defined
        pass
    return client.run("shout")  # error: return-value
