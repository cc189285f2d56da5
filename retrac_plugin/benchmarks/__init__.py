"""Every method, every metric, with the cost beside it."""

from retrac_plugin.benchmarks.task import After, Queries, Task, TaskSource

__all__ = ["After", "Queries", "Task", "TaskSource"]
