"""What this project's processes serve: the sink for launched pods, and health. Built by cli."""
