"""Configuration files: defaults of the variables, with profiles for several servers.

A file says nothing that a variable does not say, too: what it has becomes the text of that variable, unless the
environment has another. So each program reads its settings in one way only.
"""
