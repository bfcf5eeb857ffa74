"""An ``AsyncClient`` behind the methods of ``Client``: the tests of the one are those of the other, too."""

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any, Self

from piecework.client import AsyncClient


class LoopClient:
    """Runs each call in an event loop of its own, which nothing else uses."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._client: Any = AsyncClient(*args, **options)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._client.close())
        self._runner.close()

    def __getattr__(self, name: str) -> Any:
        return _bridge(self._run, getattr(self._client, name))

    @property
    def transport(self) -> Any:
        return _Bridged(self._run, self._client.transport)

    def _run(self, steps: Any) -> Any:
        return self._runner.run(steps)


class _Bridged:
    def __init__(self, run: Any, target: Any) -> None:
        self._run, self._target = run, target

    def __getattr__(self, name: str) -> Any:
        return _bridge(self._run, getattr(self._target, name))


def _bridge(run: Any, found: Any) -> Any:
    if not callable(found):
        return found

    def call(*args: Any, **options: Any) -> Any:
        result = found(*args, **options)
        if inspect.iscoroutine(result):
            return run(result)
        return _go_through(run, result) if hasattr(result, "__anext__") else result

    return call


def _go_through(run: Any, items: Any) -> Iterator[Any]:
    async def step() -> Any:
        return await anext(items)

    try:
        while True:
            try:
                yield run(step())
            except StopAsyncIteration:
                return
    finally:
        run(items.aclose())
