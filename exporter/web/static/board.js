"use strict";

// Fetches the page every few seconds and updates only the changed nodes, so that focus, scroll
// position and selected text stay. Filters and sorting also use this way and update the address.
// The page has times in UTC; this script shows them in the viewer's time zone.
(() => {
  const EVERY_MS = 5000;
  const SHARE = 5; // fetching a slow page takes at most 1/SHARE of the time
  const TYPING_MS = 80;
  const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

  const notice = document.getElementById("notice");
  const pause = document.getElementById("pause");
  const form = () => document.querySelector("form.filter");
  let stopped = false;
  let wait = EVERY_MS;
  let timer = 0;
  let typing = 0;
  let underway = null;
  let seen = ""; // the ETag and the address of the shown page
  let ahead = 0; // the exporter's clock minus the browser's, in milliseconds

  function duration(seconds) {
    const [size, unit, part, small] = UNITS.find(([least]) => seconds >= least) ?? [1, "s", 1, "s"];
    const rest = Math.floor((seconds % size) / part);
    return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${small}` : ""}`;
  }

  const ago = (seconds) => (seconds < 1 ? "just now" : `${duration(seconds)} ago`);
  const until = (seconds) => (seconds < 1 ? "now" : `in ${duration(seconds)}`);

  /** Write the times below a node in local time, as an age or as a countdown, with UTC on hover. */
  function showTimes(root, times = "time") {
    const now = Date.now() + ahead;
    for (const time of root.querySelectorAll(times)) {
      const at = new Date(time.dateTime);
      const text = "ago" in time.dataset
        ? ago(Math.floor((now - at) / 1000))
        : "until" in time.dataset
        ? until(Math.ceil((at - now) / 1000))
        : at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
      const utc = time.dateTime.replace("T", " ").replace("Z", " UTC");
      if (time.textContent !== text) time.textContent = text;
      if (time.title !== utc) time.title = utc;
    }
  }

  /** Make `old` equal to `fresh`; rows and sections are matched by their `data-key`. */
  function morph(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = fresh.data;
      return;
    }
    if ("own" in old.dataset) return; // only this script changes it
    for (const { name } of [...old.attributes]) {
      // Open details stay open.
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const keyOf = (node) => node.dataset?.key;
    const wanted = new Set([...fresh.children].map(keyOf));
    const keyed = new Map();
    for (const child of [...old.children]) {
      const key = keyOf(child);
      if (key === undefined) continue;
      // Remove old nodes first: moving the remaining ones past them would lose the focus.
      if (wanted.has(key)) keyed.set(key, child);
      else child.remove();
    }
    let place = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const key = keyOf(child);
      const same = key === undefined ? place : keyed.get(key);
      if (!same || (key === undefined && keyOf(same) !== undefined)) {
        old.insertBefore(child, place);
        continue;
      }
      keyed.delete(key);
      if (same === place) place = place.nextSibling;
      else old.insertBefore(same, place);
      morph(same, child);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  /** Parse a page; throws if the page is not the exporter's, such as a proxy's login page. */
  function parsed(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    if (!fresh.getElementById(notice.id)) throw new Error("not a page of the exporter");
    return fresh;
  }

  function show(fresh) {
    const focused = document.activeElement;
    document.title = fresh.title;
    showTimes(fresh);
    morph(document.body, fresh.body);
    if (focused !== document.activeElement && focused.isConnected) {
      focused.focus({ preventScroll: true });
    }
  }

  /** Show the time of the response, which may be much later than the last change of the page. */
  function asOf(date) {
    const at = Date.parse(date);
    if (Number.isNaN(at)) return;
    const differs = at - Date.now();
    ahead = Math.abs(differs) > 2000 ? differs : 0;
    const time = document.querySelector("footer time");
    if (time) {
      time.dateTime = new Date(at).toISOString().replace(/\.\d+/, "");
      showTimes(time.parentNode);
    }
  }

  /** Fetch and show the page at the address; with `moved`, reset the form to the address, too. */
  async function refresh(moved = false) {
    clearTimeout(timer);
    underway?.abort();
    const mine = (underway = new AbortController());
    const begun = performance.now();
    try {
      // The browser sends the ETag of its cached page, and returns that page after a 304.
      const reply = await fetch(location.href, { signal: mine.signal, cache: "no-cache" });
      if (!reply.headers.get("Content-Type")?.startsWith("text/html")) {
        throw new Error(`HTTP ${reply.status}`);
      }
      const sent = `${reply.headers.get("ETag")} ${location.href}`;
      const fresh = sent === seen ? null : parsed(await reply.text());
      if (mine.signal.aborted) return;
      asOf(reply.headers.get("Date"));
      if (fresh) show(fresh);
      seen = sent;
      if (moved) form()?.reset();
      notice.textContent = "";
    } catch (error) {
      if (mine.signal.aborted) return;
      notice.textContent = "The exporter does not answer: this page is out of date.";
    }
    wait = Math.max(EVERY_MS, SHARE * (performance.now() - begun));
    again();
  }

  function again() {
    clearTimeout(timer);
    if (!stopped && !document.hidden) timer = setTimeout(refresh, wait);
  }

  function filtered() {
    const fields = [...new FormData(form())].filter(([, value]) => value);
    return "?" + new URLSearchParams(fields);
  }

  document.addEventListener("input", (event) => {
    if (event.target.form !== form()) return;
    clearTimeout(typing);
    typing = setTimeout(() => {
      history.replaceState(null, "", filtered());
      refresh();
    }, event.target.type === "search" ? TYPING_MS : 0);
  });

  document.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    history.replaceState(null, "", filtered());
    refresh();
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='?']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    const list = link.closest(".more") && link.closest("section").dataset.key;
    // Scroll to the start of the new rows.
    refresh(true).then(() => list && document.getElementById(list)?.scrollIntoView());
  });

  window.addEventListener("popstate", () => refresh(true));

  document.addEventListener("visibilitychange", () => {
    if (document.hidden || stopped) clearTimeout(timer);
    else refresh();
  });

  pause.hidden = false;
  pause.addEventListener("click", () => {
    stopped = !stopped;
    pause.textContent = stopped ? "Refresh again" : "Stop refreshing";
    if (stopped) clearTimeout(timer);
    else refresh();
  });

  showTimes(document);
  setInterval(() => document.hidden || showTimes(document, "time[data-ago], time[data-until]"), 1000);
  again();
})();
