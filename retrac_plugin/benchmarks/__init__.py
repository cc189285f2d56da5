"""Every method, every metric, with the cost beside it."""

from retrac_plugin.benchmarks.task import Queries, Task, TaskSource

__all__ = ["Queries", "Task", "TaskSource"]
