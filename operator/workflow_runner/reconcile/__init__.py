"""What the operator decides: `plan(observed) -> actions`, pure. Called by controller.

`observed.py` is what there is, `live.py` folds a run's events, `status.py` says how that reads in the
resource, `execution.py` decides, `actions.py` is what can be done. No I/O, no clock: the time is observed.
"""
