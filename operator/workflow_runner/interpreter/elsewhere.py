"""What is not written where it runs: functions and other workflows, as the frames of a run have them.

`tasks/call_function` and `tasks/run_workflow` start them, `open_tasks` looks into them. A Run has one Elsewhere, its root's.
Definitions are in the frames as JSON; what they are read to is kept here and made again when a run is continued.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.model import FunctionCallTask, TaskList, Workflow
from workflow_runner.dsl.problems import CONFIGURATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document, read_function
from workflow_runner.interpreter.frames import Child, Function

_MOST_KEPT = 32


class Elsewhere:
    """The definitions of one run, read."""

    def __init__(self, functions: Mapping[str, Json]) -> None:
        self._definitions = functions
        self._functions: dict[tuple[str, str], TaskList] = {}
        self._workflows: OrderedDict[int, tuple[dict[str, Json], Workflow]] = OrderedDict()

    def function(self, workflow: Workflow, task: FunctionCallTask, call: Function) -> TaskList:
        """A function's task, as a list of one. Raises WorkflowFault when what was fetched is no function."""
        if call.address is None:
            return workflow.use.functions[task.function]
        key = (call.address, task.function)
        if key not in self._functions:
            try:
                self._functions[key] = read_function(self._definitions[call.address], task.function, check=False)
            except DocumentErrors as error:
                raise _wrong(f"the definition of the function {task.function!r} cannot be used: {error}") from error
        return self._functions[key]

    def workflow(self, child: Child) -> Workflow:
        """The document that a child runs. Raises WorkflowFault when it is none."""
        known = self._workflows.get(id(child.definition))
        if known is None:
            try:
                workflow, _ = read_document(child.definition, check=False)
            except DocumentErrors as error:
                raise _wrong(f"the workflow cannot be run: {error}") from error
            # The definition is kept beside it, so that no other object gets its identity.
            known = self._workflows[id(child.definition)] = (child.definition, workflow)
            if len(self._workflows) > _MOST_KEPT:
                self._workflows.popitem(last=False)
        return known[1]


def _wrong(detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(CONFIGURATION, detail))
