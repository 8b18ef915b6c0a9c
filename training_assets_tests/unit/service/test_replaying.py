"""Refused rows judged anew, receipts announced again, and a workspace of tenants."""

import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import yaml

from training_assets.service.bodies import unpack
from training_assets.service.core import Core
from training_assets.service.receipts import Asked
from training_assets.service.replaying import receipts_since, replay, republish
from training_assets.service.settings import ServiceSettings
from training_assets.service.workspaces import write_workspace
from training_assets_tests.support.service import HEADER, raw_rows
from training_assets_tests.unit.service.test_uploads import Log

CONTENT = HEADER + "u1,i,click,2026-11-18T10:00:00Z\nu2,i,stare,2026-11-18T10:00:00Z\n"


def test_rows_are_taken_once_a_rule_has_changed(tmp_path: Path, monkeypatch) -> None:
    core = Core(ServiceSettings(lake=str(tmp_path)))
    asked = Asked("default", "interactions", mode="partial", backfill=True)
    body = unpack(io.BytesIO(CONTENT.encode()), {}, core.settings)
    receipt = core.uploads("default").accept(asked, body).receipt
    assert receipt.rejected == 1
    unchanged = replay(core, "default", receipt)
    assert unchanged is not None
    assert (unchanged.accepted, unchanged.is_new) == (0, False)
    assert replay(core, "default", receipt, code="too_long") is None
    monkeypatch.setattr("training_assets.service.judging.judge_rows", lambda *_, **__: [])
    found = [replay(core, "default", receipt, code="not_allowed") for _ in range(2)]
    assert [(one.accepted, one.is_new) for one in found if one] == [(1, True), (1, False)]
    assert sorted(row["user_id"] for row in raw_rows(tmp_path)) == ["u1", "u2"]
    core.close()


def test_receipts_of_a_day_are_announced_again(tmp_path: Path) -> None:
    core = Core(ServiceSettings(lake=str(tmp_path)))
    good = CONTENT.replace("stare", "click").encode()
    body = unpack(io.BytesIO(good), {}, core.settings)
    receipt = core.uploads("default").accept(Asked("default", "interactions"), body).receipt
    store, log = core.tenants.store("default"), Log()
    today = datetime.now(UTC).date()
    assert republish(log, receipts_since(store, today - timedelta(days=1))) == (1, 0)
    assert log.events == [receipt.id]
    assert republish(log, receipts_since(store, date.today() + timedelta(days=2))) == (0, 0)
    log.is_up = False
    assert republish(log, receipts_since(store, today - timedelta(days=1))) == (0, 1)
    core.close()


def test_workspace_has_a_location_for_each_tenant(tmp_path: Path) -> None:
    core = Core(ServiceSettings(lake=str(tmp_path / "l"), tenants=str(tmp_path / "t")))
    for tenant in ("acme", "other"):
        core.tenants.register(tenant)
    write_workspace(core.tenants, tmp_path / "w")
    found = yaml.safe_load((tmp_path / "w/workspace.yaml").read_text())
    assert [one["python_file"]["location_name"] for one in found["load_from"]] == ["acme", "other"]
    for one in found["load_from"]:
        module = (tmp_path / "w" / one["python_file"]["relative_path"]).read_text()
        compile(module, "module", "exec")
        assert f"{tmp_path}/t/{one['python_file']['location_name']}'" in module
