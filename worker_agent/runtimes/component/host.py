"""The host's side of what a component imports, for the one guest that runs now."""

from typing import Any

from wasmtime import Engine
from wasmtime.component import Component, ComponentInstanceType, Linker, LinkerInstance

from piecework.worker_agent.runtimes.component import capi, cli_calls, file_calls, http_calls, io_calls
from piecework.worker_agent.runtimes.component.guest import ComponentGuest, FailureError, HostFunction, Interface
from piecework.worker_agent.runtimes.component.values import Err, Ok, ResultOf

INTERFACES: dict[str, Interface] = (
    io_calls.INTERFACES | cli_calls.INTERFACES | file_calls.INTERFACES | http_calls.INTERFACES
)
"""By name, without a release."""


class ComponentHost:
    """Gives one component its imports. Serves one guest at a time, in one thread. Must be closed."""

    def __init__(self, engine: Engine, component: Component) -> None:
        self.guest: ComponentGuest | None = None
        """Whose calls are answered now."""
        self.failure: BaseException | None = None
        """What a function of the host raised, which ended the guest."""
        self._callbacks: list[Any] = [capi.Destructor(self._drop)]
        self.linker = Linker(engine)
        with self.linker.root() as root:
            for name, kind in component.type.imports(engine).items():
                interface = INTERFACES.get(name.partition("@")[0])
                if interface is not None and isinstance(kind.ty, ComponentInstanceType):
                    with root.add_instance(name) as instance:
                        self._offer(instance, interface, kind.ty.exports(engine))
        # What nobody has is missed only when it is called.
        self.linker.define_unknown_imports_as_traps(component)

    def begin(self, guest: ComponentGuest) -> None:
        """Answer this guest from now on."""
        self.guest, self.failure = guest, None

    def close(self) -> None:
        """Free it. Safe to repeat."""
        self.linker.close()

    def _offer(self, instance: LinkerInstance, interface: Interface, wanted: dict[str, Any]) -> None:
        for name in wanted:
            if name in interface.functions:
                callback = capi.Callback(self._serve(interface.functions[name]))
                self._callbacks.append(callback)
                capi.add_function(instance, name, callback)
            elif name in interface.resources:
                capi.add_resource(instance, name, interface.resources[name], self._callbacks[0])

    def _serve(self, function: HostFunction) -> Any:
        """Return what wasmtime calls: it must not raise."""
        parameters, result, act = function
        fails = isinstance(result, ResultOf)
        places = [(kind, place * capi.VALUE_BYTES) for place, kind in enumerate(parameters)]

        def serve(
            _data: int, context: int, _kind: int, arguments: int, _count: int, results: int, _size: int
        ) -> int:
            guest = self.guest
            try:
                assert guest is not None
                guest.context = context
                given = [kind.read(arguments + place, guest) for kind, place in places]
                try:
                    answer = act(guest, *given)
                    answer = Ok(answer) if fails else answer
                except FailureError as failure:
                    answer = Err(failure.value)
                if result is not None:
                    result.write(results, answer, guest)
            except BaseException as failure:  # noqa: BLE001  # raised again when the guest has ended
                self.failure = failure
                error: int = capi.error_new(b"host function failed")
                return error
            return 0

        return serve

    def _drop(self, _data: int, _context: int, number: int) -> int:
        if self.guest is not None:
            self.guest.drop(number)
        return 0
