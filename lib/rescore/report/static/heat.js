/* Samplers by processes or targets: a heat map as a table, whose cells are links to cards. HEAT says which table, what heads its rows and
   columns, and whether its cells have budgets of evaluations; the address holds metric and budget. */
"use strict";
const RAMP = [[0, 32, 76], [31, 57, 110], [85, 91, 108], [122, 122, 120], [165, 156, 116], [210, 193, 98], [255, 233, 69]]; /* cividis */
function ramp(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), low = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[low].map((part, i) => Math.round(part + (place - low) * (RAMP[low + 1][i] - part)));
}
document.addEventListener("DOMContentLoaded", () => {
  const better = (metric) => [...RESCORE.papers.values()].map((paper) => paper.better[metric]).find(Boolean);
  const cards = [...RESCORE.cards.values()].filter((card) => card.table === HEAT.table && card.v !== undefined && better(card.metric));
  const budgetOf = (card) => Number((/(?:^|; )budget=(\d+)/.exec(protocolOf(card)) ?? [])[1] ?? card.nfe);
  const unique = (values) => [...new Set(values)];
  const rowOf = (one) => HEAT.rows.map((name) => one[name]).filter(Boolean).join(", "), columnOf = (one) => one[HEAT.columns];
  const metric = document.getElementById("metric"), budget = document.getElementById("budget"), state = readState();
  const metrics = unique(cards.map((c) => c.metric)).sort((a, b) => (b === HEAT.metric) - (a === HEAT.metric) || a.localeCompare(b));
  const columns = unique([...cards.map(columnOf), ...HEAT.skipped.map(columnOf).filter(Boolean)]);
  for (const name of metrics) metric.append(el("option", {value: name}, name));
  metric.value = metrics.includes(state.get("metric")) ? state.get("metric") : metrics[0];
  if (budget) {
    const budgets = unique([...cards.map(budgetOf), ...HEAT.skipped.map((s) => Number(s.nfe))]).filter((b) => b > 0).sort((a, b) => a - b);
    for (const b of budgets) budget.append(el("option", {value: b}, String(b)));
    budget.value = [Number(state.get("budget")), HEAT.budget, budgets[0]].find((b) => budgets.includes(b));
  }
  const inBudget = (b) => !budget || b === Number(budget.value);
  function draw() {
    const way = better(metric.value), size = (card) => (way === "zero" ? Math.abs(card.v) : card.v);
    const all = cards.filter((c) => c.metric === metric.value), here = all.filter((c) => c.method !== HEAT.floor), exact = all.filter((c) => c.method === HEAT.floor);
    const isFloor = (row) => HEAT.floor !== "" && row === HEAT.floor;
    const names = unique([...all, ...HEAT.skipped.filter((s) => !s.metric || s.metric === metric.value)].map(rowOf)).filter((row) => budget ? all.some((c) => rowOf(c) === row) : row).sort((a, b) => isFloor(a) - isFloor(b) || a.localeCompare(b));
    const values = here.map(size).filter((v) => v > 0).sort((a, b) => a - b), at = (share) => Math.log(values[Math.floor((values.length - 1) * share)] ?? 1);
    const low = at(way === "higher" ? 0.1 : 0), high = Math.max(at(way === "higher" ? 1 : 0.9), low + 0.1);
    const head = el("tr", {}, el("th", {scope: "col"}, "sampler"), ...columns.map((c) => el("th", {scope: "col"}, c)));
    const missing = new Map();
    const rows = names.map((row) => el("tr", {}, el("th", {scope: "row"}, row), ...columns.map((column) => {
      const card = isFloor(row) ? exact.find((c) => columnOf(c) === column) : here.find((c) => rowOf(c) === row && columnOf(c) === column && inBudget(budgetOf(c)));
      if (!card) {
        const skips = HEAT.skipped.filter((s) => rowOf(s) === row && columnOf(s) === column), skip = skips.find((s) => inBudget(Number(s.nfe))) ?? skips.find((s) => !s.nfe);
        const anywhere = skips.length || cards.some((one) => rowOf(one) === row && columnOf(one) === column);
        const reason = skip?.reason ?? (anywhere ? "not measured" : HEAT.skipped.length ? HEAT.absent : HEAT.unknown);
        if (!missing.has(reason)) missing.set(reason, new Map());
        missing.get(reason).set(row, [...(missing.get(reason).get(row) ?? []), column]);
        return el("td", {class: "none", title: reason}, "—", el("span", {class: "visually-hidden"}, reason));
      }
      const v = size(card), share = v > 0 ? (Math.log(v) - low) / (high - low) : 0, colour = ramp(way === "higher" ? 1 - share : share);
      const dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 140;
      const link = cardLink(card, card.v >= 1e-4 && card.v < 10 ? card.v.toPrecision(2) : digits(card.v, 2));
      link.title = `${row} on ${column}: ${withError(card.v, card.e)}`;
      return el("td", {style: `background: rgb(${colour}); color: ${dark ? "#fff" : "#111"}`}, link);
    })));
    const most = budget ? ` with at most ${budget.value} evaluations` : "";
    document.getElementById("heat").replaceChildren(el("caption", {class: "visually-hidden"}, metric.value + most), el("thead", {}, head), el("tbody", {}, ...rows));
    const best = {lower: "Smaller is better", higher: "Larger is better", zero: "Nearer to 0 is better"}[way];
    document.getElementById("scale-note").textContent = `${best}: dark blue. Colours are logarithmic${budget ? ", the same for all numbers of evaluations" : ""}; a hatched cell has no value, the list below says why. ${exact.length ? HEAT.floor_words : ""}`;
    const ends = [`${digits(Math.exp(low), 2)}${way === "higher" ? " and less" : ""}`, `${digits(Math.exp(high), 2)}${way === "higher" ? "" : " and more"}`];
    const [from, to] = way === "higher" ? ends.reverse() : ends;
    document.getElementById("ramp-low").textContent = from;
    document.getElementById("ramp-high").textContent = to;
    document.getElementById("ramp").style.background = `linear-gradient(90deg, ${RAMP.map((c) => `rgb(${c})`).join(", ")})`;
    const list = el("dl", {class: "card-facts"});
    for (const [reason, cells] of missing) list.append(el("div", {class: "reason"}, el("dt", {}, reason), el("dd", {}, [...cells].map(([row, on]) => `${row} on ${on.join(", ")}`).join("; "))));
    document.getElementById("reasons").replaceChildren(missing.size ? list : el("p", {class: "note"}, "None."));
    document.body.dataset.ready = "yes";
  }
  for (const select of [metric, budget]) select?.addEventListener("change", () => { const now = readState(); now.set("metric", metric.value); if (budget) now.set("budget", budget.value); writeState(now); draw(); });
  document.getElementById("choices").addEventListener("submit", (event) => event.preventDefault());
  if (metrics.length) draw();
});
