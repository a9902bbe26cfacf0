# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A BMC over IPMI 2.0 (RMCP+), spoken by python-ipmi without any outside program.

Numbers are those of the IPMI 2.0 specification, revision 1.1: the LAN configuration parameters of
table 23-4, the user commands of chapter 22, the chassis commands of chapter 28.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from ...common.deadline import Deadline, wait_until
from ...common.errors import Conflict, Denied, OperationFailed, RacksteadError, Unreachable, Unsupported
from .model import Boot, Endpoint, Lan, User

T = TypeVar("T")

#: A busy BMC drops packets: each is sent so often, and waited for so long, in seconds.
SENT_AGAIN = 4
ANSWER = 2.0
#: The same for one that may be leaving its address meanwhile.
LEAVING_TIMES = 2
LEAVING = 0.7
#: Whoever changes LAN settings holds this lock for well under a second; longer, and its holder is gone.
LOCK_PATIENCE = 5.0
SELF = 0x20
CHANNEL_SELF = 0x0E

LOCK, ADDRESS, SOURCE, MAC, NETMASK, GATEWAY, VLAN = 0, 3, 4, 5, 6, 12, 20
LOCK_FREE, LOCK_HELD, LOCK_COMMIT = 0, 1, 2
SOURCES = {1: "static", 2: "dhcp", 3: "bios", 4: "other"}

#: Completion codes.
UNKNOWN_COMMAND, PARAMETER_UNSUPPORTED, LOCKED, INVALID_FIELD, NO_PRIVILEGE = 0xC1, 0x80, 0x81, 0xCC, 0xD4
NOT_IN_THIS_STATE = 0xD5

POWER = {"off": 0, "on": 1, "reset": 3, "soft": 5}
DEVICES = {"none": 0, "pxe": 1, "disk": 2, "diag": 4, "cd": 5, "bios": 6, "usb": 15}
#: A user name and a password take so many bytes of the commands that set them.
LONGEST_NAME = LONGEST_PASSWORD = 16


class Ipmi:
    """One session with a BMC."""

    protocol = "ipmi"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._session: Any = None
        self._lost = False

    # -- the session ------------------------------------------------------------------------------
    def __enter__(self) -> Ipmi:
        # A packet that is lost is no reason to give up; a refused password is, at once: a second try
        # may lock the account.
        deadline = Deadline(self.endpoint.timeout)

        def opened() -> Any | None:
            try:
                return self._open()
            except Unreachable:
                if deadline.expired():
                    raise
                return None

        self._session = wait_until(opened, deadline, what=f"the BMC {self.endpoint.host}")
        return self

    def _open(self) -> Any:
        pyipmi = _library()
        rmcp = pyipmi.interfaces.create_interface(
            "rmcpplus", cipher_suite=self.endpoint.cipher_suite, keep_alive_interval=0, max_retries=SENT_AGAIN - 1
        )
        session = pyipmi.create_connection(rmcp)
        session.session.set_session_type_rmcp(self.endpoint.host, self.endpoint.port)
        session.session.set_auth_type_user(self.endpoint.username, self.endpoint.password)
        session.session.set_priv_level(self.endpoint.privilege)
        session.target = pyipmi.Target(ipmb_address=SELF)
        with self._told("open a session"):
            try:
                session.interface.open()
                session.interface.set_timeout(ANSWER)
                session.session.establish()
            except BaseException:
                session.interface.close()
                raise
        return session

    def __exit__(self, *_exc: object) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        if self._lost:
            session.interface.close()  # nobody is there to hear of the end; the BMC ends what is not used
            return
        errors = _library().errors
        try:
            session.close()
        except (OSError, errors.RetryError, errors.IpmiTimeoutError, errors.CompletionCodeError):
            session.interface.close()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn the library's errors into this collection's."""
        errors, where = _library().errors, f"BMC {self.endpoint.host}"
        try:
            yield
        except (errors.AuthenticationError, errors.IpmiLongPasswordError) as exc:
            raise self._denied() from exc
        except errors.MessageStatusCodeError as exc:
            if exc.msc in (0x0D, 0x0E, 0x0F):  # unauthorized name, unauthorized GUID, invalid integrity check value
                raise self._denied() from exc
            raise OperationFailed(f"{what}: {exc.msc_desc} (0x{exc.msc:02x})", where=where) from exc
        except errors.CompletionCodeError as exc:
            raise _refused(exc.cc, f"{what}: {exc.cc_desc} (0x{exc.cc:02x})", where) from exc
        except errors.NotSupportedError as exc:
            raise Unsupported(f"{what}: {exc}", where=where) from exc
        except (OSError, errors.IpmiConnectionError, errors.RetryError, errors.IpmiTimeoutError) as exc:
            port = self.endpoint.port
            raise Unreachable(f"no answer over IPMI on UDP port {port} ({exc or 'time-out'})", where=where) from exc
        except (errors.DecodingError, ValueError) as exc:
            raise OperationFailed(f"{what}: an answer that makes no sense: {exc}", where=where) from exc

    def _denied(self) -> Denied:
        hint = "check username and password; nothing was tried a second time, so that the account is not locked"
        what = f"refuses user {self.endpoint.username or '(none)'}: wrong name or password"
        return Denied(what, where=f"BMC {self.endpoint.host}", hint=hint)

    def call(self, what: str, run: Callable[[Any], T]) -> T:
        """``run(session)``; ``what`` says what for, in an error."""
        try:
            with self._told(what):
                return run(self._session)
        except Unreachable:
            self._lost = True
            raise

    # -- power and boot ---------------------------------------------------------------------------
    def power(self) -> str:
        return "on" if self.call("read the power state", lambda it: it.get_chassis_status()).power_on else "off"

    def press(self, action: str) -> None:
        self.call(f"power {action}", lambda it: it.chassis_control(POWER[action]))

    def boot(self) -> Boot:
        flags = self.call("read the boot flags", lambda it: it.get_system_boot_options(5))
        raw = (flags[1] >> 2) & 0x0F
        device = {number: name for name, number in DEVICES.items()}.get(raw, f"device {raw}")
        if device == "none":
            return Boot("none")
        return Boot(device, bool(flags[0] & 0x40), "efi" if flags[0] & 0x20 else "legacy")

    def set_boot(self, boot: Boot) -> None:
        valid = 0x80 if boot.device != "none" else 0
        first = valid | (0x40 if boot.persistent else 0) | (0x20 if boot.mode == "efi" else 0)
        data = _library().utils.ByteBuffer([first, DEVICES[boot.device] << 2, 0, 0, 0])
        self.call("set the boot flags", lambda it: it.set_system_boot_options(5, data))

    # -- users ------------------------------------------------------------------------------------
    def channel(self) -> int:
        """Number of the LAN channel."""
        return int(self.call("find the LAN channel", lambda it: it.get_lan_channel()))

    def users(self) -> list[User]:
        """The slots of the BMC, those without a name too; slot 1 is IPMI's own, without a name."""
        channel = self.channel()
        most = self.call("read the users", lambda it: it.get_user_access(1, channel)).user_count
        return [self._user(slot, channel) for slot in range(2, most + 1)]

    def _user(self, slot: int, channel: int) -> User:
        def read(it: Any) -> User:
            name = bytes(it.get_username(slot)).rstrip(b"\0").decode("utf-8", "replace")
            if not name:
                return User(slot, "", "")
            access = it.get_user_access(slot, channel)
            enabled = {1: True, 2: False}.get(access.enabled_status)
            return User(slot, name, access.privilege_level.value if access.ipmi_messaging else "none", enabled)

        return self.call(f"read user {slot}", read)

    def set_user(self, slot: int, name: str, privilege: str, password: str | None) -> None:
        """Give a slot a name, a privilege and, if given, a password, and let the user in."""
        channel = self.channel()
        level = _library().messaging.UserPrivilegeLevel(privilege)
        self.call(f"name user {slot}", lambda it: it.set_username(slot, name))
        if password is not None:
            self.call(f"set the password of user {slot}", lambda it: it.set_user_password(slot, password))
        access = {"ipmi_msg": True, "link_auth": True, "callback_only": False, "channel": channel}
        self.call(f"set the privilege of user {slot}", lambda it: it.set_user_access(slot, priv_level=level, **access))
        self.call(f"enable user {slot}", lambda it: it.enable_user(slot))

    def remove_user(self, slot: int) -> None:
        """Shut a slot: nobody gets in by it, and its name is free again."""
        self.call(f"disable user {slot}", lambda it: it.disable_user(slot))
        self.call(f"clear the name of user {slot}", lambda it: it.set_username(slot, ""))

    # -- LAN --------------------------------------------------------------------------------------
    def _parameter(self, channel: int, number: int) -> bytes:
        what = f"read LAN parameter {number}"
        return bytes(self.call(what, lambda it: it.get_lan_config_param(channel=channel, parameter_selector=number)))

    def lan(self) -> Lan:
        channel = self.channel()

        def address(number: int) -> str:
            return str(ipaddress.IPv4Address(self._parameter(channel, number)[:4]))

        vlan = int.from_bytes(self._parameter(channel, VLAN)[:2], "little")
        return Lan(
            address(ADDRESS),
            address(NETMASK),
            address(GATEWAY),
            SOURCES.get(self._parameter(channel, SOURCE)[0] & 0x0F, "unknown"),
            vlan & 0x0FFF if vlan & 0x8000 else 0,
            ":".join(f"{byte:02x}" for byte in self._parameter(channel, MAC)[:6]),
        )

    def set_lan(self, after: Lan) -> None:
        """Change what differs, the address last: the BMC may leave at once, and then its answer is missed.

        Raises Unreachable where an answer is missed; whether the change was made is to be seen then.
        """
        channel = self.channel()
        self._lock(channel)
        before = self.lan()
        steps: list[tuple[int, bytes]] = []
        if after.source != before.source:
            steps.append((SOURCE, bytes([2 if after.source == "dhcp" else 1])))
        for number, old, new in ((NETMASK, before.netmask, after.netmask), (GATEWAY, before.gateway, after.gateway)):
            if new != old:
                steps.append((number, ipaddress.IPv4Address(new).packed))
        if after.vlan != before.vlan:
            steps.append((VLAN, (after.vlan | 0x8000 if after.vlan else 0).to_bytes(2, "little")))
        if after.address != before.address:
            steps.append((ADDRESS, ipaddress.IPv4Address(after.address).packed))
        # An answer that is missed from here on may never come: the BMC may be gone to its new address.
        self._session.interface.max_retries = LEAVING_TIMES - 1
        self._session.interface.set_timeout(LEAVING)
        for number, data in [*steps, (LOCK, bytes([LOCK_COMMIT])), (LOCK, bytes([LOCK_FREE]))]:
            try:
                self._set_parameter(channel, number, data)
            except Unsupported:
                if (number, data) != (LOCK, bytes([LOCK_COMMIT])):  # committing is optional in the specification
                    raise

    def _set_parameter(self, channel: int, number: int, data: bytes) -> None:
        self.call(f"set LAN parameter {number}", lambda it: it.set_lan_config_param(channel, number, data))

    def _lock(self, channel: int) -> None:
        """Take the set-in-progress lock. Of a holder that died it is taken over after LOCK_PATIENCE seconds."""
        deadline = Deadline(LOCK_PATIENCE)

        def taken() -> bool | None:
            try:
                self._set_parameter(channel, LOCK, bytes([LOCK_HELD]))
            except Conflict:
                if not deadline.expired():
                    return None
                self._set_parameter(channel, LOCK, bytes([LOCK_FREE]))
                self._set_parameter(channel, LOCK, bytes([LOCK_HELD]))
            return True

        wait_until(taken, deadline, what="the lock on the LAN settings", first=0.2)

    def settle_lan(self) -> None:
        """Have nobody's unfinished change in the settings: a BMC may show what was never committed as if it were so.

        Whoever is at work has LOCK_PATIENCE seconds to finish; a holder that died has its change taken back.
        """
        channel, deadline = self.channel(), Deadline(LOCK_PATIENCE)

        def free() -> bool | None:
            held = self._parameter(channel, LOCK)[0] & 0x03 == LOCK_HELD
            if held and deadline.expired():
                self._set_parameter(channel, LOCK, bytes([LOCK_FREE]))
                held = False
            return None if held else True

        wait_until(free, deadline, what="the lock on the LAN settings", first=0.2)

    def release_lan(self) -> None:
        """Give the lock back that a change could not, because the BMC was gone to its new address by then."""
        channel = self.channel()
        if self._parameter(channel, LOCK)[0] & 0x03 == LOCK_HELD:
            self._set_parameter(channel, LOCK, bytes([LOCK_FREE]))

    # -- facts ------------------------------------------------------------------------------------
    def guid(self) -> str:
        """The BMC's GUID as hexadecimal digits, empty where it has none."""
        try:
            guid = self.call("read the GUID", lambda it: it.send_raw(0, 0x06, b"\x37"))
        except (Unsupported, OperationFailed):
            return ""
        return bytes(guid[1:17]).hex() if guid[:1] == b"\0" else ""

    def facts(self, subset: str) -> Mapping[str, Any] | list[Any]:
        return FACTS[subset](self)

    def _device(self) -> dict[str, Any]:
        device = self.call("read the device ID", lambda it: it.get_device_id())
        return {
            "manufacturer": device.manufacturer_name,
            "manufacturer_id": device.manufacturer_id,
            "product_id": device.product_id,
            "firmware": str(device.fw_revision),
            "ipmi_version": str(device.ipmi_version),
            "guid": self.guid(),
        }

    def _sensors(self) -> list[dict[str, Any]]:
        return self.call("read the sensors", lambda it: list(_sensors(it)))

    def _events(self) -> list[dict[str, Any]]:
        entries = self.call("read the event log", lambda it: it.get_sel_entries())
        return [
            {
                "id": entry.record_id,
                "time": entry.timestamp,
                "sensor_type": entry.sensor_type,
                "sensor_number": entry.sensor_number,
                "asserted": not entry.event_direction,
                "data": list(entry.event_data),
            }
            for entry in entries
        ]

    def _fru(self) -> dict[str, dict[str, str]]:
        fru = self.call("read the FRU inventory", lambda it: it.get_fru_inventory())
        areas = {"chassis": fru.chassis_info_area, "board": fru.board_info_area, "product": fru.product_info_area}
        return {name: _texts(area) for name, area in areas.items() if area is not None}

    def _lan_facts(self) -> dict[str, Any]:
        lan = self.lan()
        return {**lan.shown(), "mac": lan.mac}

    def _user_facts(self) -> list[dict[str, Any]]:
        return [vars(user) for user in self.users() if user.name]


FACTS: dict[str, Callable[[Ipmi], Mapping[str, Any] | list[Any]]] = {
    "device": Ipmi._device,
    "events": Ipmi._events,
    "fru": Ipmi._fru,
    "lan": Ipmi._lan_facts,
    "sensors": Ipmi._sensors,
    "users": Ipmi._user_facts,
}


def _library() -> Any:
    try:
        import pyipmi
        import pyipmi.errors
        import pyipmi.interfaces
        import pyipmi.messaging
        import pyipmi.utils
    except ImportError as exc:
        raise Unsupported("IPMI needs the Python library python-ipmi[rmcpplus]", hint="install it there") from exc
    return pyipmi


def _refused(code: int, text: str, where: str) -> RacksteadError:
    if code == NO_PRIVILEGE:
        return Denied(text, where=where, hint="the user needs the privilege administrator")
    if code == LOCKED:
        return Conflict(text, where=where)
    if code in (UNKNOWN_COMMAND, PARAMETER_UNSUPPORTED):
        return Unsupported(text, where=where)
    return OperationFailed(text, where=where)


def _sensors(session: Any) -> Iterator[dict[str, Any]]:
    """Analogue sensors with their readings. Units are IPMI's unit numbers by name where they are usual."""
    units = {1: "°C", 4: "V", 5: "A", 6: "W", 18: "RPM"}
    for record in session.get_repository_sdr_list():
        if not hasattr(record, "convert_sensor_raw_to_value"):
            continue
        raw, states = session.get_sensor_reading(record.number, record.owner_lun)
        value = record.convert_sensor_raw_to_value(raw)
        name = record.device_id_string
        yield {
            "name": name.decode("latin-1") if isinstance(name, bytes) else str(name),
            "number": record.number,
            "value": value,
            "unit": units.get(record.units_2, ""),
            "states": states,
        }


def _texts(area: Any) -> dict[str, str]:
    """The text fields of a FRU area that say something."""
    texts = {name: str(value) for name, value in vars(area).items() if type(value).__name__ == "FruTypeLengthString"}
    return {name: text for name, text in texts.items() if text}
