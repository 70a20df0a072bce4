// The teacher's answer to sample rows, softmax(z / T), as T is moved.
"use strict";
(() => {
  const samples = JSON.parse(document.getElementById("samples").textContent);
  const made = (name, kind, text) => {
    const node = document.createElement(name);
    if (kind) node.className = kind;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

  function shares(row, temperature) {
    const all = [...row.logits, ...row.rest];
    const top = Math.max(...all);
    const raised = all.map((z) => Math.exp((z - top) / temperature));
    const sum = raised.reduce((a, b) => a + b, 0);
    return raised.map((value) => value / sum);
  }

  function build(row) {
    const card = made("div", "sample");
    card.append(made("h4", "", `row ${row.id}${row.label === undefined ? "" : `, label ${row.label}`}`));
    if (row.text !== undefined) card.append(made("blockquote", "", row.text));
    const names = row.rest.length ? [...row.names, `${row.rest.length} others`] : row.names;
    const list = made("dl", "bars");
    const bars = names.map((name) => {
      const line = made("div", name === row.label ? "bar-line true" : "bar-line");
      const value = made("dd");
      const track = made("span", "track");
      const fill = made("span", "fill");
      const number = made("span", "share");
      track.append(fill);
      value.append(track, number);
      line.append(made("dt", "", name), value);
      list.append(line);
      return { fill, number };
    });
    card.append(list);
    return { card, bars };
  }

  for (const block of document.querySelectorAll(".softness")) {
    const rows = samples[Number(block.dataset.samples)];
    const slider = block.querySelector("input");
    const output = block.querySelector("output");
    const softly = block.querySelector(".softly");
    const built = rows.map(build);
    block.querySelector(".samples").append(...built.map(({ card }) => card));

    function show() {
      const temperature = Number(slider.value);
      output.textContent = temperature;
      slider.setAttribute("aria-valuetext", `T = ${temperature}`);
      let rest = 0;
      rows.forEach((row, at) => {
        const all = shares(row, temperature);
        rest += 1 - Math.max(...all);
        const own = all.slice(0, row.logits.length);
        if (row.rest.length) own.push(all.slice(row.logits.length).reduce((a, b) => a + b, 0));
        own.forEach((share, place) => {
          const { fill, number } = built[at].bars[place];
          fill.style.width = `${100 * share}%`;
          number.textContent = percent(share);
        });
      });
      softly.textContent =
        `At T = ${temperature} the teacher gives, on average over these rows, ` +
        `${percent(rest / rows.length)} to the classes that are not its first.`;
    }
    slider.addEventListener("input", show);
    show();
  }
})();
