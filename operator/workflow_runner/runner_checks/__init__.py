"""The compliance test for runners: calls a running implementation of the runner API as a caller would, and judges answers.

`cli.conformance` calls `suite.run`. What is checked stands in `requirements.py`, as in docs/runner-conformance.md; each
sentence has one check, in a module named for what it looks at. `interface.py` has the services, `caller.py` makes calls,
`session.py` starts and follows runs, `profile.py` reads the documents that runs are made of.
"""
