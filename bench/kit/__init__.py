"""What every measured system shares: the event log, the workloads and the reading of processes. Standard library only.

Each system runs in an environment of its own, so nothing here may need an installed package.
"""
