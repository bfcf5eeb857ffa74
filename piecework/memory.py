"""What long-running programs do about their memory."""

import gc


def settle() -> None:
    """Have the garbage collector leave out all that is there by now: modules, tables, compiled statements.

    It stays until the program ends, and to go through it takes tens of milliseconds, again and again.
    """
    gc.collect()
    gc.freeze()
