"""Where outgoing calls may go, by environment and options: for the commands that run documents."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from workflow_runner.settings import address_settings

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules


def address_rules(
    allow: Sequence[str] = (), deny: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> AddressRules | None:
    """The rules; options add to what the environment says. None where nothing is said: the defaults hold.

    Raises InvalidInput.
    """
    allowed, denied = address_settings(environment)
    if not (allow or deny or allowed or denied):
        return None
    from workflow_runner.calls.addresses import AddressRules

    return AddressRules((*allowed, *allow), (*denied, *deny))
