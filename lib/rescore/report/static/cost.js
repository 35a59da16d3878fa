/* Time by paper, its jobs one after another; last that of trained models, which papers share. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  if (!window.COST) return;
  const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const totals = new Map();
  for (const job of COST) totals.set(job.paper, (totals.get(job.paper) ?? 0) + job.seconds);
  const longest = Math.max(...totals.values()), [unit, size] = longest >= 7200 ? ["hours", 3600] : longest >= 120 ? ["minutes", 60] : ["seconds", 1];
  const traces = COST.map((job, i) => ({type: "bar", orientation: "h", x: [job.seconds / size], y: [escape(job.paper)], hoverinfo: "text", hovertext: `${escape(job.paper)} ${escape(job.job)}: ${digits(job.seconds, 3)} s`, textposition: "none", marker: {color: i % 2 ? "#56b4e9" : "#0072b2", line: {color: "#fff", width: 1}}, showlegend: false}));
  Plotly.newPlot("cost-plot", traces, {barmode: "stack", margin: {l: 10, r: 10, t: 10, b: 45}, font: {family: "system-ui, sans-serif", size: 13, color: "#1d2530"}, xaxis: {title: {text: unit}, gridcolor: "#e6e9ee"}, yaxis: {automargin: true, autorange: "reversed"}}, {responsive: true, displaylogo: false, displayModeBar: false});
});
