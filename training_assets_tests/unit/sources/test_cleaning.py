"""Texts as they are judged: whether all of a column are plain makes no difference to any."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.schemas import RAW_INTERACTIONS
from training_assets.sources import ids
from training_assets.sources.cleaning import clean_texts

PLAIN = st.text("!aZ~", max_size=4)
TEXTS = st.text(" \t\n\x1f!aZ~\x7f\u00a0\u00e9\u0301", max_size=4)


@given(st.lists(st.none() | PLAIN) | st.lists(st.none() | PLAIN | TEXTS), st.integers(0, 3))
def test_plain_texts_are_cleaned_like_all_others(texts: list[str | None], first: int) -> None:
    columns = dict.fromkeys(
        ("interaction_type", "user_id"), pa.array([" ", "x", *texts], pa.string()).slice(first)
    )
    found = clean_texts(RAW_INTERACTIONS, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_is_plain", lambda texts: False)
        expected = clean_texts(RAW_INTERACTIONS, columns)
    for name, values in expected.items():
        assert found[name].to_pylist() == values.to_pylist()
