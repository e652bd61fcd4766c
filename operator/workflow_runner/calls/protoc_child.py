"""The process that compiles a `.proto`; `calls.protos` starts it, by its path and isolated, and may kill it.

The text comes on standard input, the FileDescriptorSet goes to standard output. On failure the exit code is 1 and what
protoc said is on standard error. The compiler is C++ fed with a stranger's text: it has a process, a memory
limit and a time limit of its own, and sees no file but the text and Google's well-known types.
"""

from __future__ import annotations

import os
import resource
import sys
from importlib import resources

_SAID = 4096
_NAME = "service.proto"


def main(memory: int, seconds: int, largest: int) -> int:
    """Compile. `memory` and `largest` (of the result) are in bytes, `seconds` are of the processor."""
    text = sys.stdin.buffer.read()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from grpc_tools import protoc

    source, result, said = (os.memfd_create(name) for name in ("source", "result", "said"))
    os.write(source, text)
    real_error = os.dup(2)
    os.dup2(said, 2)
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={_NAME}=/proc/self/fd/{source}",
            f"--proto_path={resources.files('grpc_tools') / '_proto'}",
            "--include_imports",
            f"--descriptor_set_out=/proc/self/fd/{result}",
            _NAME,
        ]
    )
    os.dup2(real_error, 2)
    if code != 0:
        os.write(2, os.pread(said, _SAID, 0))
        return 1
    size = os.fstat(result).st_size
    if size > largest:
        os.write(2, f"the compiled service has {size} bytes, more than {largest}".encode())
        return 1
    sys.stdout.buffer.write(os.pread(result, size, 0))
    return 0


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:4])))
