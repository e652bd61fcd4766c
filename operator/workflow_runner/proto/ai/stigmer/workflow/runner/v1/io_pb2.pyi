from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkflowExecuteInput(_message.Message):
    __slots__ = ("workflow_execution_id", "workflow_yaml", "env_vars", "metadata", "workflow_input", "config")
    class EnvVarsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKFLOW_EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_YAML_FIELD_NUMBER: _ClassVar[int]
    ENV_VARS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_INPUT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    workflow_execution_id: str
    workflow_yaml: str
    env_vars: _containers.ScalarMap[str, str]
    metadata: WorkflowMetadata
    workflow_input: _struct_pb2.Struct
    config: _containers.ScalarMap[str, str]
    def __init__(self, workflow_execution_id: _Optional[str] = ..., workflow_yaml: _Optional[str] = ..., env_vars: _Optional[_Mapping[str, str]] = ..., metadata: _Optional[_Union[WorkflowMetadata, _Mapping]] = ..., workflow_input: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., config: _Optional[_Mapping[str, str]] = ...) -> None: ...

class WorkflowMetadata(_message.Message):
    __slots__ = ("name", "version", "namespace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    namespace: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class WorkflowExecuteResponse(_message.Message):
    __slots__ = ("workflow_execution_id", "status", "message")
    WORKFLOW_EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    workflow_execution_id: str
    status: str
    message: str
    def __init__(self, workflow_execution_id: _Optional[str] = ..., status: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class CancelExecutionRequest(_message.Message):
    __slots__ = ("execution_id", "reason", "force")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    reason: str
    force: bool
    def __init__(self, execution_id: _Optional[str] = ..., reason: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class PauseExecutionRequest(_message.Message):
    __slots__ = ("execution_id", "reason")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    reason: str
    def __init__(self, execution_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ResumeExecutionRequest(_message.Message):
    __slots__ = ("execution_id", "reason")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    reason: str
    def __init__(self, execution_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class WorkflowProgressEvent(_message.Message):
    __slots__ = ("workflow_execution_id", "event_type", "workflow_name", "task_name", "status", "message", "timestamp_ms", "task_reference", "error", "sequence_number", "task_progress", "output", "attempt", "task_iteration", "task_kind")
    WORKFLOW_EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_NAME_FIELD_NUMBER: _ClassVar[int]
    TASK_NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    TASK_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TASK_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TASK_ITERATION_FIELD_NUMBER: _ClassVar[int]
    TASK_KIND_FIELD_NUMBER: _ClassVar[int]
    workflow_execution_id: str
    event_type: str
    workflow_name: str
    task_name: str
    status: str
    message: str
    timestamp_ms: int
    task_reference: str
    error: ErrorDetails
    sequence_number: int
    task_progress: int
    output: _struct_pb2.Value
    attempt: int
    task_iteration: str
    task_kind: str
    def __init__(self, workflow_execution_id: _Optional[str] = ..., event_type: _Optional[str] = ..., workflow_name: _Optional[str] = ..., task_name: _Optional[str] = ..., status: _Optional[str] = ..., message: _Optional[str] = ..., timestamp_ms: _Optional[int] = ..., task_reference: _Optional[str] = ..., error: _Optional[_Union[ErrorDetails, _Mapping]] = ..., sequence_number: _Optional[int] = ..., task_progress: _Optional[int] = ..., output: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., attempt: _Optional[int] = ..., task_iteration: _Optional[str] = ..., task_kind: _Optional[str] = ...) -> None: ...

class ErrorDetails(_message.Message):
    __slots__ = ("code", "message", "type", "status", "instance", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    type: str
    status: int
    instance: str
    detail: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., type: _Optional[str] = ..., status: _Optional[int] = ..., instance: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class ProgressAckResponse(_message.Message):
    __slots__ = ("success", "message")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class GetExecutionStatusRequest(_message.Message):
    __slots__ = ("execution_id",)
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    def __init__(self, execution_id: _Optional[str] = ...) -> None: ...

class ExecutionStatus(_message.Message):
    __slots__ = ("workflow_execution_id", "status", "progress", "last_sequence_number", "error", "output", "started_at_ms", "completed_at_ms")
    WORKFLOW_EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    workflow_execution_id: str
    status: str
    progress: int
    last_sequence_number: int
    error: ErrorDetails
    output: _struct_pb2.Value
    started_at_ms: int
    completed_at_ms: int
    def __init__(self, workflow_execution_id: _Optional[str] = ..., status: _Optional[str] = ..., progress: _Optional[int] = ..., last_sequence_number: _Optional[int] = ..., error: _Optional[_Union[ErrorDetails, _Mapping]] = ..., output: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., started_at_ms: _Optional[int] = ..., completed_at_ms: _Optional[int] = ...) -> None: ...

class GetExecutionEventsRequest(_message.Message):
    __slots__ = ("execution_id", "after_sequence_number", "page_size")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    after_sequence_number: int
    page_size: int
    def __init__(self, execution_id: _Optional[str] = ..., after_sequence_number: _Optional[int] = ..., page_size: _Optional[int] = ...) -> None: ...

class ExecutionEvents(_message.Message):
    __slots__ = ("events", "more")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[WorkflowProgressEvent]
    more: bool
    def __init__(self, events: _Optional[_Iterable[_Union[WorkflowProgressEvent, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("execution_id", "after_sequence_number")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    after_sequence_number: int
    def __init__(self, execution_id: _Optional[str] = ..., after_sequence_number: _Optional[int] = ...) -> None: ...
