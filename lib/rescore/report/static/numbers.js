/* All numbers in one table; of a stand-in, `measured as` has the key of what was measured in its place. `paper` and `table` in the address choose rows. */
"use strict";
document.addEventListener("DOMContentLoaded", async () => {
  const chosen = readState();
  const wanted = ["paper", "table"].filter((name) => chosen.has(name));
  const cards = [...RESCORE.cards.values()].filter((card) => wanted.every((name) => card[name] === chosen.get(name)));
  if (wanted.length) {
    const all = el("button", {type: "button"}, "show all");
    all.addEventListener("click", () => { writeState(new URLSearchParams()); location.reload(); });
    document.getElementById("chosen").replaceChildren(el("span", {}, `Only ${wanted.map((name) => `${name} ${chosen.get(name)}`).join(", ")}`), all);
  }
  const column = RESCORE.column;
  const table = await RESCORE.table("#numbers", [
    column("paper", (c) => c.paper, {class: "tight"}), column("table", (c) => c.table), column("method", (c) => c.method, {class: "name", node: (c) => cardLink(c, c.method)}), column("variant", (c) => c.variant, {class: "name"}), column("dataset", (c) => c.dataset), column("metric", (c) => c.metric),
    column("nfe", (c) => c.nfe, {number: true}), column("measured", (c) => c.v, {number: true, class: "tight", show: (c) => withError(c.v, c.e) + (c.as ? " (stand-in)" : "")}), column("stderr", (c) => c.e, {number: true, visible: false}),
    column("published", (c) => c.num, {number: true, show: (c) => c.pub ?? ""}), column("verdict", (c) => word(c.st), {class: "tight", node: (c) => badge(c.st)}), column("measured as", (c) => c.as, {class: "key", node: (c) => (c.as ? cardLink(RESCORE.cards.get(c.as) ?? {id: c.as}, c.as) : "")}),
    column("difference", (c) => c.del, {number: true, visible: false}), column("seeds", (c) => c.n, {number: true, visible: false}), column("samples", (c) => c.m, {number: true, visible: false}),
    column("seconds", (c) => c.s, {number: true, visible: false}), column("commit", (c) => commitOf(c), {visible: false}), column("device", (c) => deviceOf(c), {visible: false}),
    column("protocol", (c) => protocolOf(c), {class: "protocol", visible: false}),
  ], {name: "numbers", buttons: [{extend: "colvis", text: "Columns"}], extra: {data: cards}});
  window.TABLE = table;
  document.body.dataset.ready = "yes";
});
