// What the page's controls, figures and printing do.

function show(map, view) {
  document.querySelector(`input[name="view"][value="${view}"]`).checked = true;
  map.view = view;
  map.redraw();
}

function connectMap() {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("drift-map-data").textContent);
  const map = new DriftMap(data, byId("drift-map"), byId("drift-map-overlay"), byId("drift-map-readout"));
  const withMotion = byId("with-motion");
  const shank = byId("shank");
  const follow = () => { // a browser may have kept what was chosen before the page was loaded again
    map.withMotion = withMotion.checked;
    map.view = document.querySelector('input[name="view"]:checked').value;
    if (shank) map.choose(Number(shank.value));
    map.redraw();
  };
  const choices = [...document.querySelectorAll('input[name="view"]'), withMotion, ...(shank ? [shank] : [])];
  for (const choice of choices) choice.addEventListener("change", follow);
  follow();
  for (const button of document.querySelectorAll("button[data-action]")) {
    button.addEventListener("click", () => ACTIONS[button.dataset.action](map));
  }
  const ramp = byId("ramp").getContext("2d");
  COLOURS.forEach((colour, i) => {
    ramp.fillStyle = `rgb(${colour})`;
    ramp.fillRect(i, 0, 1, 1);
  });
}

function connectFigures() {
  const dialog = document.getElementById("enlarged");
  const image = dialog.querySelector("img");
  for (const button of document.querySelectorAll("button.enlarge")) {
    button.addEventListener("click", () => {
      const figure = button.querySelector("img");
      image.src = figure.src;
      image.alt = figure.alt;
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", () => dialog.close());
}

// What is folded is printed, too.
function connectPrinting() {
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
  });
}

connectMap();
connectFigures();
connectPrinting();
