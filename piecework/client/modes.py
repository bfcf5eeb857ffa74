"""Calls that are written once, as coroutines, and made by programs that wait and by event loops.

A method that ``call`` or ``iteration`` decorates awaits nothing but its client's carrier. The carrier of an event
loop suspends it; that of a client that blocks never does, so that one step runs it to its end. What callers get is
typed for each: ``client.job(id)`` is a JobInfo of ``Client``, and a coroutine of one of ``AsyncClient``.
"""

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import wraps
from inspect import iscoroutinefunction
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """What makes its calls at once. It hands them to its ``core``, whose methods are the coroutines."""

    @property
    @abstractmethod
    def core(self) -> Any:
        """What has the same methods, over a carrier that never suspends."""


def run(steps: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return what it returns."""
    try:
        steps.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    steps.close()
    raise AssertionError("a call of a client that blocks was suspended")


async def _take(items: AsyncIterator[T]) -> T:
    return await anext(items)


def go_through(items: AsyncIterator[T]) -> Generator[T, None, None]:
    """Go through what never suspends. It is closed with what goes through it."""
    try:
        while True:
            try:
                item = run(_take(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            run(close())


class Method:
    """A method in two modes. Written as a coroutine, it has one result; as what gives an iterator, many."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        """As it was written."""
        self._suspending = method
        self._blocking = wraps(method)(self._block(method))
        self.__doc__ = method.__doc__

    @staticmethod
    def _block(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method for a client that blocks."""
        drive: Callable[[Any], Any] = run if iscoroutinefunction(method) else go_through
        return lambda client, *args, **kwargs: drive(method(client.core, *args, **kwargs))

    def __get__(self, calls: Any, owner: type) -> Any:
        found = self._blocking if issubclass(owner, Blocking) else self._suspending
        return found if calls is None else MethodType(found, calls)


class OneResult(Method, Generic[P, T]):
    """A method with one result."""

    @overload
    def __get__(self, calls: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, calls: object, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        return super().__get__(calls, owner)


class ManyResults(Method, Generic[P, T]):
    """A method whose results come one after the other."""

    @overload
    def __get__(self, calls: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, calls: object, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        return super().__get__(calls, owner)


def call(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> OneResult[P, T]:
    """Have a coroutine's method return its result where calls block."""
    return OneResult(method)


def iteration(method: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> ManyResults[P, T]:
    """Have a method that gives an asynchronous iterator give a plain one where calls block."""
    return ManyResults(method)
