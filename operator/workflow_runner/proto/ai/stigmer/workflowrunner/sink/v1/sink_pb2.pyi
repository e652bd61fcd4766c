from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as _io_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Run(_message.Message):
    __slots__ = ("execution_uid", "execution_id", "attempt", "continued")
    EXECUTION_UID_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CONTINUED_FIELD_NUMBER: _ClassVar[int]
    execution_uid: str
    execution_id: str
    attempt: int
    continued: bool
    def __init__(self, execution_uid: _Optional[str] = ..., execution_id: _Optional[str] = ..., attempt: _Optional[int] = ..., continued: _Optional[bool] = ...) -> None: ...

class ProgressBatch(_message.Message):
    __slots__ = ("run", "events", "counts", "control", "output_json", "output_too_large")
    RUN_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOO_LARGE_FIELD_NUMBER: _ClassVar[int]
    run: Run
    events: _containers.RepeatedCompositeFieldContainer[_io_pb2.WorkflowProgressEvent]
    counts: TaskCounts
    control: ControlResult
    output_json: bytes
    output_too_large: bool
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., events: _Optional[_Iterable[_Union[_io_pb2.WorkflowProgressEvent, _Mapping]]] = ..., counts: _Optional[_Union[TaskCounts, _Mapping]] = ..., control: _Optional[_Union[ControlResult, _Mapping]] = ..., output_json: _Optional[bytes] = ..., output_too_large: _Optional[bool] = ...) -> None: ...

class TaskCounts(_message.Message):
    __slots__ = ("started", "completed", "failed", "skipped", "retried")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    RETRIED_FIELD_NUMBER: _ClassVar[int]
    started: int
    completed: int
    failed: int
    skipped: int
    retried: int
    def __init__(self, started: _Optional[int] = ..., completed: _Optional[int] = ..., failed: _Optional[int] = ..., skipped: _Optional[int] = ..., retried: _Optional[int] = ...) -> None: ...

class ControlResult(_message.Message):
    __slots__ = ("generation", "result", "reason", "suspendable")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SUSPENDABLE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    result: str
    reason: str
    suspendable: bool
    def __init__(self, generation: _Optional[int] = ..., result: _Optional[str] = ..., reason: _Optional[str] = ..., suspendable: _Optional[bool] = ...) -> None: ...

class ProgressResponse(_message.Message):
    __slots__ = ("received_sequence",)
    RECEIVED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    received_sequence: int
    def __init__(self, received_sequence: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class ListenRequest(_message.Message):
    __slots__ = ("run", "interest", "answers")
    RUN_FIELD_NUMBER: _ClassVar[int]
    INTEREST_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    run: Run
    interest: Interest
    answers: _containers.RepeatedCompositeFieldContainer[EventAnswer]
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., interest: _Optional[_Union[Interest, _Mapping]] = ..., answers: _Optional[_Iterable[_Union[EventAnswer, _Mapping]]] = ...) -> None: ...

class Interest(_message.Message):
    __slots__ = ("wanted",)
    WANTED_FIELD_NUMBER: _ClassVar[int]
    wanted: _containers.RepeatedCompositeFieldContainer[WantedEvent]
    def __init__(self, wanted: _Optional[_Iterable[_Union[WantedEvent, _Mapping]]] = ...) -> None: ...

class WantedEvent(_message.Message):
    __slots__ = ("attributes",)
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class EventAnswer(_message.Message):
    __slots__ = ("number", "taken", "full")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    number: int
    taken: bool
    full: bool
    def __init__(self, number: _Optional[int] = ..., taken: _Optional[bool] = ..., full: _Optional[bool] = ...) -> None: ...

class ListenResponse(_message.Message):
    __slots__ = ("number", "event_json")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    EVENT_JSON_FIELD_NUMBER: _ClassVar[int]
    number: int
    event_json: bytes
    def __init__(self, number: _Optional[int] = ..., event_json: _Optional[bytes] = ...) -> None: ...

class SecretsRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class SecretsResponse(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, str]
    def __init__(self, values: _Optional[_Mapping[str, str]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("desired_state", "reason", "generation", "recorded_sequence", "delivered_sequence")
    class DesiredState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DESIRED_STATE_UNSPECIFIED: _ClassVar[WatchResponse.DesiredState]
        DESIRED_STATE_RUN: _ClassVar[WatchResponse.DesiredState]
        DESIRED_STATE_PAUSE: _ClassVar[WatchResponse.DesiredState]
        DESIRED_STATE_CANCEL: _ClassVar[WatchResponse.DesiredState]
    DESIRED_STATE_UNSPECIFIED: WatchResponse.DesiredState
    DESIRED_STATE_RUN: WatchResponse.DesiredState
    DESIRED_STATE_PAUSE: WatchResponse.DesiredState
    DESIRED_STATE_CANCEL: WatchResponse.DesiredState
    DESIRED_STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RECORDED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    desired_state: WatchResponse.DesiredState
    reason: str
    generation: int
    recorded_sequence: int
    delivered_sequence: int
    def __init__(self, desired_state: _Optional[_Union[WatchResponse.DesiredState, str]] = ..., reason: _Optional[str] = ..., generation: _Optional[int] = ..., recorded_sequence: _Optional[int] = ..., delivered_sequence: _Optional[int] = ...) -> None: ...
