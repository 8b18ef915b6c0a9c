"""What a store promises, whatever holds it: whole versions, one pointer, answers with their age.

The pointer is one small record with a compare-and-swap. A load writes its rows under a name of its
own, which nobody reads, and then puts that name into the pointer, unless a newer day has come
meanwhile. Readers take the pointer, then rows of that one version; where rows are missing they look
whether the version is still one of those kept, and if not, begin anew.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Literal

from training_assets.errors import DayNotPublishedError, SettingsError, StoreError
from training_assets.online.answers import (
    EXPIRED,
    FOUND,
    NOT_FOUND,
    STALE,
    TABLES,
    Answer,
    Loaded,
    State,
    TableState,
    Version,
)
from training_assets.online.backend import Backend, Id, Rows, VersionGoneError
from training_assets.online.encoding import decoder_of

STALE_AFTER: Final = timedelta(hours=36)
EXPIRES_AFTER: Final = timedelta(days=7)
KEPT_VERSIONS: Final = 3
_ATTEMPTS: Final = 20
# A load that has not ended after that long was killed.
_ABANDONED_AFTER: Final = timedelta(hours=12)
_INT64: Final = range(-(2**63), 2**63)


def _now() -> datetime:
    return datetime.now(UTC)


class OnlineStore:
    """Features by id: ``users`` and ``items`` read, ``load`` and ``rollback`` change what is read.

    May be used by several threads. ``clock`` gives the time by which ages are judged.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        stale_after: timedelta = STALE_AFTER,
        expires_after: timedelta = EXPIRES_AFTER,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._backend, self._clock = backend, clock
        self.stale_after, self.expires_after = stale_after, expires_after
        self._parsed: dict[str, tuple[bytes, TableState]] = {}

    @property
    def is_local(self) -> bool:
        """Whether a read waits for nothing but a file of this machine."""
        return self._backend.is_local

    @property
    def url(self) -> str:
        return self._backend.url

    def __repr__(self) -> str:
        return f"open_store({self.url!r})"

    def __enter__(self) -> "OnlineStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._backend.close()

    # --- reading ----------------------------------------------------------------------------------

    def users(
        self,
        ids: Sequence[Id],
        *,
        features: Sequence[str] | None = None,
        version: str | None = None,
    ) -> list[Answer]:
        """An answer for each customer id, in order, all of one version: see ``get``."""
        return self.get("users", ids, features=features, version=version)

    def items(
        self,
        ids: Sequence[Id],
        *,
        features: Sequence[str] | None = None,
        version: str | None = None,
    ) -> list[Answer]:
        """An answer for each item id, in order, all of one version: see ``get``."""
        return self.get("items", ids, features=features, version=version)

    def get(
        self,
        table: str,
        ids: Sequence[Id],
        *,
        features: Sequence[str] | None = None,
        version: str | None = None,
    ) -> list[Answer]:
        """Answers of ``users`` or ``items``; ``features`` are all by default.

        ``version`` is one of ``versions`` by its name, the current one by default. Raises
        ``SettingsError`` for an unknown feature or a single id in the place of several,
        ``DayNotPublishedError`` for an unknown version, ``StoreError`` where the place does not
        answer.
        """
        _require_table(table)
        if isinstance(ids, str | bytes):
            raise SettingsError(
                f"online: ids is {ids!r}; expected several. Put it into a list: [{ids!r}]."
            )
        for _ in range(_ATTEMPTS):
            state = self._state(table)[0]
            chosen = self._chosen(state, table, version)
            if chosen is None:
                return [Answer(asked, NOT_FOUND) for asked in ids]
            try:
                keys = [_key(asked, chosen) for asked in ids]
                wanted = list(dict.fromkeys(key for key in keys if key is not None))
                found = self._backend.read(table, chosen.name, wanted) if wanted else {}
            except VersionGoneError:
                continue
            if len(found) < len(wanted) and self._state(table)[0].version(chosen.name) is None:
                continue
            return self._answers(chosen, ids, keys, found, _columns(chosen, features))
        raise StoreError(
            f"{self.url}: versions of {table} came and went {_ATTEMPTS} times while they were "
            "read; expected one to stay. Look at what loads them."
        )

    def _chosen(self, state: TableState, table: str, name: str | None) -> Version | None:
        found = state.version(name or state.current)
        if name is not None and found is None:
            kept = ", ".join(version.name for version in state.versions) or "none"
            raise DayNotPublishedError(
                f"online: {table} has no version {name}; expected one of those kept ({kept}). "
                "Name one of them, or none."
            )
        return found

    def _answers(
        self,
        version: Version,
        ids: Sequence[Id],
        keys: Sequence[Id | None],
        found: dict[Id, str | bytes],
        wanted: Sequence[str] | None,
    ) -> list[Answer]:
        age = version.age(self._clock())
        is_expired = age > self.expires_after
        state: State = STALE if age > self.stale_after else FOUND
        decode = decoder_of(version.columns)
        answers = []
        for asked, key in zip(ids, keys, strict=True):
            if key is None or key not in found:
                answers.append(Answer(asked, NOT_FOUND, None, version.dt, version.name, age))
                continue
            if is_expired:
                answers.append(Answer(asked, EXPIRED, None, version.dt, version.name, age))
                continue
            values = decode(found[key])
            if wanted is not None:
                values = {name: values[name] for name in wanted}
            answers.append(Answer(asked, state, values, version.dt, version.name, age))
        return answers

    def current(self, table: str) -> Version | None:
        """The version that readers see; None where nothing was loaded."""
        _require_table(table)
        state = self._state(table)[0]
        return state.version(state.current)

    def versions(self, table: str) -> list[Version]:
        """Versions that are kept, in the order in which they were loaded."""
        _require_table(table)
        return list(self._state(table)[0].versions)

    # --- changing what is read --------------------------------------------------------------------

    def load(
        self,
        table: str,
        dt: date,
        rows: Rows,
        *,
        content: str,
        columns: Sequence[tuple[str, str]],
        id_type: Literal["long", "string"] = "long",
        num_rows: int = 0,
        force: bool = False,
    ) -> Loaded:
        """Have readers see these rows of a day, all at once; ``load_day`` takes them from the lake.

        ``rows`` are blocks of (ids, JSON arrays of the values of ``columns``); ``content`` is the
        hash of the day. An older day than the one that is there changes nothing, nor does a day
        that was rolled back, unless ``force``. A load that fails changes nothing.
        """
        _require_table(table)
        name = f"{dt.isoformat()}-{content[:16]}-{secrets.token_hex(3)}"
        new = Version(
            name,
            dt,
            content,
            num_rows,
            id_type,
            tuple((n, kind) for n, kind in columns),
            self._clock(),
        )
        state = self._state(table)[0]
        if (settled := _settled(state, new, force)) is not None:
            return settled
        self._change(table, lambda old: replace(old, pending={**old.pending, name: _text(new)}))
        try:
            self._backend.write(table, name, rows)
            outcome = self._point_to(table, new, force)
        except BaseException:
            self._abandon(table, name)
            raise
        if not outcome.is_new:
            self._abandon(table, name)
        self._sweep(table)
        return outcome

    def rollback(self, table: str, to: str | date | None = None) -> Version:
        """Have readers see an older version again: the one loaded before, or by name or day.

        The version that is left is not loaded again by itself: see ``load``. Raises
        ``DayNotPublishedError`` where there is no such version.
        """
        _require_table(table)
        chosen: list[Version] = []

        def back(state: TableState) -> TableState:
            target = _rollback_target(state, to)
            if target is None:
                kept = ", ".join(version.name for version in state.versions) or "none"
                wanted = "before the current one" if to is None else to
                raise DayNotPublishedError(
                    f"online: {table} has no version {wanted}; expected one of those kept "
                    f"({kept}). Load one first, or name one of them."
                )
            chosen[:] = [target]
            left = state.version(state.current)
            names = [mark for mark in state.rolled_back if mark != _mark(target)]
            if left is not None and left.name != target.name:
                names.append(_mark(left))
            return replace(state, current=target.name, rolled_back=tuple(names[-20:]))

        self._change(table, back)
        return chosen[0]

    # --- the pointer ------------------------------------------------------------------------------

    def _state(self, table: str) -> tuple[TableState, Any]:
        data, token = self._backend.read_state(table)
        if data is None:
            return TableState(), token
        known = self._parsed.get(table)
        if known is None or known[0] != data:
            known = self._parsed[table] = data, TableState.from_json(data)
        return known[1], token

    def _change(self, table: str, change: Callable[[TableState], TableState | None]) -> None:
        """Change the state as it is then; ``change`` may give None to leave it."""
        for _ in range(_ATTEMPTS):
            state, token = self._state(table)
            changed = change(state)
            if changed is None or self._backend.swap_state(table, changed.to_json(), token):
                return
        raise StoreError(
            f"{self.url}: the pointer of {table} was changed by others {_ATTEMPTS} times in a row; "
            "nothing was changed here. Run it again when other loads have ended."
        )

    def _point_to(self, table: str, new: Version, force: bool) -> Loaded:
        outcome: list[Loaded] = []

        def point(state: TableState) -> TableState | None:
            settled = _settled(state, new, force)
            outcome[:] = [settled or Loaded(new, True)]
            if settled is not None:
                return None
            pending = {name: at for name, at in state.pending.items() if name != new.name}
            marks = tuple(mark for mark in state.rolled_back if mark != _mark(new))
            return TableState(new.name, (*state.versions, new), marks, pending)

        self._change(table, point)
        return outcome[0]

    def _sweep(self, table: str) -> None:
        """Let go of versions beyond those kept, and of what killed loads left."""
        gone: list[str] = []

        def trim(state: TableState) -> TableState | None:
            kept = state.versions[-KEPT_VERSIONS:]
            if (current := state.version(state.current)) and current not in kept:
                kept = (current, *kept[1:])
            since = self._clock() - _ABANDONED_AFTER
            lost = [n for n, at in state.pending.items() if datetime.fromisoformat(at) < since]
            gone[:] = [v.name for v in state.versions if v not in kept] + lost
            if not gone:
                return None
            pending = {name: at for name, at in state.pending.items() if name not in lost}
            return replace(state, versions=kept, pending=pending)

        self._change(table, trim)
        for name in gone:
            self._backend.drop(table, name)

    def _abandon(self, table: str, name: str) -> None:
        """Remove what a load wrote that nobody reads."""
        self._backend.drop(table, name)

        def forget(state: TableState) -> TableState | None:
            if name not in state.pending:
                return None
            pending = {other: at for other, at in state.pending.items() if other != name}
            return replace(state, pending=pending)

        self._change(table, forget)


def _settled(state: TableState, new: Version, force: bool) -> Loaded | None:
    """What becomes of a load without a new version; None where it gives one."""
    current = state.version(state.current)
    if current is not None and (current.dt, current.content) == (new.dt, new.content):
        return Loaded(current, False)
    if force or current is None:
        return None
    if new.dt < current.dt:
        return Loaded(current, False, "older")
    return Loaded(current, False, "rolled_back") if _mark(new) in state.rolled_back else None


def _mark(version: Version) -> str:
    return f"{version.dt.isoformat()} {version.content}"


def _text(version: Version) -> str:
    return version.loaded_at.isoformat()


def _rollback_target(state: TableState, to: str | date | None) -> Version | None:
    """By name, by day (the newest load of it), or the version before the current one."""
    if to is None:
        places = [n for n, found in enumerate(state.versions) if found.name == state.current]
        return state.versions[places[0] - 1] if places and places[0] > 0 else None
    wanted = str(to)
    matches = [v for v in state.versions if wanted in (v.name, v.dt.isoformat())]
    return matches[-1] if matches else None


def _require_table(table: str) -> None:
    if table not in TABLES:
        raise SettingsError(
            f"online: {table!r} is not served; expected {' or '.join(TABLES)}. Name one of them."
        )


def _columns(version: Version, features: Sequence[str] | None) -> Sequence[str] | None:
    if features is None:
        return None
    known = {name for name, _ in version.columns}
    for name in features:
        if name not in known:
            raise SettingsError(
                f"online: {name!r} is no feature of version {version.name}; expected some of "
                f"{', '.join(sorted(known))}. Correct the name."
            )
    return features


def _key(asked: Any, version: Version) -> Id | None:
    """The id as the version has it; None for one that it cannot have."""
    if version.id_type == "string":
        return str(asked)
    if isinstance(asked, bool):
        return None
    try:
        number = int(asked)
    except (TypeError, ValueError, OverflowError):
        return None
    is_same = str(number) == asked.strip() if isinstance(asked, str) else number == asked
    return number if is_same and number in _INT64 else None
