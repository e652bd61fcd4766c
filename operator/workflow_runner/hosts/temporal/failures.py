"""An error of this project as an activity of the roles with Stigmer fails by it: said once in the log, with no stack trace."""

from __future__ import annotations

import logging

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from workflow_runner.errors import Temporary, WorkflowRunnerError

log = logging.getLogger(__name__)


def failure(error: WorkflowRunnerError, what: str, execution_id: str, *, for_good: bool = False) -> ApplicationError:
    """The failure for Temporal, which tries again what may be different later, unless it is `for_good`."""
    again = isinstance(error, Temporary) and not for_good
    details = {"id": execution_id, "code": error.code, "error": str(error)[:1000]}
    log.warning("%s; %s", what, "it is tried again" if again else "it is not tried again", extra=details)
    return ApplicationError(
        str(error)[:8000], type=error.code, non_retryable=not again, category=ApplicationErrorCategory.BENIGN
    )
