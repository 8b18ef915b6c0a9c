"""What is said of a word in ``sources.toml`` that is not known, and which one is nearest."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Final

from training_assets.errors import SettingsError

_NAMES: Final = {
    str: "text",
    bool: "true or false",
    dict: "a table",
    list: "a list of texts",
    int: "a whole number",
}


def require_known(
    at: str, found: Mapping[str, Any], known: Collection[str], what: str = "key"
) -> None:
    """Raise ``SettingsError`` for a key that is not known."""
    for key in found:
        if key not in known:
            raise SettingsError(
                f"{at}: the {what} {key!r} is not known{nearest(key, known)}; expected one of "
                f"{', '.join(known)}. Correct it."
            )


def one_of(at: str, key: str, value: Any, known: Collection[str]) -> str:
    """The value, which is one of the known words; raises ``SettingsError``."""
    if not isinstance(value, str) or value not in known:
        raise SettingsError(
            f"{at} {key} is {value!r}{nearest(str(value), known)}; expected one of "
            f"{', '.join(known)}. Correct it."
        )
    return value


def of_type(at: str, key: str, value: Any, type_: type) -> Any:
    """The value, which is of the type; raises ``SettingsError``."""
    if not isinstance(value, type_) or (type_ is int and isinstance(value, bool)):
        raise SettingsError(f"{at} {key} is {value!r}; expected {_NAMES[type_]}. Correct it.")
    return value


def nearest(name: str, known: Collection[str]) -> str:
    """The nearest known word, as a question behind a message; nothing where none is near."""
    found = difflib.get_close_matches(name, known, 1, 0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""
