"""The command line, and with it the composition roots: the only place that reads settings and builds objects.

`main.py` is the program; each command has a module of its own, imported when it is called.
"""
