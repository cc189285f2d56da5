"""Adapters for diffusers; they register with retrac-plugin as any third party's plugin does."""
