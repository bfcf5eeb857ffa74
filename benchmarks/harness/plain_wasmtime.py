"""A WASI command under wasmtime's own package and WASI, without Piecework: what its programs are compared with.

``plain_wasmtime.py [--dir DIR::GUEST_PATH]... [--env K=V]... FILE [ARG]...``, all directories to read and write.
The exit code is the program's, 134 after a trap, as that of ``wasmtime run``.
"""

import sys
from pathlib import Path

import wasmtime

TRAPPED = 134
STACK_BYTES = 1024 * 1024
"""As under ``exec``; wasmtime's own half of it is too little for some."""


def main() -> int:
    """Run what the command line says, with our standard streams, and return the exit code."""
    words = sys.argv[1:]
    wasi = wasmtime.WasiConfig()
    config = wasmtime.Config()
    config.cache = True
    config.wasm_exceptions = True
    config.max_wasm_stack = STACK_BYTES
    env = []
    while words[0].startswith("--"):
        option, value = words.pop(0), words.pop(0)
        if option == "--dir":
            host, guest = value.split("::")
            wasi.preopen_dir(host, guest)
        else:
            env.append(value.partition("=")[::2])
    wasi.argv = [Path(words[0]).name, *words[1:]]
    wasi.env = env
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    return run(words[0], config, wasi)


def run(file: str, config: wasmtime.Config, wasi: wasmtime.WasiConfig) -> int:
    """Run a command, compiled once, and return its exit code."""
    engine = wasmtime.Engine(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    instance = linker.instantiate(store, wasmtime.Module.from_file(engine, file))
    start = instance.exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    try:
        start(store)
    except wasmtime.ExitTrap as end:
        return end.code
    except wasmtime.Trap as trap:
        print(trap, file=sys.stderr)
        return TRAPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
