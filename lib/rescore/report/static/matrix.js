/* Samplers by processes: a heat map as a table, whose cells are links to cards. */
"use strict";
const RAMP = [[0, 32, 76], [31, 57, 110], [85, 91, 108], [122, 122, 120], [165, 156, 116], [210, 193, 98], [255, 233, 69]]; /* cividis */
function ramp(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), low = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[low].map((part, i) => Math.round(part + (place - low) * (RAMP[low + 1][i] - part)));
}
document.addEventListener("DOMContentLoaded", () => {
  const cards = [...RESCORE.cards.values()].filter((card) => card.table === MATRIX.table && card.v !== undefined);
  const budgetOf = (card) => Number((/(?:^|; )budget=(\d+)/.exec(protocolOf(card)) ?? [])[1] ?? card.nfe);
  const unique = (values) => [...new Set(values)];
  const metric = document.getElementById("metric"), budget = document.getElementById("budget"), state = readState();
  const metrics = unique(cards.map((c) => c.metric)).sort().reverse(), budgets = unique([...cards.map(budgetOf), ...MATRIX.skipped.map((s) => Number(s.nfe))]).filter((b) => b > 0).sort((a, b) => a - b);
  const processes = unique([...cards.map((c) => c.variant), ...MATRIX.skipped.map((s) => s.variant).filter(Boolean)]);
  for (const name of metrics) metric.append(el("option", {value: name}, name));
  for (const b of budgets) budget.append(el("option", {value: b}, String(b)));
  metric.value = metrics.includes(state.get("metric")) ? state.get("metric") : metrics[0];
  budget.value = budgets.includes(Number(state.get("budget"))) ? state.get("budget") : String(budgets[Math.floor(budgets.length / 2)]);
  function draw() {
    const here = cards.filter((c) => c.metric === metric.value && c.method !== MATRIX.floor), exact = cards.filter((c) => c.metric === metric.value && c.method === MATRIX.floor);
    const methods = unique(cards.filter((c) => c.metric === metric.value).map((c) => c.method)).sort((a, b) => (a === MATRIX.floor) - (b === MATRIX.floor) || a.localeCompare(b));
    const values = here.map((c) => c.v).filter((v) => v > 0).sort((a, b) => a - b);
    const low = Math.log(values[0] ?? 0.1), high = Math.max(Math.log(values[Math.floor(values.length * 0.9)] ?? 1), low + 0.1);
    const head = el("tr", {}, el("th", {scope: "col"}, "sampler"), ...processes.map((p) => el("th", {scope: "col"}, p)));
    const missing = new Map();
    const rows = methods.map((method) => el("tr", {}, el("th", {scope: "row"}, method), ...processes.map((process) => {
      const card = method === MATRIX.floor ? exact.find((c) => c.variant === process) : here.find((c) => c.method === method && c.variant === process && budgetOf(c) === Number(budget.value));
      if (!card) {
        const skip = MATRIX.skipped.find((s) => s.method === method && s.variant === process && Number(s.nfe) === Number(budget.value)) ?? MATRIX.skipped.find((s) => s.method === method && s.variant === process && !s.nfe);
        const anywhere = [...cards, ...MATRIX.skipped].some((one) => one.method === method && one.variant === process);
        const reason = skip?.reason ?? (anywhere ? "not measured" : MATRIX.skipped.length ? "the sampler does not apply to the process" : "no value for any number of evaluations");
        if (!missing.has(reason)) missing.set(reason, new Map());
        missing.get(reason).set(method, [...(missing.get(reason).get(method) ?? []), process]);
        return el("td", {class: "none", title: reason}, "—", el("span", {class: "visually-hidden"}, reason));
      }
      const share = (Math.log(card.v) - low) / (high - low), colour = ramp(card.v > 0 ? share : 0);
      const dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 140;
      const link = cardLink(card, card.v >= 1e-4 && card.v < 10 ? card.v.toPrecision(2) : digits(card.v, 2));
      link.title = `${method} on ${process}: ${withError(card.v, card.e)}`;
      return el("td", {style: `background: rgb(${colour}); color: ${dark ? "#fff" : "#111"}`}, link);
    })));
    document.getElementById("heat").replaceChildren(el("caption", {class: "visually-hidden"}, `${metric.value} with at most ${budget.value} evaluations`), el("thead", {}, head), el("tbody", {}, ...rows));
    document.getElementById("scale-note").textContent = `Smaller is better. Colours are logarithmic, the same for all numbers of evaluations; a hatched cell has no value, the list below says why.`;
    document.getElementById("ramp-low").textContent = digits(Math.exp(low), 2);
    document.getElementById("ramp-high").textContent = `${digits(Math.exp(high), 2)} and more`;
    document.getElementById("ramp").style.background = `linear-gradient(90deg, ${RAMP.map((c) => `rgb(${c})`).join(", ")})`;
    const list = el("dl", {class: "card-facts"});
    for (const [reason, cells] of missing) list.append(el("div", {class: "reason"}, el("dt", {}, reason), el("dd", {}, [...cells].map(([method, on]) => `${method} on ${on.join(", ")}`).join("; "))));
    document.getElementById("reasons").replaceChildren(missing.size ? list : el("p", {class: "note"}, "None."));
    document.body.dataset.ready = "yes";
  }
  for (const select of [metric, budget]) select.addEventListener("change", () => { const now = readState(); now.set("metric", metric.value); now.set("budget", budget.value); writeState(now); draw(); });
  document.getElementById("choices").addEventListener("submit", (event) => event.preventDefault());
  draw();
});
