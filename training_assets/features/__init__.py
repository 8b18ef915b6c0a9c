"""What is said of users, items and samples besides their sequences, as of each day.

May import transforms, kernels, schemas, settings and errors. Begin with ``sampling_draws.py``.
"""
