"""Modules that a script wants and its interpreter has not: who has them."""

import re
import sys

_WANTED = re.compile(
    r"[Nn]o module named '([^']+)'|could not load module (?:filename )?'([^']+)'"
    r"|module '([^']+)' not found|'?(require)'? is not defined"
)
"""How interpreters say it."""
PYTHON = "python3.12"
_PYTHON_LACKS = """
annotationlib asynchat asyncore compression ctypes curses distutils ensurepip fcntl grp idlelib imp lib2to3
lzma mmap msilib msvcrt multiprocessing nis nt ossaudiodev pty pwd pydoc_data readline resource rlcompleter
smtpd spwd ssl syslog termios tkinter tty turtle turtledemo uu venv webbrowser winreg winsound xdrlib
"""
PYTHON_LACKS = frozenset(_PYTHON_LACKS.split())
"""What it has not of the standard library, in whatever version: most need what no guest has, such as threads."""
_ONLY = {
    "javascript": "there are no modules of Node, only qjs:std and qjs:os",
    "lua5.4": "there are no modules but those of Lua itself",
    "micropython": "there are no modules but MicroPython's own",
    PYTHON: "there are no modules but those of the standard library that need no network, threads or programs",
}


def explain_missing(complaint: str, runtime: str) -> str:
    """Return what to know about a module that a script of this runtime did not find; empty: it wanted none."""
    found = _WANTED.search(complaint)
    if found is None or runtime not in _ONLY:
        return ""
    name = str(found[found.lastindex or 0]).partition(".")[0]
    if runtime == "micropython" and name in list_python_modules():
        return f"the runtime {PYTHON} has it"
    return _ONLY[runtime]


def list_python_modules() -> list[str]:
    """Return the modules of the standard library that CPython has here, by their public names."""
    return sorted(name for name in sys.stdlib_module_names - PYTHON_LACKS if not name.startswith("_"))
