"""URI templates of endpoints, for `tasks/call_http` and `schemas`."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json

_VARIABLES = re.compile(r"\{([^{}]*)\}")


def expand(template: str, data: Json) -> str:
    """Fill a URI template from the top-level properties of `data` (DSL reference, "URI Template").

    Simple string expansion only (RFC 6570, 3.2.2); names are taken verbatim, so `{pet.id}` is the
    property "pet.id"; one that is missing or null gives nothing. Raises WorkflowFault (`expression`) for
    a property that is an array or an object.
    """
    properties = data if isinstance(data, dict) else {}

    def value(name: str) -> str | None:
        found = properties.get(name)
        if isinstance(found, list | dict):
            detail = f"the URI template's {{{name}}} must be a string, number, boolean or null"
            raise WorkflowFault(Problem.standard(EXPRESSION, detail))
        if found is None:
            return None
        return quote(found if isinstance(found, str) else json.dumps(found), safe="")

    def expansion(match: re.Match[str]) -> str:
        return ",".join(text for name in match[1].split(",") if (text := value(name)) is not None)

    return _VARIABLES.sub(expansion, template)
