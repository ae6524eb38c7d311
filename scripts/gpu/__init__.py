"""The parts of ``scripts/gpu_check.py``: its steps, what they measure with, who runs them, and the table."""
