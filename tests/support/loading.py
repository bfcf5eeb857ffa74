"""What a program loads when it starts."""

import subprocess
import sys


def loaded_by(module: str) -> set[str]:
    """Return the names of all modules that are there when this one was imported in a fresh process."""
    program = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    return set(subprocess.run(program, check=True, capture_output=True, text=True).stdout.split())
