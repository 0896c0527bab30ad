"use strict";

// Fetches the page anew every few seconds and changes in place what differs, so that focus,
// scrolling and selected text stay. Filters and sorting go the same way, the address follows.
(() => {
  const EVERY_MS = 5000;
  const SHARE = 5; // a page that takes long is fetched more rarely: 1/SHARE of the time at most
  const TYPING_MS = 200;

  const notice = document.getElementById("notice");
  const pause = document.getElementById("pause");
  const form = () => document.querySelector("form.filter");
  let stopped = false;
  let wait = EVERY_MS;
  let timer = 0;
  let typing = 0;
  let underway = null;

  /** Make `old` equal to `fresh`; rows and sections are known again by their `data-key`. */
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
    if ("own" in old.dataset) return; // it is this script's
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
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
      // Gone first: what stays then need not be moved past it, which would cost it the focus.
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

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const focused = document.activeElement;
    document.title = fresh.title;
    morph(document.body, fresh.body);
    if (focused !== document.activeElement && focused.isConnected) {
      focused.focus({ preventScroll: true });
    }
  }

  /** Show what the address says; `moved`: the fields of the form have to follow it. */
  async function refresh(moved = false) {
    clearTimeout(timer);
    underway?.abort();
    const mine = (underway = new AbortController());
    const begun = performance.now();
    try {
      const reply = await fetch(location.href, { signal: mine.signal, cache: "no-store" });
      if (!reply.headers.get("Content-Type")?.startsWith("text/html")) {
        throw new Error(`HTTP ${reply.status}`);
      }
      const text = await reply.text();
      if (mine.signal.aborted) return;
      show(text);
      if (moved) form()?.reset();
      notice.textContent = "";
    } catch (error) {
      if (mine.signal.aborted) return;
      notice.textContent = "The exporter does not answer: what is shown here is old.";
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
    refresh(true);
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

  again();
})();
