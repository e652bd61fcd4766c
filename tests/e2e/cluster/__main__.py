"""The command line: `python3 -m tests.e2e.cluster COMMAND`, from the repository's root.

Progress goes to standard error; the one line on standard output is the answer (a kubeconfig, an
image, a program's path).
"""

from __future__ import annotations

import argparse
import sys

import tests.e2e.cluster.lifecycle as lifecycle
import tests.e2e.cluster.operator_image as operator_image
import tests.e2e.cluster.tools as tools
from tests.e2e.cluster.interrupts import interrupt_on_sigterm
from tests.e2e.cluster.shell import ClusterError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.e2e.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start or reuse a cluster, keep it, and print its kubeconfig's path")
    image = commands.add_parser("image", help="build the operator's image, load it into the cluster, and print its name")
    image.add_argument("--target", default="", choices=["", operator_image.DEV_SERVER], help="another one of the Dockerfile")
    down = commands.add_parser("down", help="delete the cluster and all that was started for it")
    for command in (up, image, down):
        command.add_argument("--name", default=lifecycle.NAME)
    up.add_argument("--workers", type=int, help="nodes beside the control plane (default: as it is, or none)")
    tool = commands.add_parser("tool", help="build one of the pinned programs, and print its path")
    tool.add_argument("program", choices=sorted(tools.PROGRAMS))
    options = parser.parse_args(argv)
    interrupt_on_sigterm()
    try:
        if options.command == "up":
            print(lifecycle.ensure(options.name, workers=options.workers, keep=True).kubeconfig)
        elif options.command == "image":
            print(operator_image.ensure_image(lifecycle.ensure(options.name, keep=True), target=options.target))
        elif options.command == "down":
            if not lifecycle.delete(options.name):
                print(f"there is no cluster {options.name} of ours", file=sys.stderr)
        else:
            print(tools.path(options.program))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
