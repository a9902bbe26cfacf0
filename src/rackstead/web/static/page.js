/* Copyright: (c) 2026, Rackstead contributors
   GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
   SPDX-License-Identifier: GPL-3.0-or-later
   Live updates. Everything else works without. */
"use strict";
(() => {
  const LONGEST = 400000; // characters of log that are kept
  const log = document.getElementById("log");
  let busy = false;
  let again = false;

  // Fetch this page anew and put in what has changed; what has the focus keeps it.
  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.redirected || answer.status === 404) {
        location.reload();
        return;
      }
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the server cannot be reached; there is a next time
    } finally {
      busy = false;
    }
    if (again) {
      again = false;
      later();
    }
  }

  function replace(fresh) {
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(old.id);
      if (!now || now.innerHTML === old.innerHTML) continue;
      const active = old.contains(document.activeElement) ? document.activeElement : null;
      const open = [...old.querySelectorAll("details[open]")].map((one) => one.id);
      for (const id of open) now.querySelector(`#${id}`)?.setAttribute("open", "");
      old.replaceChildren(...now.childNodes);
      if (active) same(old, active)?.focus({ preventScroll: true });
    }
  }

  function same(place, element) {
    if (element.id) return document.getElementById(element.id);
    const target = element.getAttribute("href");
    return target && [...place.querySelectorAll("a")].find((one) => one.getAttribute("href") === target);
  }

  let timer = 0;
  function later() {
    if (!timer) timer = setTimeout(() => { timer = 0; refresh(); }, 700);
  }

  const every = Number(document.body.dataset.every);
  if (every) setInterval(() => document.hidden || refresh(), every * 1000);

  if (!log) return;
  log.scrollTop = log.scrollHeight;
  if (!log.dataset.events) return;
  const status = document.getElementById("live-state");
  let last = Number(log.dataset.last);

  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  function add(text) {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(text);
    while (log.textContent.length > LONGEST && log.childNodes.length > 1) log.firstChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  function follow() {
    const source = new EventSource(`${log.dataset.events}?after=${last}`);
    source.onopen = () => say("Live.");
    source.onmessage = (message) => {
      const number = Number(message.lastEventId);
      if (number <= last) return;
      last = number;
      const event = JSON.parse(message.data);
      if (event.text) add(event.text);
      if (!event.event.startsWith("runner_on_start")) later();
    };
    source.addEventListener("end", () => {
      source.close();
      say("The job is over.");
      refresh();
    });
    source.onerror = () => {
      say("The connection is lost; trying again.");
      if (source.readyState === EventSource.CLOSED) {
        refresh();
        setTimeout(follow, 1500);
      }
    };
  }
  follow();
})();
