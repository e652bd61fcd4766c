from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkflowRunnerSpec(_message.Message):
    __slots__ = ("type", "endpoint", "launch", "temporal", "choreography", "stigmer", "limits", "defaults", "allow", "paused", "tls", "api_key_secret_ref")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_FIELD_NUMBER: _ClassVar[int]
    TEMPORAL_FIELD_NUMBER: _ClassVar[int]
    CHOREOGRAPHY_FIELD_NUMBER: _ClassVar[int]
    STIGMER_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    API_KEY_SECRET_REF_FIELD_NUMBER: _ClassVar[int]
    type: str
    endpoint: str
    launch: _struct_pb2.Struct
    temporal: _struct_pb2.Struct
    choreography: _struct_pb2.Struct
    stigmer: _struct_pb2.Struct
    limits: _struct_pb2.Struct
    defaults: _struct_pb2.Struct
    allow: _struct_pb2.Struct
    paused: bool
    tls: _struct_pb2.Struct
    api_key_secret_ref: _struct_pb2.Struct
    def __init__(self, type: _Optional[str] = ..., endpoint: _Optional[str] = ..., launch: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., temporal: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., choreography: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., stigmer: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., limits: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., defaults: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., allow: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., paused: _Optional[bool] = ..., tls: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., api_key_secret_ref: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...
