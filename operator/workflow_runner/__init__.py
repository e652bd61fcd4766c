"""A Kubernetes operator and a runner for CNCF Serverless Workflow documents."""
