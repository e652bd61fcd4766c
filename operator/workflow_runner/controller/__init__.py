"""The operator's moving parts: watches put keys into a queue, a reconcile a key looks, plans and applies.

`handlers.py` holds every kopf decorator, `queue.py` the keyed queue, `store.py` what the watches have
seen, `reconciler.py` one reconcile. Built by cli.operator.
"""
