"""The custom resources as pydantic models, and the CustomResourceDefinitions made from them.

`group.py` names them, `runner.py` and `execution.py` describe them, `schema.py` turns a model into a
structural schema, `definitions.py` writes whole CRDs. Nothing here does I/O.
"""
