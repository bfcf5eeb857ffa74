"""Python functions as lambdas."""

from typing import assert_type

import piecework
from piecework import AsyncClient, Client, PythonCall


@piecework.function(runtime="micropython", name="count", tags=["near"])
def count(text: str, *, letters: str = "aeiou") -> int:
    return sum(each in letters for each in text)


@piecework.function
def double(data: bytes) -> bytes:
    return data * 2


async def wait(client: AsyncClient) -> None:
    assert_type(await count.remote_async(client, "x", letters="y"), int)


def work(client: Client) -> None:
    assert_type(count("here", letters="x"), int)
    assert_type(count.remote("there"), int)
    assert_type(count.using(client, priority=2).submit("x"), PythonCall[int])
    assert_type(count.submit("x").result(timeout_s=3), int)
    assert_type(list(double.map([b"x"])), list[bytes])
