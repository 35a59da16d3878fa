/* Tables that are in the page already get search, filters, order and download. */
"use strict";
document.addEventListener("DOMContentLoaded", async () => {
  for (const table of document.querySelectorAll("table.enhanced")) {
    await RESCORE.table(table, undefined, {name: table.dataset.name, extra: table.dataset.name === "claims" ? {pageLength: 25} : {}});
  }
  document.body.dataset.ready = "yes";
});
