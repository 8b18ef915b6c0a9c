"""Training samples: the positives of a day, and for each some items that the customer left alone.

    draws.py        weighted draws without replacement, a pure function of seed, day and customer
    kernel.py       samples of whole days from Arrow batches, on the workers
    text_ids.py     the same where ids are text
    negatives.py    DataFrames in and out
    days.py         samples of whole days from published files, by ranges of customers; actions.py
                    reads, seen.py keeps what customers have acted on, contexts.py says when,
                    files.py writes
    gathered.py     the same from one look at all files, where memory allows
    fit.py          features of pairs, with catalogue.py, where there is a catalogue

May import features, engine, errors and what is below them. Begin with ``draws.py``.
"""

import sys

from training_assets import errors
from training_assets.engine.shipping import ship
from training_assets.sampling.negatives import (
    STRATEGIES,
    Strategy,
    sample_negatives,
    sample_with_positives,
)

# Workers of a cluster need not have this package.
ship(errors, sys.modules[__name__])

__all__ = ["STRATEGIES", "Strategy", "sample_negatives", "sample_with_positives"]
