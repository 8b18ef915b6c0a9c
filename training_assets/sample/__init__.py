"""Example raw data: a generated shop, and a public data set in the raw layout.

May import schemas and errors. Begin with ``generate.py``.
"""
