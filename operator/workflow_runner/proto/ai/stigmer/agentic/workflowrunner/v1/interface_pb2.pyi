from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2 as _io_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor
