// Keys for the page: `/` the search box, `j` and `k` (or arrows) from row to row, Enter opens, Esc closes. The page reads
// the same without it. It makes no markup, and loads and sends nothing.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const search = document.getElementById("q");
  const rows = () => [...document.querySelectorAll("a.row")].filter((row) => row.offsetParent !== null);
  const recordOf = (row) => {
    const name = row?.getAttribute("href") ?? "";
    return name.startsWith("#") ? document.getElementById(name.slice(1)) : null;
  };

  // A row's link goes to its record without a script; with one it opens and closes it.
  const show = (row, open) => {
    const record = recordOf(row);
    if (!record) return;
    record.classList.toggle("open", open);
    row.setAttribute("aria-expanded", String(open));
    history.replaceState(null, "", open ? row.getAttribute("href") : location.pathname + location.search);
  };
  const isOpen = (row) => recordOf(row)?.classList.contains("open") ?? false;
  for (const row of document.querySelectorAll('a.row[href^="#"]')) {
    row.setAttribute("role", "button");
    row.setAttribute("aria-expanded", "false");
    row.setAttribute("aria-controls", row.getAttribute("href").slice(1));
    row.addEventListener("click", (event) => {
      event.preventDefault();
      show(row, !isOpen(row));
    });
  }
  // The whole row opens, too, unless somebody selects text in it.
  for (const line of document.querySelectorAll("tr.span")) {
    line.addEventListener("click", (event) => {
      const row = line.querySelector("a.row");
      if (!row || event.target.closest("a") || String(getSelection()) !== "") return;
      show(row, !isOpen(row));
    });
  }
  const rowOf = (record) => record && document.querySelector(`a.row[href="#${CSS.escape(record.id)}"]`);
  for (const close of document.querySelectorAll("a.close")) {
    close.addEventListener("click", (event) => {
      const row = rowOf(close.closest("tr.record"));
      if (!row) return;
      event.preventDefault();
      show(row, false);
      row.focus();
    });
  }
  const named = location.hash.startsWith("#hop-") ? document.getElementById(location.hash.slice(1)) : null;
  if (named) {
    const row = rowOf(named);
    show(row, true);
    row?.focus();
  }

  const step = (by) => {
    const all = rows();
    if (all.length === 0) return;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
    all[next].focus();
    all[next].closest("tr, li")?.scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const focused = document.activeElement;
    const typing = focused instanceof HTMLInputElement || focused instanceof HTMLTextAreaElement;
    if (event.key === "Escape") {
      if (typing) return focused.blur();
      const inside = focused?.closest?.("tr.record");
      const row = inside ? rowOf(inside) : focused?.matches?.("a.row") ? focused : null;
      const open = row && isOpen(row) ? [row] : rows().filter(isOpen);
      for (const one of open) show(one, false);
      (row ?? open[0])?.focus();
      return;
    }
    if (typing) return;
    const onRow = focused?.matches?.("a.row") ?? false;
    if (event.key === "/") {
      if (!search) return;
      search.focus();
      search.select();
    } else if (event.key === "j" || (onRow && event.key === "ArrowDown")) step(1);
    else if (event.key === "k" || (onRow && event.key === "ArrowUp")) step(-1);
    else return;
    event.preventDefault();
  });
})();
