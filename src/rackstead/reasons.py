# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a request over HTTP came to nothing, in words for people."""

from __future__ import annotations


def reason_of(error: Exception) -> str:
    """The innermost cause, which is the readable one."""
    found: BaseException = error
    while found.__cause__ or found.__context__:
        found = found.__cause__ or found.__context__ or found
    return getattr(found, "strerror", None) or " ".join(str(found).split()) or type(error).__name__
