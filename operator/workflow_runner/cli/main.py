"""The program `workflow-runner`. Commands are imported when they are called: a pod's start is part of every run."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import traceback
from collections.abc import Sequence

from workflow_runner import __version__
from workflow_runner.errors import WorkflowRunnerError

USAGE_ERROR, CANCELLED, INTERNAL_ERROR = 2, 3, 70

COMMANDS = {
    "run": "Run a workflow document here, with no cluster.",
    "validate": "Check workflow documents without running them.",
    "graph": "Draw a workflow document, and the way that a run took.",
    "serve": "Serve a runner's gRPC service: take workflows and run them here.",
    "dev": "Start Temporal's development server, and a worker, to try things out.",
    "operator": "Run the operator: watch WorkflowExecutions and carry them out.",
    "execute": "Run the workflow that the operator handed to this pod.",
    "terminate": "End in Temporal what a run has left open there.",
    "conformance": "Check a running workflow runner against the runner API.",
    "worker": "Work for Temporal: carry out the executions that Stigmer's server starts there.",
    "invoke": "Have Temporal carry out an execution that Stigmer has a record of.",
    "crds": "Print the CustomResourceDefinitions.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the program and leaves with its exit code (0 done, 1 faulted, 2 invalid, 3 cancelled, 70 a bug here)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    code = call(arguments)
    if list(arguments[:1]) != ["execute"]:  # which leaves nothing that would have to be put away
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is closed and written. The interpreter's own tidying-up would take a tenth of a short run's time, and threads
    # of libraries (gRPC's, Temporal's) that come back to Python meanwhile end it with SIGABRT, now and then.
    os._exit(code)


def call(arguments: Sequence[str]) -> int:
    """The exit code of one command line."""
    try:
        if arguments and arguments[0] == "execute":
            # A launched pod does not wait for the machinery that people's command lines need.
            return _call_by_the_operator(arguments[1:])
        return _call_by_people(arguments)
    except BrokenPipeError:
        # Whoever read our output has had enough; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:  # Ctrl-C before a command listened for it
        print("workflow-runner: cancelled: SIGINT was received", file=sys.stderr)
        return CANCELLED
    except WorkflowRunnerError as error:
        print(f"workflow-runner: {error.code}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except Exception:  # noqa: BLE001 - the last place where a bug can be given its exit code
        from workflow_runner import telemetry

        # What went wrong may quote the data that it went wrong with.
        print(telemetry.redact(traceback.format_exc()), end="", file=sys.stderr)
        print("workflow-runner: internal: this is a bug of workflow-runner; please report what stands above", file=sys.stderr)
        return INTERNAL_ERROR


def _call_by_the_operator(arguments: Sequence[str]) -> int:
    gc.disable()  # nothing of what is imported is garbage, and looking through it costs a tenth of the import
    from workflow_runner.cli.execute import main as execute

    gc.freeze()
    gc.enable()
    return execute(arguments)


def _call_by_people(arguments: Sequence[str]) -> int:
    import cyclopts

    app = cyclopts.App(
        name="workflow-runner",
        help="Run CNCF Serverless Workflow documents, here or on Kubernetes.",
        version=__version__,
        help_format="plaintext",
        result_action="return_value",
    )
    for command, text in COMMANDS.items():
        app.command(f"workflow_runner.cli.{command}:{command}", name=command, help=text)
    # A bare dash, standard input or output, would be taken for an option without a name; this is the same path.
    arguments = ["./-" if argument == "-" else argument for argument in arguments]
    try:
        result = app(arguments, exit_on_error=False, print_error=True)
    except cyclopts.CycloptsError:
        return USAGE_ERROR
    return result if isinstance(result, int) else 0
