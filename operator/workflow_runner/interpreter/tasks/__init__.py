"""The kinds of task, one module each; `RUNNERS` is what the engine runs them by.

A new kind: its model in dsl/model.py, a module here, a line below, a table of tests, an example.
"""

from __future__ import annotations

from collections.abc import Mapping

from workflow_runner.dsl.model import (
    ActivityCallTask,
    AgentCallTask,
    DoTask,
    EmitTask,
    ForkTask,
    ForTask,
    FunctionCallTask,
    GrpcCallTask,
    HttpCallTask,
    ListenTask,
    OpenApiCallTask,
    ProcessTask,
    RaiseTask,
    SetTask,
    SwitchTask,
    Task,
    TryTask,
    WaitTask,
    WorkflowRunTask,
)
from workflow_runner.interpreter.engine import Runner
from workflow_runner.interpreter.tasks.call_activity import run_call_activity
from workflow_runner.interpreter.tasks.call_agent import run_call_agent
from workflow_runner.interpreter.tasks.call_function import run_call_function
from workflow_runner.interpreter.tasks.call_grpc import run_call_grpc
from workflow_runner.interpreter.tasks.call_http import run_call_http
from workflow_runner.interpreter.tasks.call_openapi import run_call_openapi
from workflow_runner.interpreter.tasks.do import run_do
from workflow_runner.interpreter.tasks.emit import run_emit
from workflow_runner.interpreter.tasks.for_each import run_for
from workflow_runner.interpreter.tasks.fork import run_fork
from workflow_runner.interpreter.tasks.listen import run_listen
from workflow_runner.interpreter.tasks.raise_error import run_raise
from workflow_runner.interpreter.tasks.run_process import run_process
from workflow_runner.interpreter.tasks.run_workflow import run_workflow
from workflow_runner.interpreter.tasks.set_data import run_set
from workflow_runner.interpreter.tasks.switch import run_switch
from workflow_runner.interpreter.tasks.try_catch import run_try
from workflow_runner.interpreter.tasks.wait import run_wait

RUNNERS: Mapping[type[Task], Runner] = {
    ActivityCallTask: run_call_activity,
    AgentCallTask: run_call_agent,
    DoTask: run_do,
    EmitTask: run_emit,
    ForkTask: run_fork,
    ForTask: run_for,
    FunctionCallTask: run_call_function,
    GrpcCallTask: run_call_grpc,
    HttpCallTask: run_call_http,
    ListenTask: run_listen,
    OpenApiCallTask: run_call_openapi,
    ProcessTask: run_process,
    RaiseTask: run_raise,
    SetTask: run_set,
    SwitchTask: run_switch,
    TryTask: run_try,
    WaitTask: run_wait,
    WorkflowRunTask: run_workflow,
}
