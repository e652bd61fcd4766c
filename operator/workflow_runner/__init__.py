"""A Kubernetes operator and a runner for CNCF Serverless Workflow documents."""

# Read by pyproject.toml. Looking it up in the installed package's metadata would cost every launched pod 20 ms.
__version__ = "0.1.0"
