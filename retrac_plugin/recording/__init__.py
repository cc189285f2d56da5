"""Records an unmodified training script: it is watched at a few seams, and changes nothing.

``loaders`` lets the ids of samples travel with each batch, ``schedulers`` sees what is diffused and
with which noise, ``stepping`` sees the steps, checkpoints and resumes. ``ScriptRecording`` puts it
together, and ``VisitLog`` writes it down.
"""

from retrac_plugin.recording.launching import as_module, is_script, run_script
from retrac_plugin.recording.script import ScriptRecording
from retrac_plugin.recording.watching import watching

__all__ = ["ScriptRecording", "as_module", "is_script", "run_script", "watching"]
