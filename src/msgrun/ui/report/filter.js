"use strict";
(() => {
  const controls = document.getElementById("controls");
  const table = document.getElementById("messages");
  if (!controls || !table) return;
  const search = document.getElementById("search");
  const state = document.getElementById("state");
  const shown = document.getElementById("shown");
  const rows = Array.from(table.tBodies[0].rows, (row) => ({
    row, text: row.textContent.toLowerCase(), state: row.dataset.state,
  }));
  const apply = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let number = 0;
    for (const each of rows) {
      const fits = (!state.value || each.state === state.value)
        && wanted.every((word) => each.text.includes(word));
      each.row.hidden = !fits;
      if (fits) number += 1;
    }
    shown.textContent = `${number.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown`;
  };
  search.addEventListener("input", apply);
  state.addEventListener("change", apply);
  controls.hidden = false;
  apply();
})();
