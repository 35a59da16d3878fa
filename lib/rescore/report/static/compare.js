/* One metric on one data set: a plot against evaluations, or by method, and the table of the same numbers. The address holds dataset,
   metric, samples (behind a value, where the metric depends on them), x (nfe or method), lx, ly and the methods that are switched off
   (hide) or, if fewer, on (show). */
"use strict";
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#333333", "#7d4fb3"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down", "pentagon", "hexagram"];
const SHAPES = {circle: "M7 1.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11", square: "M2 2h10v10H2z", diamond: "M7 0l6 7l-6 7l-6-7z", "triangle-up": "M7 1l6 11H1z", cross: "M5 1h4v4h4v4H9v4H5V9H1V5h4z", x: "M3 1l4 4l4-4l2 2l-4 4l4 4l-2 2l-4-4l-4 4l-2-2l4-4l-4-4z", star: "M7 0l2 5h5l-4 3l2 6l-5-4l-5 4l2-6l-4-3h5z", "triangle-down": "M1 2h12L7 13z", pentagon: "M7 1l6 5l-2 7H3L1 6z", hexagram: "M7 0l2 3.5h4L11 7l2 3.5H9L7 14l-2-3.5H1L3 7L1 3.5h4z"};
const MOST = 12; /* methods that are shown before a choice; more than these cannot be told apart */
let table, shownSeries = [];

function byChoice() {
  const found = new Map();
  for (const card of RESCORE.cards.values()) {
    if (card.v === undefined && card.num === undefined) continue;
    if (!found.has(card.dataset)) found.set(card.dataset, new Map());
    const metrics = found.get(card.dataset);
    if (!metrics.has(card.metric)) metrics.set(card.metric, []);
    metrics.get(card.metric).push(card);
  }
  return found;
}
const measuredHere = (card) => card.v !== undefined && !card.as;
const direction = (cards) => RESCORE.papers.get(cards[0].paper).better[cards[0].metric]; /* which values are better, if any */
const ofSamples = (cards) => RESCORE.papers.get(cards[0].paper).ofSamples.includes(cards[0].metric); /* whether values depend on how many samples */
const seriesName = (card) => card.series;
/* A curve is a method with a variant in a table, whose protocol is one: the table is named where there are several. */
function nameSeries(cards) {
  const tables = new Map(), name = (c) => [c.method, c.variant].filter(Boolean).join(" "), of = (c) => JSON.stringify([c.paper, name(c)]);
  for (const c of cards) tables.set(of(c), (tables.get(of(c)) ?? new Set()).add(c.table));
  for (const c of cards) c.series = `${name(c)} (${c.paper}${tables.get(of(c)).size > 1 ? `, table ${c.table}` : ""})`;
}

function fill(select, entries, chosen) {
  select.replaceChildren(...entries.map(([name, count]) => { const option = el("option", {value: name}, `${name} (${count})`); option.selected = name === chosen; return option; }));
}

document.addEventListener("DOMContentLoaded", async () => {
  const dataset = document.getElementById("dataset"), metric = document.getElementById("metric");
  if (!dataset) return;
  const size = document.getElementById("size"), across = document.getElementById("across"), lx = document.getElementById("lx"), ly = document.getElementById("ly");
  const all = byChoice();
  const counts = [...all].map(([name, metrics]) => [name, [...metrics.values()].flat().length]).sort((a, b) => a[0].localeCompare(b[0]));
  const richness = (cards) => { const n = cards.filter((c) => measuredHere(c) && c.nfe !== null); return n.length + 5 * n.filter((c) => c.num !== undefined).length + 0.001 * cards.length; };
  let best = [null, null, -1];
  for (const [name, metrics] of all) for (const [m, cards] of metrics) if (richness(cards) > best[2]) best = [name, m, richness(cards)];

  function choose(state) {
    const name = all.has(state.get("dataset")) ? state.get("dataset") : best[0];
    fill(dataset, counts, name);
    const metrics = all.get(name);
    const entries = [...metrics].map(([m, cards]) => [m, cards.length]).sort((a, b) => b[1] - a[1]);
    const m = metrics.has(state.get("metric")) ? state.get("metric") : name === best[0] ? best[1] : entries[0][0];
    fill(metric, entries, m);
    nameSeries(metrics.get(m));
    chooseSize(metrics.get(m), state.get("samples"));
    const cards = chosenCards();
    const values = cards.flatMap((c) => [measuredHere(c) ? c.v : null, c.num]).filter((v) => v !== null && v !== undefined);
    const wide = values.length > 1 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 20;
    const counts_ = new Map();
    for (const c of cards) if (c.nfe !== null) counts_.set(seriesName(c), (counts_.get(seriesName(c)) ?? new Set()).add(c.nfe));
    const curves = [...counts_.values()].some((several) => several.size > 1);
    across.value = ["nfe", "method"].includes(state.get("x")) ? state.get("x") : curves ? "nfe" : "method";
    lx.checked = state.has("lx") ? state.get("lx") === "1" : true;
    ly.checked = state.has("ly") ? state.get("ly") === "1" : wide;
    const names = [...new Set(cards.map(seriesName))], chosen = new Set(bestOf(cards, across.value === "nfe"));
    const chosenBefore = state.has("show") || state.has("hide") || state.has("lx");
    const hidden = new Set(state.has("show") ? names.filter((n) => !state.getAll("show").includes(n)) : chosenBefore ? state.getAll("hide") : names.filter((n) => !chosen.has(n)));
    const order = new Map([...chosen].map((name, i) => [name, i]));
    names.sort((a, b) => hidden.has(a) - hidden.has(b) || (order.get(a) ?? names.length) - (order.get(b) ?? names.length)); /* stable */
    listSeries(names, hidden);
    draw(cards);
  }

  /* Where values depend on the number of samples behind them, only those of one number compare: at first of the most usual one. */
  function chooseSize(cards, wanted) {
    const sizes = new Map();
    for (const c of cards) if (measuredHere(c)) sizes.set(String(c.each), (sizes.get(String(c.each)) ?? 0) + 1);
    const entries = [...sizes].sort((a, b) => b[1] - a[1]), several = ofSamples(cards) && sizes.size > 1;
    fill(size, several ? [...entries, ["all", cards.filter(measuredHere).length]] : [["all", cards.length]], several ? (sizes.has(wanted) || wanted === "all" ? wanted : entries[0][0]) : "all");
    document.getElementById("size-choice").hidden = !several;
  }
  /* Numbers that are only printed do not say of how many samples they are: they stay. */
  function chosenCards() { return all.get(dataset.value).get(metric.value).filter((c) => size.value === "all" || !measuredHere(c) || String(c.each) === size.value); }
  function sizeNote() {
    if (document.getElementById("size-choice").hidden) return "";
    const depends = `${metric.value} depends on the number of samples behind a value, so that only values of one number compare: `;
    return depends + (size.value === "all" ? "here are all, and none is called the best." : `here are those of ${size.value}, and what is only published.`);
  }
  const ranked = () => size.value !== "all" || document.getElementById("size-choice").hidden;

  /* The methods with the best values, those with printed numbers before others; of those that the plot can show. */
  function bestOf(cards, counted) {
    const better = ranked() ? direction(cards) : "", best = new Map();
    for (const c of cards) {
      if (counted && c.nfe === null) continue;
      const name = seriesName(c), known = best.get(name) ?? {value: Infinity, printed: false};
      const v = measuredHere(c) ? c.v : c.num, merit = {higher: -v, lower: v, zero: Math.abs(v)}[better] ?? 0; /* else as they were printed */
      best.set(name, {value: Math.min(known.value, merit), printed: known.printed || c.num !== undefined});
    }
    return [...best].sort(([, a], [, b]) => b.printed - a.printed || a.value - b.value).slice(0, MOST).map(([name]) => name);
  }

  function listSeries(names, hidden) {
    shownSeries = names.map((name, i) => ({name, on: !hidden.has(name), colour: COLOURS[i % COLOURS.length], symbol: SYMBOLS[(i + Math.floor(i / COLOURS.length)) % SYMBOLS.length]}));
    document.getElementById("series-list").replaceChildren(...shownSeries.map((series) => {
      const box = el("input", {type: "checkbox"});
      box.checked = series.on;
      box.addEventListener("change", () => { series.on = box.checked; changed(); });
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      mark.setAttribute("width", "14"); mark.setAttribute("height", "14"); mark.setAttribute("aria-hidden", "true");
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", SHAPES[series.symbol]); path.setAttribute("fill", series.colour);
      mark.append(path);
      const label = el("label", {}, box, mark, el("span", {}, series.name));
      for (const [event, name] of [["pointerenter", series.name], ["pointerleave", null], ["focusin", series.name], ["focusout", null]]) label.addEventListener(event, () => emphasise(name));
      return label;
    }));
  }

  /* The method under the pointer stands out, the others fade. */
  function emphasise(name) {
    const plot = document.getElementById("plot");
    if (plot.data?.length) Plotly.restyle(plot, {opacity: plot.data.map((trace) => (name === null || trace.name === plain(name) ? 1 : 0.12))});
  }

  function changed() {
    const state = new URLSearchParams({dataset: dataset.value, metric: metric.value, x: across.value, lx: lx.checked ? "1" : "0", ly: ly.checked ? "1" : "0"});
    if (!document.getElementById("size-choice").hidden) state.set("samples", size.value);
    const off = shownSeries.filter((s) => !s.on), on = shownSeries.filter((s) => s.on);
    if (off.length && on.length < off.length) { for (const s of on) state.append("show", s.name); if (!on.length) state.append("show", ""); }
    else for (const s of off) state.append("hide", s.name);
    writeState(state);
    draw(chosenCards());
  }

  async function draw(cards) {
    const plot = document.getElementById("plot"), traces = [], counted = across.value === "nfe", which = ranked() ? direction(cards) : "";
    const visible = new Map(shownSeries.filter((s) => s.on).map((s) => [s.name, s]));
    const bars = (rows) => ({type: "data", array: rows.map((c) => c.e ?? 0), thickness: 1.2, width: 3});
    for (const series of visible.values()) {
      const own = cards.filter((c) => seriesName(c) === series.name).sort((a, b) => (a.nfe ?? 0) - (b.nfe ?? 0));
      const measured = own.filter((c) => measuredHere(c) && (!counted || c.nfe !== null)), printed = own.filter((c) => c.num !== undefined && (!counted || c.nfe !== null));
      const hover = (rows, what) => rows.map((c) => plain(`${series.name}, ${c.nfe ?? "no"} evaluations, table ${c.table}`) + `<br>${what}: ${plain(what === "measured" ? withError(c.v, c.e) : c.pub)}`);
      const common = {hoverinfo: "text", showlegend: false, name: plain(series.name)};
      if (measured.length) traces.push({...common, type: "scatter", mode: counted && measured.length > 1 ? "lines+markers" : "markers", x: counted ? measured.map((c) => c.nfe) : measured.map((c) => c.v), y: counted ? measured.map((c) => c.v) : measured.map(() => plain(series.name)), [counted ? "error_y" : "error_x"]: bars(measured), line: {width: 1.4, color: series.colour}, marker: {symbol: series.symbol, size: 8, color: series.colour}, hovertext: hover(measured, "measured"), customdata: measured.map((c) => c.id)});
      if (printed.length) traces.push({...common, type: "scatter", mode: "markers", x: counted ? printed.map((c) => c.nfe) : printed.map((c) => c.num), y: counted ? printed.map((c) => c.num) : printed.map(() => plain(series.name)), marker: {symbol: `${series.symbol}-open`, size: 12, color: series.colour, line: {width: 1.8}}, hovertext: hover(printed, "published"), customdata: printed.map((c) => c.id)});
    }
    const drawn = traces.flatMap((trace) => (counted ? trace.y : trace.x)).filter((v) => v > 0), narrow = Math.max(...drawn) < 5 * Math.min(...drawn); /* of one decade only some digits have a tick */
    const better = {lower: "lower is better", higher: "higher is better", zero: "nearer to 0 is better"}[which];
    const axis = {title: {text: plain(metric.value) + (better ? ` (${better})` : "")}, type: ly.checked ? "log" : "linear", gridcolor: "#e6e9ee", zerolinecolor: "#c3c9d1", automargin: true, exponentformat: "power", ...(ly.checked ? {dtick: narrow ? "D1" : counted || plot.clientWidth > 600 ? "D2" : 1, tickformat: "~g"} : {})};
    const evaluations = {title: {text: "evaluations per sample"}, type: lx.checked ? "log" : "linear", gridcolor: "#e6e9ee", automargin: true, ...(lx.checked ? {tickvals: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000]} : {})};
    const layout = {margin: {l: 60, r: 10, t: 10, b: 50}, font: {family: "system-ui, sans-serif", size: 13, color: "#1d2530"}, hovermode: "closest", paper_bgcolor: "#fff", plot_bgcolor: "#fff", xaxis: counted ? evaluations : axis, yaxis: counted ? axis : {automargin: true, autorange: "reversed", gridcolor: "#e6e9ee", tickfont: {size: 11}}};
    plot.style.height = counted ? "" : `${Math.max(14, 5 + 1.7 * visible.size)}rem`;
    lx.closest("label").hidden = !counted;
    await Plotly.react(plot, traces, layout, {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]});
    plot.removeAllListeners?.("plotly_click");
    plot.on?.("plotly_click", (event) => { const id = event.points[0]?.customdata; if (id) { const state = readState(); state.set("card", id); writeState(state); showCard(); } });
    const left = counted ? cards.filter((c) => c.nfe === null).length : 0;
    const negative = ly.checked && cards.some((c) => (measuredHere(c) && c.v <= 0) || c.num <= 0);
    document.getElementById("series-count").textContent = `${visible.size} of ${shownSeries.length} shown`;
    document.getElementById("plot-note").textContent = `${metric.value} on ${dataset.value}. Filled marks are measured, with standard errors; hollow marks are published. ${left ? `${left} numbers without a count of evaluations are in the table only. ` : ""}${negative ? "A log axis shows no numbers at or below 0. " : ""}${sizeNote()}`;
    const merit = (c) => { const v = measuredHere(c) ? c.v : c.num; return {higher: -v, lower: v, zero: Math.abs(v)}[which] ?? 0; };
    const rows = cards.filter((c) => visible.has(seriesName(c))).sort((a, b) => measuredHere(b) - measuredHere(a) || merit(a) - merit(b));
    if (!table) {
      const column = RESCORE.column;
      table = await RESCORE.table("#compared", [
        column("method", (c) => c.method, {class: "name", node: (c) => cardLink(c, c.method)}), column("variant", (c) => c.variant, {class: "name"}), column("paper", (c) => c.paper, {class: "tight"}), column("table", (c) => c.table),
        column("nfe", (c) => c.nfe, {number: true}), column("measured", (c) => (measuredHere(c) ? c.v : undefined), {number: true, class: "tight", show: (c) => (measuredHere(c) ? withError(c.v, c.e) : "")}),
        column("stderr", (c) => (measuredHere(c) ? c.e : undefined), {number: true, visible: false}), column("samples each", (c) => (measuredHere(c) ? c.each : undefined), {number: true}), column("published", (c) => c.num, {number: true, show: (c) => c.pub ?? ""}), column("verdict", (c) => word(c.st), {class: "tight", node: (c) => badge(c.st)}), column("protocol", (c) => (measuredHere(c) ? protocolOf(c) : ""), {class: "protocol", node: (c) => el("div", {class: "clamp", title: measuredHere(c) ? protocolOf(c) : null}, measuredHere(c) ? protocolOf(c) : "")}),
      ], {name: "compare", buttons: [{extend: "colvis", text: "Columns"}], extra: {data: rows, pageLength: 25}});
      window.TABLE = table;
    } else { table.clear().rows.add(rows).draw(); }
    document.body.dataset.ready = "yes";
    document.body.dataset.rows = rows.length;
  }

  dataset.addEventListener("change", () => { choose(new URLSearchParams({dataset: dataset.value})); changed(); });
  metric.addEventListener("change", () => { choose(new URLSearchParams({dataset: dataset.value, metric: metric.value})); changed(); });
  for (const select of [size, across]) select.addEventListener("change", () => { choose(new URLSearchParams({dataset: dataset.value, metric: metric.value, samples: size.value, ...(select === across ? {x: across.value} : {})})); changed(); });
  for (const box of [lx, ly]) box.addEventListener("change", changed);
  for (const id of ["all", "none", "best"]) document.getElementById(id).addEventListener("click", () => {
    const best = bestOf(chosenCards(), across.value === "nfe");
    for (const series of shownSeries) series.on = id === "all" || (id === "best" && best.includes(series.name));
    document.querySelectorAll("#series-list input").forEach((box, i) => { box.checked = shownSeries[i].on; });
    changed();
  });
  document.getElementById("choices").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => { const state = readState(); if (state.has("dataset")) choose(state); });
  choose(readState());
});

/* Plotly reads a few HTML tags in texts. */
function plain(text) { return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"); }
