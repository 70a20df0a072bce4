// Draws each figure when it comes near the window, again when theme or choice change.
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const palette = read("palette");
  const specs = read("specs");
  const config = { responsive: true, displayModeBar: false, doubleClick: false };

  function coloured(node, theme) {
    if (Array.isArray(node)) return node.map((value) => coloured(value, theme));
    if (node && typeof node === "object")
      return Object.fromEntries(Object.entries(node).map(([k, v]) => [k, coloured(v, theme)]));
    if (typeof node === "string" && node.startsWith("palette:")) return theme[node.slice(8)] ?? node;
    return node;
  }

  const figures = [...document.querySelectorAll("figure[data-figure]")];
  const chosen = (figure) => Number(figure.querySelector(".choice")?.value ?? 0);
  const plot = (figure) => figure.querySelector(".plot");

  function draw(figure) {
    const view = specs[figure.dataset.figure][chosen(figure)];
    const spec = coloured(view.spec, palette[currentTheme()]);
    const place = plot(figure);
    place.setAttribute("aria-label", view.sentence);
    if (place.clientWidth < 480) narrow(spec);
    Plotly.react(place, spec.data, spec.layout, config);
    place.dataset.drawn = "yes";
  }

  // On a phone there is no room beside a picture and little in it.
  function narrow(spec) {
    spec.layout.font.size = 11;
    for (const trace of spec.data) {
      if (trace.colorbar) Object.assign(trace.colorbar, { orientation: "h", y: 1.02, yanchor: "bottom" });
      if (trace.marker?.colorbar)
        Object.assign(trace.marker.colorbar, { orientation: "h", y: 1.02, yanchor: "bottom" });
      if (trace.mode === "markers+text") trace.mode = "markers";
    }
  }

  const again = () => figures.filter((f) => plot(f).dataset.drawn).forEach(draw);
  const all = () => figures.forEach(draw);
  // Plotly is large: it is compiled when the page stands, not before, for its text comes last.
  const whole = new Promise((resolve) => {
    if (document.readyState !== "loading") resolve();
    else document.addEventListener("DOMContentLoaded", resolve);
  });
  let ready = null;
  function withPlotly(then) {
    ready ??= whole.then(() => new Promise((resolve) => setTimeout(() => {
      const script = document.createElement("script");
      script.textContent = document.getElementById("plotly").textContent;
      document.body.append(script);
      resolve();
    })));
    ready.then(then);
  }

  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      withPlotly(() => draw(target));
    }
  }, { rootMargin: "400px" });
  for (const figure of figures) {
    near.observe(figure);
    figure.querySelector(".choice")?.addEventListener("change", () => {
      draw(figure);
      for (const view of figure.querySelectorAll(".view"))
        view.hidden = Number(view.dataset.view) !== chosen(figure);
    });
    figure.querySelector(".save").addEventListener("click", () => {
      draw(figure);
      const { clientWidth: width, clientHeight: height } = plot(figure);
      Plotly.downloadImage(plot(figure), { format: "svg", width, height, filename: figure.dataset.figure });
    });
  }
  addEventListener("beforeprint", all);
  if (figures.length) addEventListener("load", () => withPlotly(() => {}));

  const button = document.getElementById("theme");
  const told = () => { button.textContent = currentTheme() === "dark" ? "Light theme" : "Dark theme"; };
  button.hidden = false;
  told();
  button.addEventListener("click", () => {
    const next = currentTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("distill-lab-theme", next); } catch { /* then it is not remembered */ }
    told();
    again();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { told(); again(); });
})();
