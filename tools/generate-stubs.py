"""Generate the Python stubs of proto/ into operator/workflow_runner/proto/.

Called by `make generate`; CI runs it too and fails when the committed stubs differ. protoc writes
imports from the proto root (`from ai.stigmer… import`); they are rewritten to live below
`workflow_runner.proto`, so that the package claims no top-level name `ai`.
"""

import re
import shutil
import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"
PACKAGE = "workflow_runner.proto"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def main(target: Path) -> int:
    generated = target / "ai"
    if generated.exists():
        shutil.rmtree(generated)
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path) for path in SOURCE.rglob("*.proto"))
    code = protoc.main(
        ["protoc", f"-I{SOURCE}", f"-I{WELL_KNOWN}", f"--python_out={target}", f"--pyi_out={target}", f"--grpc_python_out={target}", *sources]
    )
    if code:
        return code
    for path in [*generated.rglob("*.py"), *generated.rglob("*.pyi")]:
        text = path.read_text()
        text = re.sub(r"^from ai\.", f"from {PACKAGE}.ai.", text, flags=re.MULTILINE)
        text = re.sub(r"^import ai\.", f"import {PACKAGE}.ai.", text, flags=re.MULTILINE)
        path.write_text(text)
    for folder in [generated, *[path for path in generated.rglob("*") if path.is_dir()]]:
        (folder / "__init__.py").write_text("")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "operator" / "workflow_runner" / "proto"))
