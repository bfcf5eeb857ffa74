"""From code to machine code: compiling under bounds, and keeping what came of it."""
