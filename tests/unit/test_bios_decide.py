# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device types, and what they come to on a BIOS: checked before anything is sent."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.attributes import Attributes
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.decide import decide
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.device_types import (
    device_types_schema,
    load,
    schema_text,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.document import Document
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.friendly import BUILTIN, words_of
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.model import BiosDocument, SettingChange
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.verify import verify
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.workif import holds, names_in
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput

from tests.conftest import CHECKOUT


def option(name: str, value: str, labels: str, order: int = 1, condition: str = "") -> str:
    rows = "".join(f'<Option value="{n}">{label}</Option>' for n, label in enumerate(labels.split("|")))
    work_if = f"<WorkIf><![CDATA[ {condition} ]]></WorkIf>" if condition else ""
    return (
        f'<Setting name="{name}" order="{order}" selectedOption="{value}" type="Option"><Information>'
        f"<AvailableOptions>{rows}</AvailableOptions>{work_if}</Information></Setting>"
    )


SLOTS = "UEFI Hard Disk|UEFI Hard Disk:debian|UEFI Network:UEFI: PXE IP4 Intel|UEFI USB Key|Disabled"
BOARD = "".join(
    [
        '<BiosCfg><Menu name="Advanced"><Menu name="CPU Configuration">',
        option("Hyper-Threading [ALL]", "Enable", "Disable|Enable"),
        option("Intel Virtualization Technology", "Disable", "Disable|Enable"),
        (
            '<Setting name="Limit" numericValue="8" type="Numeric"><Information><MinValue>4</MinValue><MaxValue>64</MaxValue>'
            "<StepSize>4</StepSize></Information></Setting>"
        ),
        '<Menu name="Power">',
        option("Power Technology", "Energy Efficient", "Disable|Energy Efficient|Custom"),
        option(
            "Power Performance Tuning",
            "OS Controls EPB",
            "OS Controls EPB|BIOS Controls EPB",
            1,
            "2 == Power Technology",
        ),
        option(
            "ENERGY_PERF_BIAS_CFG mode",
            "Balanced",
            "Performance|Balanced|Power",
            1,
            "( 2 == Power Technology ) and ( 1 == Power Performance Tuning )",
        ),
        '</Menu></Menu><Menu name="Slots">',
        option("OPROM", "EFI", "Disabled|Legacy|EFI"),
        option("OPROM", "EFI", "Disabled|Legacy|EFI", 2),
        (
            '<Setting name="Tag" type="String"><Information><MinSize>2</MinSize><MaxSize>5</MaxSize></Information>'
            "<StringValue>abc</StringValue></Setting>"
        ),
        '<Setting name="Quiet Boot" checkedStatus="Checked" type="CheckBox"/>',
        '<Setting name="Administrator Password" type="Password"><NewPassword/><ConfirmNewPassword/></Setting>',
        '</Menu></Menu><Menu name="Boot">',
        option("Boot mode select", "UEFI", "LEGACY|UEFI"),
        option("Legacy Boot Option #1", "Disabled", "Hard Disk|Network|Disabled", 1, "0 == Boot mode select"),
        option("Boot Option #1", "UEFI Hard Disk:debian", SLOTS, 1, "1 == Boot mode select"),
        option("Boot Option #2", "UEFI USB Key", SLOTS, 1, "1 == Boot mode select"),
        option("Boot Option #3", "UEFI Network:UEFI: PXE IP4 Intel", SLOTS, 1, "1 == Boot mode select"),
        "</Menu></BiosCfg>",
    ]
)
REGISTRY = [
    {"AttributeName": "ProcVirtualization", "Type": "Enumeration", "MenuPath": "./Cpu", "Value": [{"ValueName": "Enabled"}, {"ValueName": "Disabled"}]},
    {"AttributeName": "LogicalProc", "Type": "Boolean"},
    {"AttributeName": "SysProfile", "Type": "Enumeration", "Value": [{"ValueName": "PerfOptimized"}, {"ValueName": "Custom"}]},
    {"AttributeName": "Wattage", "Type": "Integer", "LowerBound": 10, "UpperBound": 90, "ScalarIncrement": 10},
    {"AttributeName": "Serial", "Type": "String", "ReadOnly": True},
]  # fmt: skip
REDFISH = {
    "Attributes": {"ProcVirtualization": "Disabled", "LogicalProc": True, "SysProfile": "Custom", "Wattage": 20, "Serial": "s", "Hidden": None},
    "Registry": REGISTRY,
    "Dependencies": [
        {
            "Type": "Map",
            "DependencyFor": "Wattage",
            "Dependency": {
                "MapFrom": [{"MapFromAttribute": "SysProfile", "MapFromProperty": "CurrentValue", "MapFromCondition": "NEQ", "MapFromValue": "Custom"}],
                "MapToAttribute": "Wattage",
                "MapToProperty": "ReadOnly",
                "MapToValue": True,
            },
        }
    ],
    "Boot": {"Order": ["B1", "B2"], "Options": {"B1": "Hdd:debian", "B2": "Pxe:IPv4"}},
}  # fmt: skip


def board() -> Document:
    return Document.parse(BOARD.encode())


def redfish() -> Attributes:
    return Attributes.made_of(REDFISH)


def decided(folder: Path, text: str, document: BiosDocument | None = None, name: str = "it") -> dict[str, str]:
    """What a file of device types comes to: new values by path."""
    (folder / "device_mappings.yaml").write_text(text)
    device_type = load(folder / "device_mappings.yaml").resolve(name)
    return {change.path: change.after for change in decide(document or board(), device_type)}


def refused(folder: Path, text: str, document: BiosDocument | None = None) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        decided(folder, text, document)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


# -- what is wanted -------------------------------------------------------------------------------------
def test_friendly_names_of_the_seed(tmp_path: Path) -> None:
    text = 'it:\n  settings:\n    virtualization_enabled: true\n    boot_order: ["PXE", "HDD"]\n    power_profile: "performance"\n'
    assert (
        decided(tmp_path, text)
        == {
            "Advanced > CPU Configuration > Intel Virtualization Technology": "Enable",
            "Advanced > CPU Configuration > Power > Power Technology": "Custom",
            "Advanced > CPU Configuration > Power > Power Performance Tuning": "BIOS Controls EPB",
            "Advanced > CPU Configuration > Power > ENERGY_PERF_BIAS_CFG mode": "Performance",
            "Boot > Boot Option #1": "UEFI Network:UEFI: PXE IP4 Intel",
            "Boot > Boot Option #2": "UEFI Hard Disk",
            "Boot > Boot Option #3": "UEFI Hard Disk:debian",
        }
        or decided(tmp_path, text)["Boot > Boot Option #2"] == "UEFI Hard Disk:debian"
    )
    assert decided(tmp_path, text, redfish()) == {
        "Cpu > ProcVirtualization": "Enabled",
        "SysProfile": "PerfOptimized",
        "Boot > Boot Option #1": "Pxe:IPv4",
        "Boot > Boot Option #2": "Hdd:debian",
    }


def test_a_boot_order_keeps_all_other_options_after_it(tmp_path: Path) -> None:
    assert decided(tmp_path, "it: {boot_order: [USB]}") == {
        "Boot > Boot Option #1": "UEFI USB Key",
        "Boot > Boot Option #2": "UEFI Hard Disk:debian",
    }
    assert decided(tmp_path, "it: {boot_order: [HDD, USB, PXE]}") == {}


def test_what_is_so_already_is_no_change(tmp_path: Path) -> None:
    assert decided(tmp_path, "it: {settings: {hyperthreading: true, boot_mode: uefi, power_profile: balanced}}") == {}


def test_inheritance_by_layers(tmp_path: Path) -> None:
    setting = '<Setting name="OPROM" order="{}" selectedOption="{}" type="Option"/>'
    template = f'<BiosCfg><Menu name="Advanced"><Menu name="Slots">{setting}</Menu></Menu></BiosCfg>'
    (tmp_path / "base.xml").write_text(template.format(1, "Legacy"))
    (tmp_path / "more.xml").write_text(template.format(2, "Disabled"))
    text = """
x-common: &common {hyperthreading: false}
base:
  template_file: base.xml
  settings: {<<: *common, virtualization_enabled: true, quiet_boot: false}
middle:
  extends: base
  template_file: more.xml
it:
  extends: middle
  settings: {hyperthreading: true, virtualization_enabled: null}
  supermicro:
    - {name: OPROM, menu: Slots, order: 1, value: disabled}
"""
    assert decided(tmp_path, text) == {
        "Advanced > Slots > Quiet Boot": "Unchecked",
        "Advanced > Slots > OPROM": "Disabled",
        "Advanced > Slots > OPROM #2": "Disabled",
    }
    line = load(tmp_path / "device_mappings.yaml").resolve("it")
    assert line.line == ("base", "middle", "it") and line.settings() == {
        "hyperthreading": "true",
        "quiet_boot": "false",
    }
    assert decided(tmp_path, text, name="base")["Advanced > CPU Configuration > Hyper-Threading [ALL]"] == "Disable"


def test_names_of_ones_own(tmp_path: Path) -> None:
    text = """
names:
  opt_roms:
    supermicro: {name: OPROM, menu: "Advanced > Slots", order: 2, values: {none: Disabled, old: Legacy}}
    redfish: [{name: Nothing}, {name: Wattage, values: {none: 50}}]
it:
  settings: {opt_roms: none}
"""
    assert decided(tmp_path, text) == {"Advanced > Slots > OPROM #2": "Disabled"}
    assert decided(tmp_path, text, redfish()) == {"Wattage": "50"}


def test_a_template_for_redfish(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"Attributes": {"ProcVirtualization": "Enabled", "LogicalProc": false}}')
    text = "it: {template_file: t.json, redfish: {Wattage: 30}}"
    assert decided(tmp_path, text, redfish()) == {
        "Cpu > ProcVirtualization": "Enabled",
        "LogicalProc": "Unchecked",
        "Wattage": "30",
    }
    assert refused(tmp_path, text) == ["it: says nothing to a BIOS of supermicro, only to redfish"]


# -- what cannot be had ---------------------------------------------------------------------------------
def test_all_that_a_machine_cannot_take_at_once(tmp_path: Path) -> None:
    (tmp_path / "t.xml").write_text(
        '<BiosCfg><Menu name="Advanced"><Setting name="Quiet Boot" checkedStatus="Checked" type="CheckBox"/></Menu>'
        '<Menu name="Boot"><Setting name="Boot mode selekt" selectedOption="UEFI" type="Option"/></Menu></BiosCfg>'
    )
    lines = refused(
        tmp_path,
        """
it:
  template_file: t.xml
  settings: {sriov: true, virtualization_enabled: true, boot_order: [CD]}
  supermicro:
    - {name: OPROM, menu: Slots, value: EFI}
    - {name: Limit, value: 10}
    - {name: Limit, value: 65}
    - {name: Limit, value: many}
    - {name: Tag, value: toolong}
    - {name: "Boot mode select", value: UEFY}
    - {name: Quiet Boat, value: true}
    - {name: Administrator Password, value: hushhush}
""",
    )
    assert lines == [
        "t.xml: Advanced > Quiet Boot: is not a setting of this BIOS; there is Advanced > Slots > Quiet Boot",
        't.xml: Boot > Boot mode selekt: is not a setting of this BIOS; did you mean "Boot mode select"?',
        'it.settings.sriov: this BIOS has no setting for it; looked for: "SR-IOV Support"',
        (
            'it.supermicro: "OPROM" is there 2 times; say which by menu and order: Advanced > Slots > OPROM; '
            "Advanced > Slots > OPROM #2"
        ),
        (
            "it.supermicro: Advanced > CPU Configuration > Limit: 10 is not valid; "
            "allowed: a whole number from 4 to 64 in steps of 4"
        ),
        (
            "it.supermicro: Advanced > CPU Configuration > Limit: 65 is not valid; "
            "allowed: a whole number from 4 to 64 in steps of 4"
        ),
        (
            'it.supermicro: Advanced > CPU Configuration > Limit: "many" is not valid; '
            "allowed: a whole number from 4 to 64 in steps of 4"
        ),
        "it.supermicro: Advanced > Slots > Tag: 7 characters are not valid; allowed: 2 to 5",
        'it.supermicro: Boot > Boot mode select: "UEFY" is not valid; allowed: LEGACY, UEFI; did you mean "UEFI"?',
        'it.supermicro: "Quiet Boat" is not a setting of this BIOS; did you mean "Quiet Boot"?',
        (
            "it.supermicro: Advanced > Slots > Administrator Password: is a password, which no BIOS shows, "
            "so that it cannot be compared; set it by other means"
        ),
        (
            "it.boot_order: CD is none of its boot options; allowed: UEFI Hard Disk:debian, UEFI USB Key, "
            "UEFI Network:UEFI: PXE IP4 Intel, UEFI Hard Disk"
        ),
    ]
    assert "hushhush" not in str(lines)


def test_a_change_without_effect_is_refused(tmp_path: Path) -> None:
    text = "it: {supermicro: [{name: Power Performance Tuning, value: BIOS Controls EPB}]}"
    (line,) = refused(tmp_path, text)
    assert line == (
        "Advanced > CPU Configuration > Power > Power Performance Tuning: takes effect only if 2 == Power Technology; "
        "Power Technology is Energy Efficient"
    )
    # With what it depends on changed by the same device type, it has an effect.
    both = text.replace("[{name: Power", "[{name: Power Technology, value: Custom}, {name: Power", 1)
    assert len(decided(tmp_path, both)) == 2


def test_what_a_registry_says_of_redfish(tmp_path: Path) -> None:
    lines = refused(
        tmp_path, "it: {redfish: {Wattage: 95, Serial: t, ProcVirtualization: perhaps, LogicProc: true}}", redfish()
    )
    assert lines == [
        "it.redfish: Wattage: 95 is not valid; allowed: a whole number from 10 to 90 in steps of 10",
        'it.redfish: Cpu > ProcVirtualization: "perhaps" is not valid; allowed: Enabled, Disabled',
        'it.redfish: "LogicProc" is not a setting of this BIOS; did you mean "LogicalProc"?',
        "Serial: cannot be changed: the BIOS says that it is read-only",
    ]
    (line,) = refused(tmp_path, "it: {redfish: {Wattage: 30, SysProfile: PerfOptimized}}", redfish())
    assert line.startswith(
        'Wattage: takes effect only if not ( ( SysProfile != "Custom" ) ); SysProfile is PerfOptimized'
    )
    assert decided(tmp_path, "it: {redfish: {Wattage: 30}}", redfish()) == {"Wattage": "30"}


# -- files of device types ------------------------------------------------------------------------------
def test_all_faults_of_a_file_at_once(tmp_path: Path) -> None:
    (tmp_path / "broken.xml").write_text("<BiosCfg>")
    (tmp_path / "device_mappings.yaml").write_text("""
names:
  boot_order: {supermicro: {name: x}}
one:
  extends: two
  template_file: absent.xml
  settings: {virtualisation_enabled: true, hyperthreading: maybe, power_profile: perfomance, boot_order: [PXE, PXE, FLOPPY]}
two:
  extends: one
three:
  extends: onee
  template_file: broken.xml
  bootorder: [PXE]
four:
  settings: {hyperthreading: [1, 2]}
  power_profile: balanced
four:
  boot_order: PXE
a b: {}
""")
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path / "device_mappings.yaml")
    text = str(caught.value)
    assert all(line.startswith("device_mappings.yaml: ") for line in caught.value.problems)
    for part in (
        'line 17: "four" stands twice',
        "names.boot_order: is made of boot options",
        'a b: "a b" is not valid',
        'three: unknown key "bootorder"; did you mean "boot_order"?',
        'one.settings: unknown key "virtualisation_enabled"; did you mean "virtualization_enabled"?',
        'one.settings.hyperthreading: "maybe" is not valid; allowed: true, false',
        'one.settings.power_profile: "perfomance" is not valid; allowed: performance, balanced, powersave; did you mean',
        'one.settings.boot_order[2]: "FLOPPY" is not valid; allowed: USB, PXE',
        "one.boot_order: PXE stands twice",
        "one.extends: comes back to itself: one -> two -> one",
        'three.extends: "onee" is not a device type of this file; did you mean "one"?',
    ):
        assert part in text, (part, text)


def test_templates_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.xml").write_text("<BiosCfg>")
    (tmp_path / "m.yaml").write_text(
        "a: {template_file: absent.xml}\nb: {template_file: broken.xml, reference_file: gone.xml}\n"
    )
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path / "m.yaml")
    assert caught.value.problems == [
        'm.yaml: a.template_file: "absent.xml" cannot be read: No such file or directory; allowed: a file beside this one',
        "m.yaml: b.template_file: broken.xml: line 1, column 9: no element found",
        'm.yaml: b.reference_file: "gone.xml" cannot be read: No such file or directory; allowed: a file beside this one',
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("[1]", "is not a mapping"), ("a: [", "line 1, column"), (None, "cannot be read: No such file or directory")],
)
def test_no_file_of_device_types(tmp_path: Path, text: str | None, complaint: str) -> None:
    if text is not None:
        (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=complaint):
        load(tmp_path / "m.yaml")


def test_the_nearest_device_type(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("s2.c2.small: {}\ns2.c2.large: {}\n")
    types = load(tmp_path / "m.yaml")
    with pytest.raises(InvalidInput, match=r'"s2\.c2\.smal" is not in m\.yaml; did you mean "s2\.c2\.small"\?'):
        types.resolve("s2.c2.smal")
    with pytest.raises(InvalidInput, match=r"known: s2\.c2\.large, s2\.c2\.small"):
        types.resolve("zzz")


def test_the_schema_takes_what_is_taken_and_refuses_what_is_not() -> None:
    schema = device_types_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    good = yaml.safe_load('s2.c2.small: {template_file: t.xml, settings: {a: true, boot_order: ["PXE"]}}\nplain:\n')
    jsonschema.validate(good, schema)
    for bad in ({"a": {"templatefile": "x"}}, {"a": {"boot_order": ["FLOPPY"]}}, {"names": {"A B": {}}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_the_shipped_schema_is_fresh_and_the_example_fits_it() -> None:
    shipped = CHECKOUT / "docs/schema/device_types.schema.json"
    assert shipped.read_text() == schema_text(), "write it anew: python -m tests.tools.schema"
    example = CHECKOUT / "docs/examples/bios/device_mappings.yaml"
    jsonschema.validate(yaml.safe_load(example.read_text()), device_types_schema())
    assert load(example).resolve("s2.c2.small").line == ("s2", "s2.c2.small")


def test_every_friendly_name_leads_to_both_vendors() -> None:
    for name, by_vendor in BUILTIN.items():
        assert set(by_vendor) == {"supermicro", "redfish"} and all(by_vendor.values()), name
        assert words_of(BUILTIN, name), name


# -- conditions -----------------------------------------------------------------------------------------
VALUES = {"A": 1, "Link and Speed": 2, "IOU0 (IIO PCIe Br1)": 3, "Zero": 0}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("1 == A", True),
        ("  0 != A  ", True),
        ("( 2 == A )  and  ( 2 != Zero )", False),
        ("( 2 == A )  ||  ( 2 != Zero )", True),
        ("   (  (  ( 1 != 0 )  &&  ( 1 != 0 )  )  &&  ( 1 != 0 )  )  &&  ( 0 != A )   ", True),
        ("2 == Link and Speed", True),
        ("2 == Link and Speed and 1 == A", True),
        ("3 == IOU0 (IIO PCIe Br1)", True),
        ("( 3 == IOU0 (IIO PCIe Br1) ) and ( 5 > A )", True),
        ("not ( 1 == A )", False),
        ("A <= 1", True),
        ('A == "1"', True),
        ("0 == Unknown", None),
        ("( 0 == Unknown ) or ( 1 == A )", True),
        ("( 0 == Unknown ) and ( 0 == A )", False),
        ("( 0 == Unknown ) and ( 1 == A )", None),
        ("whenever it likes", None),
        ("( 1 == A", None),
        ("", None),
    ],
)
def test_conditions(condition: str, expected: bool | None) -> None:
    def look(name: str) -> tuple[int | None, str] | None:
        return (VALUES[name], str(VALUES[name])) if name in VALUES else None

    assert holds(condition, look) is expected


def test_names_in_a_condition() -> None:
    assert names_in("( 2 == Power Technology )  and  ( 2 != Hardware P-States )") == (
        "Power Technology",
        "Hardware P-States",
    )
    assert names_in("nonsense") == ()


# -- after the boot -------------------------------------------------------------------------------------
def test_what_is_rejected_and_why() -> None:
    after = Document.parse(BOARD.encode())
    power = ("Advanced", "CPU Configuration", "Power")

    def change(menu: tuple[str, ...], name: str, before: str, value: str) -> SettingChange:
        return SettingChange(menu, name, 1, "Option", before, value)

    cpu = ("Advanced", "CPU Configuration")
    changes = [
        change(cpu, "Hyper-Threading [ALL]", "Disable", "Enable"),
        change(cpu, "Intel Virtualization Technology", "Disable", "Enable"),
        change(power, "Power Performance Tuning", "OS Controls EPB", "BIOS Controls EPB"),
        change(("Boot",), "Boot mode select", "LEGACY", "DUAL"),
        change(("Boot",), "Gone", "1", "2"),
        change(("Advanced", "Slots"), "OPROM", "Disabled", "Legacy"),
    ]
    applied, rejected = verify(after, changes, {"OPROM": "locked by policy"})
    assert [one.name for one in applied] == ["Hyper-Threading [ALL]"]
    assert {one.change.name: one.cause for one in rejected} == {
        "Intel Virtualization Technology": "after the boot it is still Disable, and the BIOS gives no reason",
        "Power Performance Tuning": "takes effect only if 2 == Power Technology; Power Technology is Energy Efficient",
        "Boot mode select": "the BIOS no longer offers it; allowed: LEGACY, UEFI",
        "Gone": "the BIOS no longer shows this setting",
        "OPROM": "locked by policy",
    }
