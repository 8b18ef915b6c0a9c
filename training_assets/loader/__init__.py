"""What the model sees: published days as batches, at the speed of memory.

No Spark, no Dagster; NumPy and pyarrow, and torch only where tensors are asked for. May import
schemas and errors. Begin with ``loader.py``.

Ten items of a ranking share one history, and all rankings of a customer on a day do too. So a
day is held as thin rows that point to histories, each history once, and padded rows are built
per batch by a gather::

    days = TrainingDays("data", batch_size=4096)
    for batch in days.tensors("cuda"):
        loss = criterion(model(*batch.inputs), batch.labels)

A tour
------
``published_days(lake)``   which days there are.
``TrainingDays``           days -> batches: layout, length, shuffle, ranks, vocabulary, resume.
``Batch``, ``Identity``    shapes and dtypes of what comes out.
``SampleBatch``            the same of ``table="training_samples"``.
``Vocabulary``             item ids -> embedding rows, from training days only.
``day_bytes``              what a day occupies in memory.

``days.tensors(device)`` gives torch tensors and ``days.dataset()`` a dataset for a DataLoader.

A day, drawn
------------
Customers 7, 8 and 9 were shown 3, 1 and 2 items. Their histories, newest first, have 2, 0 and 3
actions (a click is 1, an order 3)::

    customer         7          8    9
    actions        [ 41  40        | 52  50  51 ]     int32 [N]      N = 5
    action_types   [  1   3        |  1   1   1 ]     int8  [N]
    starts         [  0         2    2 ]              int64 [H]      H = 3
    lengths        [  2         0    3 ]              int32 [H]

    row              0   1   2   3   4   5
    impressions    [ 60  61  62  60  60  63 ]         int64 [E]      E = 6
    pointer        [  0   0   0   1   2   2 ]         int32 [E]

A batch of rows 5, 0, 1 and 3 with ``length=2``, which cuts the oldest action of customer 9::

    impressions    [ 63  60  61  60 ]                 int64 [B]      B = 4

    expanded, actions            deduplicated, actions    jagged
    [[ 52  50 ]                  [[ 41  40 ]              actions  [ 41  40  52  50 ]
     [ 41  40 ]                   [  0   0 ]              offsets  [ 0  2  2  4 ]
     [ 41  40 ]                   [ 52  50 ]]             inverse  [ 2  0  0  1 ]
     [  0   0 ]]                 inverse [ 2  0  0  1 ]

Deduplicated and jagged batches hold histories by ascending customer.
"""

from training_assets.loader.batches import Batch, Identity
from training_assets.loader.loader import TrainingDays
from training_assets.loader.memory import day_bytes
from training_assets.loader.published import published_days
from training_assets.loader.samples import SampleBatch
from training_assets.loader.vocabulary import Vocabulary

__all__ = [
    "Batch",
    "Identity",
    "SampleBatch",
    "TrainingDays",
    "Vocabulary",
    "day_bytes",
    "published_days",
]
