/* Shared by all pages: the data, the address, DOM without HTML strings, and the card of a number. Every text from the data becomes a
   text node; nothing is parsed as HTML. */
"use strict";
const KEYS = ["paper", "table", "dataset", "method", "variant", "metric", "nfe"];
const MARKS = {reproduced: "✓", off: "✗", imprecise: "?", indicative: "~", "not-run": "–", "": "•"};
const WORDS = {"not-run": "not run", "": "own number"};
const MEANING = {
  reproduced: "Same protocol, within the tolerance.",
  off: "Same protocol, outside the tolerance.",
  imprecise: "Same protocol, but our error leaves open whether it is within the tolerance: not judged.",
  indicative: "Another protocol: shown, not judged.",
  "not-run": "Not measured.",
  "": "Measured by us, printed by no paper.",
};
window.RESCORE = {papers: new Map(), cards: new Map()};

/* data/<paper>.js calls this. */
RESCORE.add = (paper, data) => {
  RESCORE.papers.set(paper, data);
  for (const card of data.cards) {
    card.id = address(card.k);
    card.source = data;
    KEYS.forEach((name, i) => { card[name] = card.k[i] ?? (name === "nfe" ? null : ""); });
    RESCORE.cards.set(card.id, card);
  }
};

function address(key) { return key.map((part) => part ?? "").join("/"); }
function word(status) { return WORDS[status] ?? status; }

/* An element with attributes and children; strings become text. */
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function digits(value, count = 4) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(count - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(count)));
}

/* A value to the last of two digits of its standard error. */
function withError(value, stderr) {
  if (value === undefined || value === null) return "";
  if (!stderr) return digits(value);
  const decimals = Math.max(0, 1 - Math.floor(Math.log10(stderr)));
  if (decimals > 6 || Math.abs(value) >= 1e6) return `${digits(value)} ± ${digits(stderr, 2)}`;
  return `${value.toFixed(decimals)} ± ${stderr.toFixed(decimals)}`;
}

function protocolOf(card) { return card.p === undefined ? "" : card.source.protocols[card.p]; }
function deviceOf(card) { return card.d === undefined ? "" : card.source.devices[card.d]; }
function commitOf(card) { return card.c === undefined ? "" : card.source.commits[card.c]; }
function pairs(text) { return text ? text.split("; ").map((part) => { const at = part.indexOf("="); return [part.slice(0, at), part.slice(at + 1)]; }) : []; }
function badge(status) { return el("span", {class: `badge ${status || "own"}`}, `${MARKS[status] ?? "•"} ${word(status)}`); }

/* The choice of a page is in its address, after #. */
/* A plus in it is a plus, as in names of networks, and not a space. */
function readState() { return new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1).replaceAll("+", "%2B") : ""); }
function writeState(state) {
  const text = state.toString().replaceAll("+", "%20");
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}
function cardLink(card, ...children) { return el("a", {href: `#card=${encodeURIComponent(card.id)}`, "data-card": card.id}, ...children); }

function fact(name, ...value) { return el("div", {}, el("dt", {}, name), el("dd", {}, ...value)); }

function listOf(title, entries) {
  const list = el("ul", {}, ...entries);
  return el("div", {}, el("h3", {}, title), entries.length ? list : el("p", {class: "note"}, "none"));
}

function cardBody(card) {
  const body = document.createDocumentFragment();
  const name = [card.method, card.variant].filter(Boolean).join(", ");
  body.append(el("h2", {id: "card-title"}, name));
  body.append(el("p", {class: "note"}, [`${card.paper}, table ${card.table}`, card.dataset, card.metric, card.nfe === null ? "" : `${card.nfe} evaluations`].filter(Boolean).join(" · ")));
  body.append(badge(card.st), " ", el("span", {class: "note"}, MEANING[card.st] ?? ""));
  const numbers = el("dl", {class: "numbers"});
  if (card.v !== undefined) {
    const over = card.o === "exact" ? "exact" : card.e === undefined ? "error not known" : `standard error over ${(card.df ?? 0) + 1} ${card.o}`;
    numbers.append(el("div", {"data-fact": "measured"}, el("dt", {}, "measured"), el("dd", {}, withError(card.v, card.e), el("small", {}, over))));
  }
  if (card.pub !== undefined) numbers.append(el("div", {"data-fact": "published"}, el("dt", {}, "published"), el("dd", {}, card.pub + (card.unc ? ` ± ${digits(card.unc)}` : ""), el("small", {}, card.src ?? ""))));
  if (card.del !== undefined) numbers.append(el("div", {"data-fact": "delta"}, el("dt", {}, "difference"), el("dd", {}, (card.del > 0 ? "+" : "") + digits(card.del), card.tol ? el("small", {}, `${digits(Math.abs(card.del) / card.tol, 2)} × the tolerance`) : null)));
  if (card.tol !== undefined) numbers.append(el("div", {"data-fact": "tolerance"}, el("dt", {}, "tolerance"), el("dd", {}, digits(card.tol))));
  if (card.err !== undefined) numbers.append(el("div", {"data-fact": "error"}, el("dt", {}, "measured error"), el("dd", {}, digits(card.err), el("small", {}, "half a 95 % interval"))));
  body.append(numbers);
  if (card.was) body.append(el("p", {class: "note"}, el("span", {class: "moved"}, "moved"), " before: ", [card.was.v === undefined ? "" : withError(card.was.v, card.was.e), card.was.st === undefined ? "" : word(card.was.st)].filter(Boolean).join(", ")));
  const note = (card.note ?? "").split("; ").filter((part) => !/^(assumes |differs: )/.test(part)).join("; "); /* the lists below say those */
  if (note) body.append(el("p", {class: "note"}, note));
  if (card.as) {
    const other = RESCORE.cards.get(card.as);
    body.append(el("p", {}, "Measured on something else, as ", other ? cardLink(other, card.as) : card.as, "."));
  }
  const known = new Set([...(card.met ?? []), ...(card.ass ?? []), ...(card.dif ?? [])].map((entry) => entry[0]));
  const equal = ([key, value]) => el("li", {}, el("b", {}, key), ` = ${value}`);
  if (card.pub !== undefined) {
    body.append(el("div", {class: "protocols"},
      listOf("Stated and met", (card.met ?? []).map(equal)),
      listOf("Assumed", (card.ass ?? []).map(equal)),
      listOf("Differs", (card.dif ?? []).map(([key, printed, guessed, ours]) => el("li", {}, el("b", {}, key), ` = ${printed}${guessed ? " (assumed)" : ""}`, el("span", {class: "was"}, `here ${ours}`))))));
  }
  const rest = pairs(protocolOf(card)).filter(([key]) => !known.has(key));
  if (rest.length) body.append(el("div", {class: "protocols"}, listOf(card.pub !== undefined ? "Also recorded" : "Protocol", rest.map(equal))));
  if (card.can) body.append(el("h3", {}, "Candidate protocols"), el("ul", {class: "plain-list"}, ...card.can.map(([name, found, source]) => el("li", {}, el("b", {}, name), `: ${found} `, el("span", {class: "note"}, source)))));
  body.append(el("h3", {}, "Where it comes from"));
  const facts = el("dl", {class: "card-facts"});
  if (card.v !== undefined) {
    facts.append(fact("seeds", String(card.n)), fact("samples", String(card.m)), fact("commit", commitOf(card) || "not named"), fact("device", deviceOf(card)), fact("seconds", digits(card.s)), fact("config", card.h));
  }
  if (card.job) facts.append(fact("job", card.job));
  const log = card.job && card.source.logs[card.job];
  if (log) facts.append(fact("log", el("a", {href: log}, log)));
  body.append(facts);
  const copy = el("button", {type: "button"}, "copy");
  copy.addEventListener("click", () => navigator.clipboard?.writeText(card.cmd).then(() => { copy.textContent = "copied"; }, () => {}));
  body.append(el("h3", {}, "Repeat it"), el("div", {class: "copy"}, el("code", {}, card.cmd), copy));
  const others = card.source.cards.filter((other) => other !== card && other.v !== undefined && !other.as && other.id !== card.as && other.method === card.method && other.variant === card.variant && other.metric === card.metric && other.nfe === card.nfe);
  if (others.length) {
    body.append(el("h3", {}, "Also measured as"));
    body.append(el("ul", {class: "plain-list"}, ...others.map((other) => el("li", {}, cardLink(other, `table ${other.table}, ${other.dataset}`), `: ${withError(other.v, other.e)}`))));
  }
  return body;
}

/* The cards of a name: a key with all its parts or, as `rescore show` takes it, without the empty ones. */
function cardsNamed(name) {
  const whole = RESCORE.cards.get(name);
  return whole ? [whole] : [...RESCORE.cards.values()].filter((card) => card.k.filter((part) => part !== null && part !== "").join("/") === name);
}

/* In the place of a card: that several numbers have the name, or none, and which are near. */
function noCard(name, found) {
  const parts = name.split("/"), near = found.length ? found : [...RESCORE.cards.values()].filter((card) => parts.every((part) => card.id.split("/").includes(part))).slice(0, 6);
  const body = document.createDocumentFragment();
  body.append(el("h2", {id: "card-title"}, found.length ? "Several numbers have this name" : "No such number"));
  body.append(el("p", {}, el("code", {}, name), found.length ? ": with all parts of the key, they are:" : ` is no number ${RESCORE.cards.size ? "of this page" : "here: this page has none"}${near.length ? "; near it are:" : "."}`));
  if (near.length) body.append(el("ul", {class: "plain-list"}, ...near.map((card) => el("li", {}, cardLink(card, card.id)))));
  else if (!document.getElementById("numbers")) body.append(el("p", {}, "All are in ", el("a", {href: `numbers.html#card=${encodeURIComponent(name)}`}, "Numbers"), "."));
  return body;
}

function showCard() {
  const dialog = document.getElementById("card");
  const id = readState().get("card");
  if (!id) { if (dialog.open) dialog.close(); return; }
  const found = cardsNamed(id);
  document.getElementById("card-body").replaceChildren(found.length === 1 ? cardBody(found[0]) : noCard(id, found));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-card]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const state = readState();
  state.set("card", link.dataset.card);
  writeState(state);
  showCard();
});

document.addEventListener("DOMContentLoaded", () => {
  const dialog = document.getElementById("card");
  dialog.addEventListener("close", () => {
    const state = readState();
    if (state.has("card")) { state.delete("card"); writeState(state); }
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  showCard();
});
window.addEventListener("hashchange", showCard);
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll(".menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
});
let opened = [];
window.addEventListener("beforeprint", () => { opened = [...document.querySelectorAll(".says details:not([open])")]; for (const one of opened) one.open = true; });
window.addEventListener("afterprint", () => { for (const one of opened) one.open = false; });

/* A DataTables table. Sorting and filters are in each column's head; numbers without a value come last. */
RESCORE.table = async (target, columns, options = {}) => {
  const {default: DataTable} = await RESCORE.datatables;
  const last = (sign) => (a, b) => (a === null) - (b === null) || sign * (a - b); /* what has no number is last either way */
  Object.assign(DataTable.ext.type.order, {"number-asc": last(1), "number-desc": last(-1)});
  const table = typeof target === "string" ? document.querySelector(target) : target;
  if (!table.tHead) table.append(el("thead", {}, el("tr", {}, ...columns.map((column) => el("th", {scope: "col"}, column.title)))));
  return new DataTable(table, {
    columns, columnDefs: columns ? [] : [{targets: "_all", render: (html, type) => (["filter", "list"].includes(type) ? textOf(html, type) : html)}], deferRender: true, pageLength: 50, lengthMenu: [25, 50, 100, 500, {label: "all", value: -1}], order: [], autoWidth: false,
    ordering: {indicators: false, handler: false},
    columnControl: ["order", [{extend: "orderAsc"}, {extend: "orderDesc"}, {extend: "orderClear"}, "spacer", {extend: "search"}, {extend: "searchList", orthogonal: "list"}]],
    layout: {
      topStart: {search: {placeholder: "words, in any order"}}, topEnd: {buttons: [{extend: "csvHtml5", text: "Download CSV", filename: options.name ?? "rescore", exportOptions: {orthogonal: "export"}}, ...(options.buttons ?? [])]},
      bottomStart: "info", bottomEnd: ["pageLength", "paging"],
    },
    language: {search: "Search", info: "_START_ to _END_ of _TOTAL_", infoEmpty: "none", infoFiltered: "(of _MAX_)", emptyTable: "Nothing here.", zeroRecords: "Nothing matches."},
    ...options.extra,
  });
};

/* How a column of cards is shown: a text by `get`; numbers sort as numbers and are exported whole. */
RESCORE.column = (title, get, more = {}) => ({title, data: null, render: (_, type, card) => {
  const value = get(card);
  if (more.number) {
    if (type === "sort" || type === "type") return value ?? null;
    if (type === "export") return value ?? "";
    return more.show ? more.show(card) : digits(value);
  }
  if (type === "display" && more.node) return more.node(card);
  if (type === "list") return escape_(String(value ?? "")); /* of the menu of a column, which reads HTML */
  return type === "display" ? escape_(String(value ?? "")) : String(value ?? "");
}, className: [more.class, more.number ? "num" : ""].filter(Boolean).join(" "), visible: more.visible ?? true, type: more.number ? "number" : "string", ...(more.number ? {columnControl: ["order", [{extend: "orderAsc"}, {extend: "orderDesc"}, {extend: "orderClear"}, "spacer", {extend: "searchNumber"}]]} : {})});

/* What a cell that is in the page already says, unfolded; parsed apart, where nothing is loaded or run. */
function textOf(html, type) {
  const cell = new DOMParser().parseFromString(String(html ?? ""), "text/html").body;
  for (const summary of cell.querySelectorAll("summary")) summary.remove();
  const text = cell.textContent.replace(/\s+/g, " ").trim();
  return type === "list" ? escape_(text) : text;
}
function escape_(text) { return text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`); }
