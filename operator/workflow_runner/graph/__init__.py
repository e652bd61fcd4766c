"""Drawings of documents: `build` makes a Graph of a workflow, `marks` says what a run took, and `mermaid`, `dot` and
`svg` write it. Nothing here does I/O; `workflow-runner graph` is the caller.
"""
