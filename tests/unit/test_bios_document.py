# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SUM's BIOS files: read, changed and written so that nothing else in them changes."""

from __future__ import annotations

import html
import re

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.decide import restoring
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.document import Document
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.model import Setting, SettingChange
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from hypothesis import given, settings
from hypothesis import strategies as st
from testbed import biosdocs


def change_of(setting: Setting, after: str) -> SettingChange:
    return SettingChange(setting.menu, setting.name, setting.order, setting.type, setting.value, after)


def other_value(draw: st.DrawFn, one: biosdocs.Drawn) -> str:
    if one.type == "Option":
        return draw(st.sampled_from(one.options))
    if one.type == "CheckBox":
        return "Unchecked" if one.value == "Checked" else "Checked"
    if one.type == "Numeric":
        return str(draw(st.integers(0, 400)))
    return draw(st.text(biosdocs.characters("utf-8"), max_size=8)) + draw(
        st.sampled_from(["", "<&>\"'", "€", "\t\r\n"])
    )


@settings(max_examples=150)
@given(biosdocs.files())
def test_a_file_is_read_as_it_was_written_and_stays_so(file: biosdocs.File) -> None:
    document = Document.parse(file.data)
    assert document.encode() == file.data
    found = [(one.menu, one.name, one.order, one.type, one.value) for one in document.settings]
    assert found == [(one.menu, one.name, one.order, one.type, one.value) for one in file.settings]
    for setting, one in zip(document.settings, file.settings, strict=True):
        assert tuple(label for _number, label in setting.options) == one.options
        assert one.limits is None or (setting.least, setting.most, setting.step) == one.limits


@settings(max_examples=150)
@given(biosdocs.files(), st.data())
def test_only_what_is_changed_changes(file: biosdocs.File, data: st.DataObject) -> None:
    document = Document.parse(file.data)
    changes, wanted, pieces = [], {}, {}
    for setting, one in zip(document.settings, file.settings, strict=True):
        if data.draw(st.booleans()):
            after = data.draw(st.composite(other_value)(one))
            changes.append(change_of(setting, after))
            wanted[setting.key] = after
            if after != one.value or one.type == "Password":
                pieces |= dict.fromkeys(one.slots, after)
    changed = document.with_changes(changes)
    text = changed.encode().decode(file.encoding)
    same = biosdocs.pattern(file, pieces).fullmatch(text)
    assert same, text
    for number, after in pieces.items():
        inside = re.sub(r"^>|</\w+>$", "", same[f"p{number}"]) if file.pieces[number] == "/>" else same[f"p{number}"]
        assert html.unescape(inside) == after
    for setting in changed.settings:
        if setting.type != "Password":
            before = document.find(setting.key)
            assert before is not None and setting.value == wanted.get(setting.key, before.value)
    # The difference between the two is what was changed, no more and no less.
    really = {
        change.key: change.after for change in changes if change.type != "Password" and change.after != change.before
    }
    assert {one.key: one.after for one in restoring(document, changed)} == really


@settings(max_examples=100)
@given(biosdocs.files(), st.data())
def test_a_file_of_changes_holds_them_and_nothing_else(file: biosdocs.File, data: st.DataObject) -> None:
    document = Document.parse(file.data)
    numbers = data.draw(st.sets(st.sampled_from(range(len(file.settings)))))
    changes = [change_of(document.settings[n], data.draw(st.composite(other_value)(file.settings[n]))) for n in numbers]
    only = document.only(changes)
    assert {one.key for one in only.settings} == {change.key for change in changes}
    for change in changes:
        found = only.find(change.key)
        assert found is not None and (change.type == "Password" or found.value == change.after)
    assert b"<Help>" not in only.encode() and b"Information" not in only.encode()


def test_three_hundred_settings() -> None:
    data = biosdocs.board(300)
    document = Document.parse(data)
    assert len(document.settings) == 300 and document.encode() == data
    assert len({one.key for one in document.settings}) == 300 > len({one.name for one in document.settings})
    changes = [change_of(one, "Auto" if one.type == "Option" else "7") for one in document.settings]
    changed = document.with_changes(changes)
    assert all(one.value in ("Auto", "7") for one in changed.settings)
    back = changed.with_changes([change.back() for change in changes])
    assert back.encode() == data


def test_what_sum_writes() -> None:
    document = Document.parse(
        b"""<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>
<BiosCfg>
  <Menu name="Advanced">
    <Menu name="T States">
      <Information><WorkIf><![CDATA[  2 == Power Technology  ]]></WorkIf></Information>
      <Setting name="Software \xa9" order="2" selectedOption="Disable" type="Option">
        <Information>
          <AvailableOptions><Option value="0">Disable</Option><Option value="1">Enable</Option></AvailableOptions>
          <DefaultOption>Disable</DefaultOption><WorkIf><![CDATA[ 0 != X ]]></WorkIf>
        </Information>
      </Setting>
    </Menu>
    <Setting name="Plain" checkedStatus="Checked" type="CheckBox"><!--Checked/Unchecked--></Setting>
  </Menu>
</BiosCfg>"""
    )
    first, second = document.settings
    assert first.path == "Advanced > T States > Software © #2" and first.default == "Disable"
    assert first.work_if == ("2 == Power Technology", "0 != X") and second.work_if == ()
    assert document.only([change_of(first, "Enable")]).encode() == (
        b'<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>\n<BiosCfg>\n  <Menu name="Advanced">\n'
        b'    <Menu name="T States">\n'
        b'      <Setting name="Software \xa9" order="2" selectedOption="Enable" type="Option"/>\n'
        b"    </Menu>\n  </Menu>\n</BiosCfg>\n"
    )


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no element found"),
        (b"<Other/>", "begins with Other; allowed: BiosCfg"),
        (b"<BiosCfg><Menu name='a'></BiosCfg>", "line 1, column 26: mismatched tag"),
        (b"<!DOCTYPE BiosCfg [<!ENTITY a 'b'>]><BiosCfg>&a;</BiosCfg>", "has a document type"),
        (b'<?xml version="1.0" encoding="klingon"?><BiosCfg/>', "is not text in klingon"),
        (b'<?xml version="1.0" encoding="utf-8"?><BiosCfg>\xff</BiosCfg>', "is not text in utf-8"),
        (b"<BiosCfg><Setting name='a' type='Slider'/></BiosCfg>", 'a: type "Slider" is not known; allowed: Option'),
        (b"<BiosCfg><Setting name='a' type='Option'/></BiosCfg>", "a: has no selectedOption"),
        (b"<BiosCfg><Setting name='a' order='x' numericValue='b' type='Numeric'/></BiosCfg>", '"b" is not a number'),
        (b"<BiosCfg><Setting name='a' checkedStatus='on' type='CheckBox'/></BiosCfg>", "allowed: Unchecked, Checked"),
        (b"<BiosCfg><Setting name='a' type='String'><Setting name='b' type='String'/></Setting></BiosCfg>", "within"),
    ],
)
def test_a_file_that_is_none(data: bytes, complaint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Document.parse(data, "bios.xml")
    assert complaint in str(caught.value)


def test_all_faults_of_a_file_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        Document.parse(b"<BiosCfg><Setting name='a' type='x'/><Setting name='b' type='Option'/></BiosCfg>", "f")
    assert len(caught.value.problems) == 2


def test_a_change_that_the_file_cannot_take() -> None:
    document = Document.parse(
        b"<BiosCfg><Setting name='s' type='String'><StringValue/></Setting><Setting name='t' numericValue='1'/>"
        b"<Setting name='t' numericValue='2'/></BiosCfg>"
    )
    assert document.find(((), "t", 1)) is None  # nobody could say which
    changes = [
        SettingChange((), "s", 1, "String", "", "bell \x07"),
        SettingChange((), "t", 1, "Numeric", "1", "3"),
        SettingChange((), "u", 1, "Numeric", "1", "3"),
    ]
    with pytest.raises(InvalidInput) as caught:
        document.with_changes(changes)
    assert [line.split(":")[0] for line in caught.value.problems] == ["s", "t", "u"]
    assert "more than once" in caught.value.problems[1] and "not in the document" in caught.value.problems[2]


def test_a_password_is_written_twice_and_never_read() -> None:
    document = Document.parse(
        b'<BiosCfg><Setting name="Admin" type="Password"><NewPassword>old</NewPassword><ConfirmNewPassword/></Setting>'
        b"</BiosCfg>"
    )
    (setting,) = document.settings
    assert setting.value == ""
    changed = document.with_changes([change_of(setting, "n<w")]).encode()
    assert b"<NewPassword>n&lt;w</NewPassword><ConfirmNewPassword>n&lt;w</ConfirmNewPassword>" in changed
    assert "n<w" not in repr(change_of(setting, "n<w")) and "n<w" not in str(change_of(setting, "n<w").shown())
